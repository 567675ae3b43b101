"""The security schemes of an API's description, and the grant that each is for us."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from gateway.authoring.document import Table, followed, listed, table, text
from gateway.policy.inject import forbidden_header
from gateway.policy.model import Grant

_FLOWS = {
    "authorizationCode": Grant.AUTHORIZATION_CODE,
    "accessCode": Grant.AUTHORIZATION_CODE,  # Swagger's name
    "clientCredentials": Grant.CLIENT_CREDENTIALS,
    "application": Grant.CLIENT_CREDENTIALS,  # Swagger's name
    "password": Grant.PASSWORD,
    "implicit": Grant.IMPLICIT,
}
LIKELIEST = (
    Grant.AUTHORIZATION_CODE,
    Grant.CLIENT_CREDENTIALS,
    Grant.API_KEY,
    Grant.BASIC,
    Grant.PASSWORD,
    Grant.IMPLICIT,
)
"""The ways of signing in, in the order in which they are to be chosen where a service has several."""
_MOST = 50  # schemes
_MOST_FLOWS = 10  # of a scheme; OpenAPI knows four
_MOST_ASKED = 50  # schemes that are asked for together
_MOST_SCOPES = 200  # that are asked for at once
_OF_A_FLOW = ("authorizationUrl", "tokenUrl", "refreshUrl", "scopes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A security scheme, or one flow of it. `grant` None: none of ours. `chosen`: the draft is made for it.

    `what` says what it is in the document's words, as in "apiKey in header X-Key" or "oauth2, authorizationCode".
    """

    name: str
    what: str
    grant: Grant | None = None
    chosen: bool = False
    key: str = ""
    definition: Table = field(default_factory=dict, repr=False)


def schemes(document: Table) -> list[Scheme]:
    """Return every scheme of a document, of either kind, the likeliest first."""
    definitions = document.get("securityDefinitions") if "swagger" in document else None
    named = table(definitions) or table(table(document.get("components")).get("securitySchemes"))
    found = [
        scheme for key, value in list(named.items())[:_MOST] for scheme in _of(text(key), followed(value, document))
    ]
    asked = required(document)
    return sorted(found, key=lambda scheme: _rank(scheme, asked))


def required(operation: Table) -> dict[str, list[str]]:
    """The schemes, each with its scopes, that a document or an operation asks for first; {} for none."""
    for requirement in map(table, listed(operation.get("security"))):
        return {
            text(key): [text(scope) for scope in listed(scopes)[:_MOST_SCOPES]]
            for key, scopes in islice(requirement.items(), _MOST_ASKED)
        }
    return {}


def _rank(scheme: Scheme, asked: dict[str, list[str]]) -> tuple[bool, bool, int]:
    order = LIKELIEST.index(scheme.grant) if scheme.grant else len(LIKELIEST)
    return scheme.grant is None, scheme.key not in asked, order


def _of(key: str, definition: Table) -> Iterator[Scheme]:
    kind = text(definition.get("type"))
    match kind:
        case "oauth2":
            yield from _flows(key, definition)
        case "openIdConnect":
            yield _scheme(key, "OpenID Connect", Grant.AUTHORIZATION_CODE, definition)
        case "http":
            how = text(definition.get("scheme")).lower()
            grant = {"bearer": Grant.API_KEY, "basic": Grant.BASIC}.get(how)
            yield _scheme(key, f"http {how}", grant, definition)
        case "basic":  # Swagger's
            yield _scheme(key, "http basic", Grant.BASIC, {"type": "http", "scheme": "basic"})
        case "apiKey":
            where, name = text(definition.get("in")), text(definition.get("name"))
            usable = bool(name) and (
                (where == "query" and name.isprintable()) or (where == "header" and not forbidden_header(name))
            )
            yield _scheme(key, f"apiKey in {where} {name}", Grant.API_KEY if usable else None, definition)
        case _:
            yield _scheme(key, kind or "a scheme without a type", None, definition)


def _flows(key: str, definition: Table) -> Iterator[Scheme]:
    flows: dict[str, Any] = table(definition.get("flows")) or {text(definition.get("flow")): definition}
    for flow, described in ((text(flow), table(described)) for flow, described in islice(flows.items(), _MOST_FLOWS)):
        grant = _FLOWS.get(flow)
        name = key if len(flows) == 1 else f"{key} ({flow})"
        said = {part: described[part] for part in _OF_A_FLOW if part in described}
        yield _scheme(name, f"oauth2, {flow}", grant, said | {"type": "oauth2"}, key=key)


def _scheme(name: str, what: str, grant: Grant | None, definition: Table, *, key: str | None = None) -> Scheme:
    return Scheme(name=name, what=" ".join(what.split())[:100], grant=grant, key=key or name, definition=definition)
