"""A policy's first draft, from an API's own description: OpenAPI 3.0 and 3.1, and Swagger 2.0, as JSON or YAML.

What a document says is data of a stranger's: it becomes values of the draft, and never comments or code, and what isn't
right as a value of a policy is left out and noted. The draft is for a person to look through.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from gateway.authoring.document import DocumentInvalid, Table, followed, listed, parse, table, text
from gateway.authoring.edited import put
from gateway.authoring.patch import patched
from gateway.authoring.schemes import Scheme, required, schemes
from gateway.authoring.servers import Servers, servers
from gateway.authoring.start import scratch
from gateway.policy.checks.auth import is_scope
from gateway.policy.load import read
from gateway.policy.model import Grant
from gateway.policy.url import UrlInvalid, UrlTemplate

__all__ = ["DocumentInvalid", "Draft", "Scheme", "from_openapi"]

_MOST_PATHS = 20_000
_MOST_CALLS = 200  # that are looked at for the test, whatever their paths begin with
_MOST_PARAMETERS = 100  # of a call; one with more needs input
_MOST_SCOPES = 12  # that are asked for where the document doesn't say which: a person reads them all on one page
_LONGEST_WORDS = 120  # characters of what a scope lets programs do
_OWN = ("me", "user", "profile", "account", "self", "whoami", "userinfo", "current_user", "viewer", "ping", "status")
"""The last segment of calls that need no input, the best for a test first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What came of a document. `app`: a name for the policy's file. `notes`: what to look at, as sentences."""

    name: str
    app: str
    text: str
    notes: tuple[str, ...] = ()
    schemes: tuple[Scheme, ...] = ()


def from_openapi(document: str, scheme: str | None = None, place: str = "") -> Draft:
    """Return a draft for one of the document's security schemes, by its name or by that of all its flows.

    Of several flows, and where there is no name, the likeliest is taken.

    `place` is the URL that the document was fetched from, if it was: its relative URLs start there.
    Raises `DocumentInvalid`, also for a scheme that isn't there or is none of ours.
    """
    data = parse(document)
    found = schemes(data)
    chosen = _chosen(found, scheme)
    at = servers(data, place)
    name = " ".join(text(table(data.get("info")).get("title")).split())[:80] or "API"
    app = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "api"
    base = at.urls[0] if at.urls else ""
    draft = _Draft(data, base, scratch(app, name, chosen.grant if chosen and chosen.grant else Grant.NONE, base))
    draft.notes += at.notes
    draft.allow(at)
    draft.authenticate(chosen, found)
    draft.test(chosen)
    said = tuple(replace(one, chosen=one is chosen) for one in found)
    return Draft(name=name, app=app, text=patched(draft.start, draft.policy), notes=tuple(draft.notes), schemes=said)


def _chosen(found: list[Scheme], name: str | None) -> Scheme | None:
    if name is None:
        return next((one for one in found if one.grant is not None), None)
    usable = [one for one in found if one.grant is not None]
    one = next((one for one in usable if one.name == name), None) or next(
        (one for one in usable if one.key == name), None
    )
    if one is None:
        names = ", ".join(f'"{" ".join(one.name.split())}"' for one in usable[:10])[:400] or "none"
        raise DocumentInvalid(f"has no security scheme {name[:80]!r} that can be used here; there are: {names}")
    return one


class _Draft:
    """The draft's data, and the notes on the way."""

    def __init__(self, document: Table, base: str, start: str) -> None:
        self.document = document
        self.base = base
        self.start = start
        self.policy: dict[str, Any] = read(start)
        self.notes: list[str] = []

    def allow(self, at: Servers) -> None:
        """The servers' URLs are the allowed ones; their variables are the first fields."""
        put(self.policy, "allow.urls", at.urls)
        fields = [*at.fields.values(), *self.policy.get("fields", ())]
        if fields:
            put(self.policy, "fields", fields)

    def authenticate(self, chosen: Scheme | None, found: list[Scheme]) -> None:
        """What the chosen scheme says goes into [auth] and [inject]."""
        if chosen is None:
            what = f" ({', '.join(one.what for one in found[:5])})" if found else ""
            self.notes.append(
                f"The document has no security scheme that can be used here{what}. Choose how to connect."
            )
            return
        asked = required(self.document)
        if chosen.key in asked and len(asked) > 1:
            others = ", ".join(key for key in asked if key != chosen.key)[:100]
            self.notes.append(f"Calls need {others} beside {chosen.key}. Add it under request parameters.")
        match chosen.definition.get("type"):
            case "oauth2":
                self._oauth(chosen)
            case "openIdConnect":
                url = text(chosen.definition.get("openIdConnectUrl"))[:200]
                self.notes.append(f"Open {url}: authorization_endpoint is the login URL, token_endpoint the token URL.")
            case "apiKey":
                self._key(chosen)

    def _oauth(self, chosen: Scheme) -> None:
        flow = chosen.definition
        has_login = chosen.grant in (Grant.AUTHORIZATION_CODE, Grant.IMPLICIT)
        if has_login:
            put(self.policy, "auth.authorize.url", self._whole(text(flow.get("authorizationUrl"))))
        if chosen.grant is not Grant.IMPLICIT:
            put(self.policy, "auth.token.url", self._whole(text(flow.get("tokenUrl"))))
        refresh = text(flow.get("refreshUrl"))
        if refresh and refresh != text(flow.get("tokenUrl")):
            put(self.policy, "auth.refresh.url", self._whole(refresh) or None)
        self._scopes(chosen, has_login=has_login)

    def _scopes(self, chosen: Scheme, *, has_login: bool) -> None:
        described = {text(scope): text(words) for scope, words in table(chosen.definition.get("scopes")).items()}
        known = {scope: None for scope in described if is_scope(scope) and "{" not in scope}
        asked = [scope for scope in required(self.document).get(chosen.key, ()) if scope in known]
        scopes = asked or (list(known) if len(known) <= _MOST_SCOPES else [])
        if len(scopes) < len(described):
            left = len(described) - len(scopes)
            self.notes.append(f"{left} of the document's {len(described)} scopes aren't asked for. Add those you need.")
        elif scopes:
            self.notes.append("Every scope of the document is asked for. Take those out that you don't need.")
        if not has_login:
            if scopes:
                put(self.policy, "auth.token.params", {"scope": " ".join(scopes)})
            return
        put(self.policy, "auth.authorize.scopes", scopes)
        words = {scope: " ".join(described[scope].split())[:_LONGEST_WORDS] for scope in scopes}
        put(self.policy, "auth.authorize.scope_words", {scope: said for scope, said in words.items() if said} or None)

    def _key(self, chosen: Scheme) -> None:
        name, where = text(chosen.definition.get("name")), text(chosen.definition.get("in"))
        put(self.policy, "inject", {"headers" if where == "header" else "query": {name: "{{ api_key }}"}})
        if name.lower() == "authorization":
            self.notes.append(
                "The key is sent as Authorization, as it is. Many APIs want a word before it, such as Bearer."
            )

    def test(self, chosen: Scheme | None) -> None:
        """A call that needs no input, and answers who one is."""
        path = self._own_call(chosen)
        if path is None:
            self.notes.append("No call such as /me was found. Choose one for the test that needs no input.")
        elif self.base:
            put(self.policy, "test.url", path)

    def _own_call(self, chosen: Scheme | None) -> str | None:
        best: tuple[int, int, str] | None = None
        for path, written in islice(self._own_paths(), _MOST_CALLS):
            item = followed(written, self.document)
            call = table(item.get("get"))
            if "get" not in item or "servers" in item or "servers" in call or call.get("security") == []:
                continue
            if chosen and (asked := required(call)) and chosen.key not in asked:
                continue
            if self._needs_input(item, call):
                continue
            rank = (_OWN.index(_last(path)), path.count("/"), path)
            best = min(best, rank) if best else rank
        return best[2] if best else None

    def _own_paths(self) -> Iterator[tuple[str, Any]]:
        for path, written in islice(table(self.document.get("paths")).items(), _MOST_PATHS):
            if _last(path) in _OWN and _is_path(path):
                yield path, written

    def _needs_input(self, item: Table, call: Table) -> bool:
        given = [listed(item.get("parameters")), listed(call.get("parameters"))]
        if any(len(some) > _MOST_PARAMETERS for some in given):
            return True
        return any(followed(one, self.document).get("required") in (True, "true") for some in given for one in some)

    def _whole(self, url: str) -> str:
        """An endpoint's URL; OpenAPI 3.1 lets it be relative to the server."""
        if "{" in url:  # a template is the policy's own, and no stranger's
            self.notes.append(f"The URL {url[:100]!r} was left out: it has a value in it. Write it yourself.")
            return ""
        if not url or "://" in url or not self.base:
            return url
        origin = "/".join(self.base.split("/")[:3])  # its fields have no slash
        return f"{origin}{url}" if url.startswith("/") else f"{self.base}/{url}"


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2].lower()


def _is_path(path: str) -> bool:
    try:
        return "{" not in path and UrlTemplate.parse(path, relative=True).is_relative
    except UrlInvalid:
        return False
