"""The gateway's own answers as bytes: RFC 9457 problems with a `Proxy-Status` field (RFC 9209)."""

from http import HTTPStatus

import orjson

from gateway.errors import PROBLEMS, Refusal

CHALLENGE = b'Basic realm="connection gateway: user is the connection, password the client token", charset="UTF-8"'
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TUNNEL_OPEN = b"HTTP/1.1 200 Connection Established\r\n\r\n"
_PROXY_NAME = "connection-gateway"


def refusal_bytes(refusal: Refusal, *, request_id: str, keep_alive: bool, with_content: bool) -> bytes:
    """Return the whole response. `with_content` is False for an answer to HEAD."""
    content = orjson.dumps(refusal.problem(request_id))
    status = refusal.status
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        f'Proxy-Status: {_PROXY_NAME}; error={PROBLEMS[refusal.code].proxy_error}; details="{refusal.code}"',
    ]
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        lines.append(f"Proxy-Authenticate: {CHALLENGE.decode()}")
    elif status == HTTPStatus.UNAUTHORIZED:
        lines.append('WWW-Authenticate: Bearer realm="connection gateway: the client token"')
    if refusal.retry_after is not None:
        lines.append(f"Retry-After: {refusal.retry_after}")
    if not keep_alive:
        lines.append("Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head + content if with_content else head
