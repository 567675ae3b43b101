"""How an endpoint wants to be spoken to, with every template of the policy already rendered."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote_plus, urlencode

from gateway.oauth.message import OutgoingRequest
from gateway.secret import Secret

ParamValue = str | int | float | Secret | Literal[False]
"""A parameter's value; `False` takes a standard parameter out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """The client's identifier and secret (RFC 6749 §2.3.1). Without a secret it is a public client."""

    client_id: str
    client_secret: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A token, refresh or revocation endpoint.

    `response` maps a standard name to the dotted path where this provider puts it; `success_when` is a path that must
    be truthy; `error` is the path of the provider's message. `default_ttl` is in seconds.
    """

    url: str
    client_auth: Literal["basic", "body", "none"] = "basic"
    format: Literal["form", "json"] = "form"
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    response: Mapping[str, str] = field(default_factory=dict)
    success_when: str | None = None
    error: str | None = None
    default_ttl: float | None = None


def build_request(
    endpoint: Endpoint, standard: Mapping[str, ParamValue | None], client: ClientCredentials | None
) -> OutgoingRequest:
    """Return the POST: standard parameters, then the policy's over them, then the client's authentication.

    A standard parameter of `None` is left out; one that the policy sets to `False` is taken out.
    """
    params: dict[str, ParamValue] = {name: value for name, value in standard.items() if value is not None}
    headers: dict[str, str | Secret] = {"Accept": "application/json"}
    if client is not None:
        _authenticate(endpoint, client, params, headers)
    params.update(endpoint.params)
    plain = {name: _reveal(value) for name, value in params.items() if value is not False}
    if endpoint.format == "json":
        headers["Content-Type"] = "application/json"
        body = json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
    else:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(plain).encode()
    _override(headers, endpoint.headers)
    values = (*params.values(), *headers.values(), client.client_secret if client else None)
    return OutgoingRequest(
        method="POST",
        url=endpoint.url,
        headers=tuple((name, str(_reveal(value))) for name, value in headers.items()),
        body=body,
        secrets=tuple(value for value in values if isinstance(value, Secret)),
    )


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
        case _:
            # §3.2.1: a client that does not authenticate names itself with client_id.
            params["client_id"] = client.client_id


def _override(headers: dict[str, str | Secret], own: Mapping[str, str | Secret]) -> None:
    """Put the policy's headers in, each instead of ours of the same name, whatever its case."""
    for name, value in own.items():
        for standing in [standing for standing in headers if standing.lower() == name.lower()]:
            del headers[standing]
        headers[name] = value


def _reveal(value: ParamValue) -> str | int | float:
    return value.reveal() if isinstance(value, Secret) else value
