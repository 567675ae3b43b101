"""How an endpoint wants to be spoken to, with every template of the policy already rendered."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode

from gateway.oauth.message import OutgoingRequest
from gateway.secret import Secret

ParamValue = str | int | float | Secret | Literal[False] | Mapping[str, Any] | list[Any]
"""A parameter's value, a table or a list only in JSON; `False` takes a standard parameter out."""
Expires = Literal["seconds", "milliseconds", "at", "at_milliseconds", "date", "duration"]
"""How an answer writes until when its token holds."""
BY_JWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 §2.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """The client's identifier and secret (RFC 6749 §2.3.1). Without a secret it is a public client.

    `assertion` is what the client has signed for this one request, where that says who it is (RFC 7523 §2.2).
    """

    client_id: str
    client_secret: Secret | None = None
    assertion: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A token, refresh, exchange or revocation endpoint.

    `names` maps a standard parameter to what this provider calls it; `format` "query" puts them all into the URL.
    `response` maps a standard name to the dotted path where this provider puts it, and `expires` says how the value of
    `expires_in` is written; `success_when` is a path that must be truthy; `error` is the path of the provider's
    message. `default_ttl` is in seconds. `secrets` went into values that don't show them. `certificate` is what the
    client shows in TLS, whatever `client_auth` says; with "tls" that alone proves who it is (RFC 8705 §2).
    """

    url: str
    method: Literal["POST", "GET", "PUT", "DELETE"] = "POST"
    client_auth: Literal["basic", "body", "jwt", "tls", "none"] = "basic"
    format: Literal["form", "json", "query"] = "form"
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    response: Mapping[str, str] = field(default_factory=dict)
    expires: Expires = "seconds"
    success_when: str | None = None
    error: str | None = None
    default_ttl: float | None = None
    secrets: tuple[Secret, ...] = field(default=(), repr=False)
    certificate: Secret | None = field(default=None, repr=False)


def build_request(
    endpoint: Endpoint, standard: Mapping[str, ParamValue | None], client: ClientCredentials | None
) -> OutgoingRequest:
    """Return the request: standard parameters, then the client's authentication, then the policy's over them.

    A standard parameter of `None` is left out; one that the policy sets to `False` is taken out.
    """
    params: dict[str, ParamValue] = {name: value for name, value in standard.items() if value is not None}
    headers: dict[str, str | Secret] = {"Accept": "application/json"}
    if client is not None:
        _authenticate(endpoint, client, params, headers)
    sent = as_named(params, endpoint.names, endpoint.params)
    plain = {name: _reveal(value) for name, value in sent.items()}
    url, body = endpoint.url, b""
    if endpoint.format == "json":
        headers["Content-Type"] = "application/json"
        body = json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
    elif endpoint.format == "form":
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(plain).encode()
    else:
        url = with_query(url, urlencode(plain))
        if endpoint.method != "GET":
            headers["Content-Type"] = "application/x-www-form-urlencoded"  # an empty form: some refuse what has no type
    _override(headers, endpoint.headers)
    values = (*params.values(), *sent.values(), *headers.values(), client.client_secret if client else None)
    return OutgoingRequest(
        method=endpoint.method,
        url=url,
        headers=tuple((name, str(_reveal(value))) for name, value in headers.items()),
        body=body,
        secrets=(*(value for value in values if isinstance(value, Secret)), *endpoint.secrets),
        certificate=endpoint.certificate,
    )


def as_named(
    standard: Mapping[str, ParamValue], names: Mapping[str, str], own: Mapping[str, ParamValue]
) -> dict[str, ParamValue]:
    """Return the parameters as they are sent: standard ones by the provider's names, the policy's `own` over them."""
    sent = {names.get(name, name): value for name, value in standard.items() if own.get(name) is not False}
    return {name: value for name, value in {**sent, **own}.items() if value is not False}


def with_query(url: str, query: str) -> str:
    """Return the URL with more in its query; what it has already is kept (RFC 6749 §3.1)."""
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{query}"


def _authenticate(
    endpoint: Endpoint,
    client: ClientCredentials,
    params: dict[str, ParamValue],
    headers: dict[str, str | Secret],
) -> None:
    secret = client.client_secret
    match endpoint.client_auth:
        case "basic" if secret is not None:
            # RFC 6749 §2.3.1: "encoded using the application/x-www-form-urlencoded encoding algorithm" before Base64.
            pair = f"{quote_plus(client.client_id)}:{quote_plus(secret.reveal())}"
            headers["Authorization"] = Secret("Basic " + base64.b64encode(pair.encode()).decode())
        case "body" if secret is not None:
            params["client_id"] = client.client_id
            params["client_secret"] = secret
        case "jwt" if client.assertion is not None:
            # RFC 7523 §2.2: the id "is unnecessary" beside the assertion's subject; several providers want it.
            params["client_id"] = client.client_id
            params["client_assertion_type"] = BY_JWT
            params["client_assertion"] = client.assertion
        case _:
            # §3.2.1: a client that does not authenticate names itself with client_id; so does one that TLS vouches for
            # (RFC 8705 §2: "MUST include the client_id").
            params["client_id"] = client.client_id


def _override(headers: dict[str, str | Secret], own: Mapping[str, str | Secret]) -> None:
    """Put the policy's headers in, each instead of ours of the same name, whatever its case."""
    for name, value in own.items():
        for standing in [standing for standing in headers if standing.lower() == name.lower()]:
            del headers[standing]
        headers[name] = value


def _reveal(value: ParamValue) -> Any:
    return value.reveal() if isinstance(value, Secret) else value
