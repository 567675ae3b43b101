"""Reading answers: what a service sends, cut by llhttp into heads, content and ends.

`feed` takes what one read of the socket brought, and `take` hands it on in one piece. What an answer says twice, too
much of, or behind its end is found here (http-rules.md 13, 14); what to do about it is the connection's business.
"""

from collections.abc import Callable

import httptools

from gateway.http.fields import Fields, fields_size
from gateway.http.response import ResponseHead, ResponseInvalid, read_response_head

_SWITCHING_PROTOCOLS = 101


class AnswerReader:
    """The answers on one connection, one after another. `informed` is told of each 1xx that comes before one."""

    _method: str
    _cookies: bool
    _reason: bytes
    _fields: Fields
    _add_field: Callable[[tuple[bytes, bytes]], None]
    _head: ResponseHead | None
    _fresh: ResponseHead | None  # a final head that was not taken yet
    _head_bytes: int
    _fed: int

    def __init__(self, *, max_head: int, informed: Callable[[ResponseHead], None]) -> None:
        self._max_head, self._informed = max_head, informed
        self._parser = httptools.HttpResponseParser(self)
        self._content: list[bytes] = []
        self.begin(method="", cookies=False)

    def begin(self, *, method: str, cookies: bool) -> None:
        """Begin with the answer to a new request."""
        self._method, self._cookies = method, cookies
        self._keep_alive = self._surplus = self._ended = False
        self._begin_head()

    def feed(self, data: bytes) -> bytes | None:
        """Read what came. Bytes returned are what came behind a 101; else it returns None.

        Raises `ResponseInvalid` where it is no answer; what came before the fault can be taken all the same.
        """
        self._head_bytes += len(data)
        self._fed = self._head_bytes  # at least as much as any head that ends in these bytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._head is None or self._head.status != _SWITCHING_PROTOCOLS:
                raise ResponseInvalid("it switched protocols unasked") from None
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            if not self._ended:
                raise _reason(error) from error
            self._surplus = True
        if self._head_bytes > self._max_head and not self._ended:
            raise ResponseInvalid("its header fields are over the limit")
        return None

    def feed_end(self) -> bool:
        """Read the end of the stream. True: it is where the answer ends, too."""
        if self._head is not None and self._head.ends_with_connection:
            self._ended = True
        return self._ended

    def take(self) -> tuple[ResponseHead | None, list[bytes], bool]:
        """Return what came since the last call: the final head, content, and whether the answer is complete."""
        received = self._fresh, self._content, self._ended
        self._fresh = None
        if self._content:
            self._content = []
        return received

    @property
    def head(self) -> ResponseHead | None:
        """The head of the answer that is being read, a 101's too."""
        return self._head

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another exchange behind the answer that has ended."""
        return self._keep_alive and not self._surplus

    # What the parser tells it.

    def on_status(self, status: bytes) -> None:
        """Gather the reason phrase."""
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """Gather a field."""
        self._add_field((name, value))

    def on_headers_complete(self) -> None:
        """Read the head."""
        fields, self._add_field = self._fields, _ignore  # trailers are dropped
        if self._ended:
            return
        if self._fed > self._max_head and fields_size(fields) > self._max_head:
            raise ResponseInvalid("its header fields are over the limit")
        self._head_bytes = 0
        parser = self._parser
        self._head = head = read_response_head(
            status=parser.get_status_code(),
            reason=self._reason,
            version=parser.get_http_version,
            fields=fields,
            method=self._method,
            cookies=self._cookies,
        )
        if head.informational:
            self._informed(head)
        elif head.status != _SWITCHING_PROTOCOLS:  # that one is said when the parser stops behind it
            self._fresh = head
            self._keep_alive = parser.should_keep_alive() and not head.ends_with_connection
            if self._method == "HEAD":
                self._parser = httptools.HttpResponseParser(self)  # llhttp would wait for content that isn't sent
                self._ended = True

    def on_body(self, body: bytes) -> None:
        """Gather content."""
        self._head_bytes = 0  # counted again from here: trailers have a limit too
        if self._ended or self._head is None or self._head.content_length == 0:
            self._surplus = True
        else:
            self._content.append(body)

    def on_message_complete(self) -> None:
        """Take note of the end of an answer, or only of its informational beginning."""
        head = self._head
        if head is None or head.status == _SWITCHING_PROTOCOLS:
            return
        if head.informational:
            self._begin_head()
        else:
            self._ended = True

    def on_message_begin(self) -> None:
        """See to it that bytes behind an answer end the connection (http-rules.md 14)."""
        self._surplus = self._ended

    def _begin_head(self) -> None:
        self._reason, self._head, self._fresh = b"", None, None
        self._fields = []
        self._add_field = self._fields.append
        self._head_bytes = 0


def _reason(error: httptools.HttpParserError) -> Exception:
    """Return what to raise: what the head's reader said, or a fault of ours as it is."""
    if not isinstance(error, httptools.HttpParserCallbackError):
        return ResponseInvalid("it is malformed")
    context = error.__context__
    return context if isinstance(context, ResponseInvalid) else error


def _ignore(_: object) -> None:
    """Drop it."""
