"""What can go wrong, by whose fault it is, and what the gateway answers then.

`PROBLEMS` is the whole table of codes. A `Refusal` is one occurrence: what happened, to what, and what to do next.
Denial is a value; exceptions (`GatewayError`) carry a refusal where a caller can't decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TYPE_BASE = "https://connection-gateway.dev/problems/"


@dataclass(frozen=True, slots=True)
class Problem:
    """One code of the table. `proxy_error` is the RFC 9209 §2.3 error type for `Proxy-Status`."""

    code: str
    status: int
    title: str
    proxy_error: str


_TABLE = (
    # What the proxy listener answers (design.md, "What the gateway itself answers").
    Problem("proxy_authentication_required", 407, "Name a connection and give a client token", "http_request_denied"),
    Problem("connection_not_permitted", 403, "This client may not use that connection", "http_request_denied"),
    Problem("target_invalid", 400, "The target is not one clean http or https URL", "http_request_error"),
    Problem("target_not_allowed", 403, "The connection's policy does not allow this target", "http_request_denied"),
    Problem("address_not_allowed", 403, "The target's address may not be reached", "destination_ip_prohibited"),
    Problem("request_rejected", 400, "The request is malformed or ambiguous", "http_request_error"),
    Problem("request_too_large", 413, "The request body is over the limit", "http_request_error"),
    Problem("headers_too_large", 431, "The request's header fields are over the limit", "http_request_error"),
    Problem("rate_limited", 429, "Too many requests", "http_request_denied"),
    Problem("overloaded", 503, "The gateway can't do this just now", "connection_limit_reached"),
    Problem("reauthorization_required", 502, "The connection needs a person to sign in again", "http_request_denied"),
    Problem("refresh_failed", 502, "The token endpoint failed", "http_request_denied"),
    Problem("upstream_dns", 502, "The target's name could not be resolved", "dns_error"),
    Problem("upstream_connect", 502, "The target could not be connected to", "destination_unavailable"),
    Problem("upstream_tls", 502, "TLS with the target failed", "tls_protocol_error"),
    Problem("upstream_protocol", 502, "The target's answer is not valid HTTP", "http_protocol_error"),
    Problem("upstream_timeout", 504, "The target did not answer in time", "http_response_timeout"),
    Problem("loop_detected", 508, "The request came from this gateway", "proxy_loop_detected"),
    # What the web listener answers besides.
    Problem("request_timeout", 408, "The request did not arrive in time", "http_request_error"),
    Problem("unauthorized", 401, "Sign in, or give the admin token", "http_request_denied"),
    Problem("not_found", 404, "There is no such thing", "http_request_denied"),
    Problem("conflict", 409, "What is there stands against it", "http_request_denied"),
    Problem("invalid", 422, "Some values are not right", "http_request_error"),
    Problem("internal", 500, "The gateway has a fault", "proxy_internal_error"),
)
PROBLEMS: Mapping[str, Problem] = {problem.code: problem for problem in _TABLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One answer of the gateway's own.

    `detail` says what happened and to what, `hint` what to change. Neither ever holds a secret or a query string.
    `retry_after` is in seconds. `errors` lists the single faults of an input, each `{"path": …, "message": …}`.
    """

    code: str
    detail: str
    hint: str | None = None
    retry_after: int | None = None
    status: int = 0
    errors: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.status:
            object.__setattr__(self, "status", PROBLEMS[self.code].status)

    def problem(self, request_id: str) -> dict[str, Any]:
        """Return the RFC 9457 object."""
        entry = PROBLEMS[self.code]
        body: dict[str, Any] = {
            "type": TYPE_BASE + self.code,
            "title": entry.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }
        if self.hint:
            body["hint"] = self.hint
        if self.errors:
            body["errors"] = [dict(error) for error in self.errors]
        return body


class GatewayError(Exception):
    """The root of what we raise on purpose: it carries the refusal that a person or program is shown."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.detail} {refusal.hint or ''}".strip())
        self.refusal = refusal


class ClientError(GatewayError):
    """The caller's fault: what it sent or asked for."""


class PolicyError(GatewayError):
    """The policy's fault: it can't be loaded, or a value it names is missing."""


class UpstreamError(GatewayError):
    """The target's fault, or the way to it."""


class AuthorizationServerError(GatewayError):
    """The provider's token endpoint failed or refused."""


class StoreError(GatewayError):
    """The store can't be read or written."""


class StartError(GatewayError):
    """We can't start like this: a wrong key, a newer schema, a port in use, a bad configuration."""
