"""A request's head: read once, refused where two servers could read it differently, forwarded with our own framing.

RFC 9112 §6.3, §11.2 (smuggling), RFC 9110 §7.6. llhttp has parsed the syntax; what it lets pass and we don't is here.
"""

from collections.abc import Set as AbstractSet

from gateway.http.fields import Fields, Role, nominated
from gateway.http.shape import NOTHING, Shape, Shapes

_VERSIONS = frozenset({"1.0", "1.1"})
_CHUNKED = b"chunked"
_TRANSFER_ENCODING = frozenset({b"transfer-encoding"})
_AUTHORIZATION = frozenset({b"authorization"})
_HOST = frozenset({b"host"})
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


class RequestShape(Shape):
    """The names of a request's fields. Raises `RequestRejected` where a name alone makes the request ambiguous."""

    __slots__ = (
        "api_key_at",
        "authorization_at",
        "connection_id_at",
        "content_encoding_at",
        "content_type_at",
        "host_at",
        "is_plain",
        "length_at",
        "method_override_at",
        "proxy_authorization_at",
        "traceparent_at",
        "transfer_encoding_at",
        "upgrade_at",
        "via_at",
    )

    ends_here = frozenset(
        {Role.HOP_BY_HOP, Role.CONNECTION, Role.UPGRADE, Role.PROXY_AUTHORIZATION, Role.CONNECTION_ID}
    )

    def __init__(self, names: tuple[bytes, ...]) -> None:
        super().__init__(names)
        for at in self.all(Role.AMBIGUOUS):
            name = names[at].decode("latin-1")
            raise RequestRejected(f"The field {name} is a disguise of one that frames or routes requests.")
        for role, title in _ONCE.items():
            if len(self.all(role)) > 1:
                raise RequestRejected(f"There are two {title} fields.")
        if len(self.all(Role.CONTENT_LENGTH)) + len(self.all(Role.TRANSFER_ENCODING)) > 1:
            raise RequestRejected("The length of the content is given twice.")
        self.host_at = self.last(Role.HOST)
        self.length_at = self.last(Role.CONTENT_LENGTH)
        self.transfer_encoding_at = self.last(Role.TRANSFER_ENCODING)
        self.proxy_authorization_at = self.last(Role.PROXY_AUTHORIZATION)
        self.connection_id_at = self.last(Role.CONNECTION_ID)
        self.authorization_at = self.last(Role.AUTHORIZATION)
        self.api_key_at = self.last(Role.API_KEY)
        self.content_type_at = self.last(Role.CONTENT_TYPE)
        self.content_encoding_at = self.last(Role.CONTENT_ENCODING)
        self.method_override_at = self.last(Role.METHOD_OVERRIDE)
        traceparent = self.all(Role.TRACEPARENT)
        self.traceparent_at = traceparent[0] if len(traceparent) == 1 else -1  # of two, neither is believed
        self.upgrade_at = self.all(Role.UPGRADE)
        self.via_at = self.all(Role.VIA)
        self.is_plain = self.places.keys().isdisjoint(_WEIGHTY)
        """Whether no field's value says how the message is to be read."""


_ONCE = {
    Role.HOST: "Host",
    Role.PROXY_AUTHORIZATION: "Proxy-Authorization",
    Role.CONNECTION_ID: "X-Connection-Id",
    Role.CONTENT_TYPE: "Content-Type",
    Role.CONTENT_ENCODING: "Content-Encoding",
    Role.METHOD_OVERRIDE: "method override",
}
_WEIGHTY = frozenset({Role.CONTENT_LENGTH, Role.TRANSFER_ENCODING, Role.CONNECTION, Role.EXPECT})
_shapes = Shapes(RequestShape)


class RequestHead:
    """What the gateway knows of a request before its content.

    `values` are the fields' values in the order of the shape's names. `content_length` is None for chunked content and
    0 for none. `nominated` are the folded names that `Connection` says end here.
    """

    content_length: int | None = 0
    nominated = NOTHING
    expects_continue = False

    def __init__(
        self,
        *,
        method: str,
        raw_target: bytes,
        version: str,
        keep_alive: bool,
        shape: RequestShape,
        values: list[bytes],
    ) -> None:
        self.method, self.raw_target, self.version, self.keep_alive = method, raw_target, version, keep_alive
        self.shape, self.values = shape, values

    @property
    def host(self) -> bytes | None:
        """Host, as the caller wrote it."""
        return self._value(self.shape.host_at)

    @property
    def proxy_authorization(self) -> bytes | None:
        """Proxy-Authorization."""
        at = self.shape.proxy_authorization_at
        return None if at < 0 else self.values[at].strip(b" \t")

    @property
    def connection_id(self) -> bytes | None:
        """X-Connection-Id."""
        at = self.shape.connection_id_at
        return None if at < 0 else self.values[at].strip(b" \t")

    @property
    def authorization(self) -> bytes | None:
        """The last Authorization."""
        return self._value(self.shape.authorization_at)

    @property
    def api_key(self) -> bytes | None:
        """The last X-Api-Key."""
        return self._value(self.shape.api_key_at)

    @property
    def content_type(self) -> bytes | None:
        """Content-Type."""
        return self._value(self.shape.content_type_at)

    @property
    def content_encoding(self) -> bytes | None:
        """Content-Encoding, lower case."""
        value = self._value(self.shape.content_encoding_at)
        return None if value is None else value.lower()

    @property
    def method_override(self) -> str | None:
        """The method that a server may take for the request's, upper case."""
        value = self._value(self.shape.method_override_at)
        return None if value is None else value.decode("latin-1").upper()

    @property
    def traceparent(self) -> bytes | None:
        """Traceparent, if there is one and not two."""
        return self._value(self.shape.traceparent_at)

    @property
    def tracestate(self) -> bytes:
        """Every Tracestate, as one list."""
        return b",".join([self.values[at] for at in self.shape.all(Role.TRACESTATE)])

    @property
    def upgrade(self) -> bytes | None:
        """Every Upgrade, as one list."""
        places = self.shape.upgrade_at
        return b", ".join([self.values[at] for at in places]) if places else None

    @property
    def via(self) -> bytes | None:
        """Every Via, as one list."""
        places = self.shape.via_at
        return b",".join([self.values[at] for at in places]) if places else None

    def names_with(self, shown: bytes) -> frozenset[bytes]:
        """Return the folded names of the fields that have these bytes in them; not Host, which is written anew."""
        shape = self.shape
        at = shape.authorization_at
        here = self.values[at].count(shown) if at >= 0 else 0
        if here and b"\n".join((*shape.names, *self.values)).count(shown) == here:
            return _AUTHORIZATION  # the usual place, and nowhere else
        fields = zip(shape.names, shape.folded, self.values, strict=True)
        return frozenset(folded for name, folded, value in fields if shown in value or shown in name) - _HOST

    def _value(self, at: int) -> bytes | None:
        return None if at < 0 else self.values[at].strip(b" \t")


def read_request_head(*, method: str, raw_target: bytes, version: str, keep_alive: bool, fields: Fields) -> RequestHead:
    """Read a parsed head. Raises `RequestRejected`."""
    if version not in _VERSIONS:
        raise RequestRejected(f"HTTP/{version} is not spoken here; use HTTP/1.1.")
    if method in _RTSP_METHODS:
        raise RequestRejected(f"{method} is not an HTTP method.")
    shape, values = _shapes.of(fields)
    if shape.host_at < 0 and version == "1.1":
        raise RequestRejected("An HTTP/1.1 request needs a Host field (RFC 9112 §3.2).")
    head = RequestHead(
        method=method, raw_target=raw_target, version=version, keep_alive=keep_alive, shape=shape, values=values
    )
    if not shape.is_plain:
        _read_framing(head, shape)
    return head


def _read_framing(head: RequestHead, shape: RequestShape) -> None:
    values = head.values
    if shape.length_at >= 0:
        head.content_length = _length(values[shape.length_at])
    elif shape.transfer_encoding_at >= 0:
        _check_transfer_encoding(head.version, values[shape.transfer_encoding_at])
        head.content_length = None
    for at in shape.all(Role.CONNECTION):
        head.nominated |= _nominated(values[at])
    for at in shape.all(Role.EXPECT):
        if values[at].strip(b" \t").lower() != b"100-continue":
            raise RequestRejected("The only expectation is 100-continue (RFC 9110 §10.1.1).")
        head.expects_continue = True


def _length(value: bytes) -> int:
    value = value.strip(b" \t")
    if not value or len(value) > _MAX_LENGTH_DIGITS or not _DIGITS.issuperset(value):
        raise RequestRejected("Content-Length is not a plain decimal number.")
    return int(value)


def _check_transfer_encoding(version: str, value: bytes) -> None:
    """RFC 9112 §6.1 allows codings before chunked; we are stricter: just `chunked`, on HTTP/1.1, no Content-Length."""
    if version != "1.1":
        raise RequestRejected("Transfer-Encoding is not part of HTTP/1.0.")
    if value.strip(b" \t").lower() != _CHUNKED:
        raise RequestRejected("The only transfer coding is chunked.")


def _nominated(value: bytes) -> frozenset[bytes]:
    names = nominated(value)
    if refused := names & _NOT_TO_BE_NOMINATED:
        raise RequestRejected(f"Connection nominates {min(refused).decode('latin-1')}, which is not hop-by-hop.")
    return names


def forwarded_head(
    head: RequestHead,
    *,
    request_target: str,
    authority: str,
    content_length: int | None,
    drop: frozenset[bytes],
    injected: bytes,
    upgrade: bytes | None,
) -> bytes:
    """Return the head as it goes upstream.

    `drop` holds folded names not to be sent, `injected` whole lines to add. `content_length` is as in `RequestHead`.
    """
    shape, values = head.shape, head.values.copy()
    start = f"{head.method} {request_target} HTTP/1.1\r\n"
    if shape.host_at >= 0:
        values[shape.host_at] = authority.encode("ascii")
    else:
        start += f"Host: {authority}\r\n"
    if not shape.is_plain:
        drop, framing = _frame(head, values, content_length, drop)
        injected = framing + injected
    text, pick = shape.template(drop)
    end = b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % upgrade if upgrade else b"\r\n"
    return b"".join((start.encode("ascii"), text % pick(values), injected, end))


def _frame(
    head: RequestHead, values: list[bytes], content_length: int | None, drop: frozenset[bytes]
) -> tuple[frozenset[bytes], bytes]:
    """Write the framing anew, into `values` where the caller has it. Return what to drop, and a line to add."""
    shape = head.shape
    drop |= head.nominated
    if shape.length_at >= 0:
        values[shape.length_at] = b"%d" % (content_length or 0)
    elif shape.transfer_encoding_at >= 0:
        values[shape.transfer_encoding_at] = _CHUNKED
        if content_length is not None:
            return drop | _TRANSFER_ENCODING, b"Content-Length: %d\r\n" % content_length
    return drop, b""


def may_be_nominated(head: RequestHead, injected_names: AbstractSet[bytes]) -> bool:
    """Whether `Connection` leaves the injected names alone: else the caller could have them stripped on the way."""
    return not (head.nominated & injected_names)
