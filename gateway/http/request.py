"""A request's head: read once, refused where two servers could read it differently, forwarded with our own framing.

RFC 9112 §6.3, §11.2 (smuggling), RFC 9110 §7.6. llhttp has parsed the syntax; what it lets pass and we don't is here.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gateway.http.fields import ORDINARY, Headers, Role, list_members, read_name

_CHUNKED = b"chunked"
_DIGITS = frozenset(b"0123456789")
_MAX_LENGTH_DIGITS = 18  # fits every 64-bit reader
_NOT_TO_BE_NOMINATED = frozenset({b"host", b"content-length", b"transfer-encoding", b"via", b"content-type"})
_RTSP_METHODS = frozenset(
    {
        "DESCRIBE",
        "ANNOUNCE",
        "SETUP",
        "PLAY",
        "PAUSE",
        "TEARDOWN",
        "GET_PARAMETER",
        "SET_PARAMETER",
        "REDIRECT",
        "RECORD",
        "FLUSH",
        "SOURCE",
        "PRI",
    }
)  # llhttp reads these; they are not HTTP


class RequestRejected(ValueError):
    """The head is malformed or ambiguous; the message says what and is safe to show."""


@dataclass(slots=True, kw_only=True)
class RequestHead:
    """What the gateway knows of a request before its content.

    `lines` are the fields to forward, folded name and whole line, in the caller's order and spelling. The lines
    of Host and of the framing field are placeholders, filled when the request is sent. `content_length` is None for
    chunked content and 0 for none.
    """

    method: str
    raw_target: bytes
    version: str
    keep_alive: bool
    lines: list[tuple[bytes, bytes]]
    host: bytes | None = None
    host_at: int = -1
    framing_at: int = -1
    content_length: int | None = 0
    nominated: frozenset[bytes] = frozenset()
    upgrade: bytes | None = None
    expects_continue: bool = False
    via: bytes = b""
    proxy_authorization: bytes | None = None
    connection_id: bytes | None = None
    authorization: bytes | None = None
    api_key: bytes | None = None
    content_type: bytes | None = None
    content_encoding: bytes | None = None
    method_override: str | None = None

    @property
    def has_content(self) -> bool:
        """Whether content follows the head."""
        return self.content_length != 0


def read_request_head(
    *, method: str, raw_target: bytes, version: str, keep_alive: bool, headers: Headers
) -> RequestHead:
    """Read a parsed head. Raises `RequestRejected`."""
    if version not in {"1.1", "1.0"}:
        raise RequestRejected(f"HTTP/{version} is not spoken here; use HTTP/1.1.")
    if method in _RTSP_METHODS:
        raise RequestRejected(f"{method} is not an HTTP method.")
    head = RequestHead(method=method, raw_target=raw_target, version=version, keep_alive=keep_alive, lines=[])
    lines = head.lines
    for field_name, value in headers:
        name = read_name(field_name)
        if name.role is ORDINARY:
            lines.append((name.folded, b"%b: %b\r\n" % (field_name, value)))
        else:
            _read_special(head, name.role, name.folded, field_name, value)
    if head.host is None and version == "1.1":
        raise RequestRejected("An HTTP/1.1 request needs a Host field (RFC 9112 §3.2).")
    return head


def _read_special(head: RequestHead, role: Role, folded: bytes, name: bytes, value: bytes) -> None:  # noqa: C901, PLR0912 - one ladder, one idea
    lines = head.lines
    match role:
        case Role.HOST:
            if head.host is not None:
                raise RequestRejected("There are two Host fields.")
            head.host, head.host_at = value.strip(b" \t"), len(lines)
            lines.append((folded, name))
        case Role.PROXY_AUTHORIZATION:
            head.proxy_authorization = _once(head.proxy_authorization, value, "Proxy-Authorization")
        case Role.CONTENT_LENGTH:
            if head.framing_at >= 0:
                raise RequestRejected("The length of the content is given twice.")
            head.content_length, head.framing_at = _length(value), len(lines)
            lines.append((folded, name))
        case Role.TRANSFER_ENCODING:
            _check_transfer_encoding(head, value)
            head.content_length, head.framing_at = None, len(lines)
            lines.append((folded, name))
        case Role.CONNECTION:
            head.nominated |= _nominated(value)
        case Role.UPGRADE:
            head.upgrade = value if head.upgrade is None else head.upgrade + b", " + value
        case Role.EXPECT:
            if value.strip(b" \t").lower() != b"100-continue":
                raise RequestRejected("The only expectation is 100-continue (RFC 9110 §10.1.1).")
            head.expects_continue = True
            lines.append((folded, b"%b: %b\r\n" % (name, value)))
        case Role.AMBIGUOUS:
            raise RequestRejected(
                f"The field {name.decode('latin-1')} is a disguise of one that frames or routes requests."
            )
        case Role.CONNECTION_ID:
            head.connection_id = _once(head.connection_id, value, "X-Connection-Id")
        case Role.HOP_BY_HOP:
            pass
        case _:
            _note(head, role, value)
            lines.append((folded, b"%b: %b\r\n" % (name, value)))


def _note(head: RequestHead, role: Role, value: bytes) -> None:
    """Remember a field that is forwarded and that we look at too."""
    match role:
        case Role.VIA:
            head.via = head.via + b"," + value if head.via else value
        case Role.AUTHORIZATION:
            head.authorization = value
        case Role.API_KEY:
            head.api_key = value
        case Role.CONTENT_TYPE:
            head.content_type = _once(head.content_type, value, "Content-Type")
        case Role.METHOD_OVERRIDE:
            head.method_override = _once(head.method_override, value, "method override").decode("latin-1").upper()
        case Role.CONTENT_ENCODING:
            head.content_encoding = _once(head.content_encoding, value, "Content-Encoding").lower()
        case _:
            pass


def _once(known: bytes | str | None, value: bytes, name: str) -> bytes:
    if known is not None:
        raise RequestRejected(f"There are two {name} fields.")
    return value.strip(b" \t")


def _length(value: bytes) -> int:
    value = value.strip(b" \t")
    if not value or len(value) > _MAX_LENGTH_DIGITS or not _DIGITS.issuperset(value):
        raise RequestRejected("Content-Length is not a plain decimal number.")
    return int(value)


def _check_transfer_encoding(head: RequestHead, value: bytes) -> None:
    """RFC 9112 §6.1 allows codings before chunked; we are stricter: just `chunked`, on HTTP/1.1, no Content-Length."""
    if head.version != "1.1":
        raise RequestRejected("Transfer-Encoding is not part of HTTP/1.0.")
    if head.framing_at >= 0:
        raise RequestRejected("The length of the content is given twice.")
    if value.strip(b" \t").lower() != _CHUNKED:
        raise RequestRejected("The only transfer coding is chunked.")


def _nominated(value: bytes) -> frozenset[bytes]:
    members = frozenset(list_members(value))
    folded = frozenset(member.replace(b"_", b"-") for member in members)
    if refused := folded & _NOT_TO_BE_NOMINATED:
        raise RequestRejected(f"Connection nominates {min(refused).decode('latin-1')}, which is not hop-by-hop.")
    return folded


def forwarded_head(
    head: RequestHead,
    *,
    request_target: str,
    authority: str,
    content_length: int | None,
    drop: AbstractSet[bytes],
    injected: bytes,
    upgrade: bytes | None,
) -> bytes:
    """Return the head as it goes upstream.

    `drop` holds folded names not to be sent, `injected` whole lines to add. `content_length` is as in `RequestHead`.
    """
    lines = head.lines
    if head.host_at >= 0:
        lines[head.host_at] = (b"host", b"%b: %b\r\n" % (_spelling(lines[head.host_at][1]), authority.encode("ascii")))
    if head.framing_at >= 0:
        lines[head.framing_at] = (
            b"content-length",
            _framing_line(_spelling(lines[head.framing_at][1]), content_length),
        )
    nominated = head.nominated
    out = [f"{head.method} {request_target} HTTP/1.1\r\n".encode("ascii")]
    if head.host_at < 0:
        out.append(b"Host: %b\r\n" % authority.encode("ascii"))
    out += [line for folded, line in lines if folded not in drop and folded not in nominated]
    if head.framing_at < 0 and content_length:
        out.append(b"Content-Length: %d\r\n" % content_length)
    out.append(injected)
    out.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % upgrade if upgrade else b"\r\n")
    return b"".join(out)


def _spelling(line: bytes) -> bytes:
    """The caller's spelling of a name, from a placeholder or from a line that was filled before."""
    return line.partition(b":")[0]


def _framing_line(name: bytes, content_length: int | None) -> bytes:
    """Keep the caller's spelling where the framing stays of its kind."""
    chunked = name.lower() == b"transfer-encoding"
    if content_length is None:
        return b"%b: chunked\r\n" % (name if chunked else b"Transfer-Encoding")
    return b"%b: %d\r\n" % (b"Content-Length" if chunked else name, content_length)


def may_be_nominated(head: RequestHead, injected_names: AbstractSet[bytes]) -> bool:
    """Whether `Connection` leaves the injected names alone: else the caller could have them stripped on the way."""
    return not (head.nominated & injected_names)
