"""A response's head: what is refused, what is relayed, and how it is framed (http-rules.md 12 to 14)."""

import pytest

from gateway.http.response import ResponseHead, ResponseInvalid, read_response_head


def head_of(
    *headers: tuple[bytes, bytes],
    status: int = 200,
    method: str = "GET",
    cookies: bool = False,
    version: str = "1.1",
    reason: bytes = b"OK",
) -> ResponseHead:
    return read_response_head(
        status=status,
        reason=reason,
        version=lambda: version,
        fields=list(headers),
        method=method,
        cookies=cookies,
    )


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"1")],
        [(b"Content-Length", b"1"), (b"Content-Length", b"2")],
        [(b"Content-Length", b"-1")],
        [(b"Transfer-Encoding", b"gzip")],
        [(b"Transfer-Encoding", b"gzip, chunked")],
    ],
)
def test_ambiguous_framing_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ResponseInvalid):
        head_of(*headers)


@pytest.mark.parametrize("status", [100, 102, 103, 199])
@pytest.mark.parametrize("field", [(b"Content-Length", b"2"), (b"Transfer-Encoding", b"chunked")])
def test_a_1xx_that_announces_content_is_refused(status: int, field: tuple[bytes, bytes]) -> None:
    """Behind some of these llhttp reads content, behind others none: where the next answer begins is a guess."""
    with pytest.raises(ResponseInvalid, match="1xx"):
        head_of(field, status=status)
    assert head_of((b"Content-Length", b"0"), status=status).informational


def test_chunks_on_http_1_0_are_refused() -> None:
    with pytest.raises(ResponseInvalid):
        head_of((b"Transfer-Encoding", b"chunked"), version="1.0")


def test_hop_by_hop_nominated_and_proxy_fields_and_cookies_end_here() -> None:
    head = head_of(
        (b"Connection", b"X-Hop, close"),
        (b"X-Hop", b"1"),
        (b"Keep-Alive", b"5"),
        (b"Proxy-Status", b"forged"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"Set-Cookie", b"a=b"),
        (b"Alt-Svc", b'h3=":443"'),
        (b"X-Kept", b"1"),
    )
    assert head.fields() == b"X-Kept: 1\r\n"


def test_cookies_pass_where_the_policy_allows_them() -> None:
    assert head_of((b"Set-Cookie", b"a=b"), (b"set-cookie", b"c=d"), cookies=True).fields() == (
        b"Set-Cookie: a=b\r\nset-cookie: c=d\r\n"
    )


def test_a_reason_with_control_bytes_is_replaced_by_the_standard_one() -> None:
    assert head_of(reason=b"O\x01K\x1b[31m", status=404).reason == b"Not Found"
    assert head_of(reason=b"Fine, thank you").reason == b"Fine, thank you"


@pytest.mark.parametrize(("status", "method"), [(200, "HEAD"), (204, "GET"), (304, "GET")])
def test_what_has_no_content_has_none_whatever_its_fields_say(status: int, method: str) -> None:
    head = head_of((b"Content-Length", b"5"), status=status, method=method)
    assert head.content_length == 0
    assert head.framing(chunked=False) == (b"Content-Length: 5\r\n" if status in {200, 304} else b"")


def test_a_heads_content_length_is_relayed_as_it_describes_the_get() -> None:
    assert head_of((b"Content-Length", b"5"), method="HEAD").framing(chunked=False) == b"Content-Length: 5\r\n"
    assert head_of((b"Content-Length", b"5"), status=204).framing(chunked=False) == b""


def test_framing_is_written_anew() -> None:
    assert head_of((b"content-length", b"5")).framing(chunked=False) == b"Content-Length: 5\r\n"
    assert head_of().framing(chunked=True) == b"Transfer-Encoding: chunked\r\n"
    assert head_of().framing(chunked=False) == b""
    assert head_of().ends_with_connection
    assert not head_of((b"Transfer-Encoding", b"chunked")).ends_with_connection


@pytest.mark.parametrize("status", [0, 1, 99])
def test_a_status_below_100_is_refused(status: int) -> None:
    """Relayed, it would have fewer than three digits, which no caller could read."""
    with pytest.raises(ResponseInvalid, match="is not a status"):
        head_of(status=status)
