"""A request's head: what is refused, what is forwarded, and how it is framed (http-rules.md 1, 4, 5, 6)."""

import pytest

from gateway.http.fields import _remembered
from gateway.http.request import RequestHead, RequestRejected, forwarded_head, may_be_nominated, read_request_head

HOST = (b"Host", b"ok.test")


def head_of(*headers: tuple[bytes, bytes], method: str = "GET", version: str = "1.1") -> RequestHead:
    return read(HOST, *headers, method=method, version=version)


def read(*headers: tuple[bytes, bytes], method: str = "GET", version: str = "1.1") -> RequestHead:
    return read_request_head(
        method=method,
        raw_target=b"http://ok.test/",
        version=version,
        keep_alive=True,
        fields=list(headers),
    )


def sent(head: RequestHead, **changes: object) -> bytes:
    arguments = {
        "request_target": "/a?b",
        "authority": "ok.test",
        "content_length": head.content_length,
        "drop": frozenset(),
        "injected": b"",
        "upgrade": None,
    }
    return forwarded_head(head, **{**arguments, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")], "twice"),
        ([(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"1")], "twice"),
        ([(b"Content-Length", b"1"), (b"Content-Length", b"1")], "twice"),
        ([(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")], "twice"),
        ([(b"Transfer-Encoding", b"gzip, chunked")], "chunked"),
        ([(b"Transfer-Encoding", b",chunked")], "chunked"),
        ([(b"Transfer-Encoding", b"identity")], "chunked"),
        ([(b"Content-Length", b"+1")], "decimal"),
        ([(b"Content-Length", b"1, 1")], "decimal"),
        ([(b"Content-Length", b"0x1")], "decimal"),
        ([(b"Content-Length", b"")], "decimal"),
        ([(b"Content-Length", b"9" * 19)], "decimal"),
        ([(b"Host", b"ok.test")], "two Host"),
        ([(b"Content_Length", b"1")], "disguise"),
        ([(b"Transfer_Encoding", b"chunked")], "disguise"),
        ([(b"Proxy_Authorization", b"x")], "disguise"),
        ([(b"X_Connection-Id", b"x")], "disguise"),
        ([(b"Content_Type", b"text/plain")], "disguise"),
        ([(b"Connection", b"host")], "nominates"),
        ([(b"Connection", b"close, Content-Length")], "nominates"),
        ([(b"Connection", b"content_length")], "nominates"),
        ([(b"Expect", b"200-ok")], "100-continue"),
        ([(b"Proxy-Authorization", b"a"), (b"Proxy-Authorization", b"b")], "two"),
        ([(b"X-Connection-Id", b"a"), (b"X-Connection-Id", b"b")], "two"),
        ([(b"Content-Type", b"a/b"), (b"Content-Type", b"application/json")], "two"),
    ],
)
def test_an_ambiguous_head_is_refused(headers: list[tuple[bytes, bytes]], why: str) -> None:
    with pytest.raises(RequestRejected, match=why):
        head_of(*headers)


def test_transfer_encoding_on_http_1_0_is_refused() -> None:
    with pytest.raises(RequestRejected, match=r"1\.0"):
        head_of((b"Transfer-Encoding", b"chunked"), version="1.0")


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2"])
def test_other_versions_are_refused(version: str) -> None:
    with pytest.raises(RequestRejected, match=r"HTTP/1\.1"):
        head_of(version=version)


def test_rtsp_is_not_http() -> None:
    with pytest.raises(RequestRejected, match="DESCRIBE"):
        head_of(method="DESCRIBE")


def test_http_1_1_needs_a_host() -> None:
    with pytest.raises(RequestRejected, match="Host"):
        read()


def test_order_and_case_of_fields_are_kept_and_host_is_regenerated_in_its_place() -> None:
    head = read(
        (b"uSER-aGENT", b"x"),
        (b"hOST", b"evil"),
        (b"X-b", b"1"),
        (b"X-A", b"2"),
        (b"content-LENGTH", b"3"),
        (b"x-b", b"4"),
        method="POST",
    )
    assert sent(head) == (
        b"POST /a?b HTTP/1.1\r\nuSER-aGENT: x\r\nhOST: ok.test\r\n"
        b"X-b: 1\r\nX-A: 2\r\ncontent-LENGTH: 3\r\nx-b: 4\r\n\r\n"
    )


def test_hop_by_hop_fields_and_what_connection_nominates_and_every_proxy_field_end_here() -> None:
    head = head_of(
        (b"Connection", b"X-Secret, keep-alive"),
        (b"X-Secret", b"1"),
        (b"X_Secret", b"1"),
        (b"Keep-Alive", b"timeout=5"),
        (b"TE", b"trailers"),
        (b"Trailer", b"X"),
        (b"Proxy-Authorization", b"Basic abc"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Proxy-Anything", b"1"),
        (b"X-Connection-Id", b"crm-ann"),
        (b"HTTP2-Settings", b"x"),
        (b"Upgrade", b"h2c"),
        (b"Accept", b"*/*"),
    )
    assert sent(head) == b"GET /a?b HTTP/1.1\r\nHost: ok.test\r\nAccept: */*\r\n\r\n"


def test_an_injected_name_wins_over_every_copy_of_the_callers() -> None:
    head = head_of(
        (b"Authorization", b"mine"), (b"AUTHORIZATION", b"mine"), (b"X_Api_Key", b"mine"), (b"X-Api-Key", b"mine")
    )
    injected = b"authorization: ours\r\nX-Api-Key: ours\r\n"
    assert sent(head, drop=frozenset({b"authorization", b"x-api-key"}), injected=injected) == (
        b"GET /a?b HTTP/1.1\r\nHost: ok.test\r\nauthorization: ours\r\nX-Api-Key: ours\r\n\r\n"
    )


def test_a_connection_field_may_not_nominate_an_injected_name() -> None:
    assert not may_be_nominated(head_of((b"Connection", b"Authorization")), frozenset({b"authorization"}))
    assert not may_be_nominated(head_of((b"Connection", b"x_api_key")), frozenset({b"x-api-key"}))
    assert may_be_nominated(head_of((b"Connection", b"close")), frozenset({b"authorization"}))


@pytest.mark.parametrize(
    ("field", "length", "line"),
    [
        ((b"transfer-encoding", b"chunked"), None, b"transfer-encoding: chunked"),
        ((b"Transfer-Encoding", b"chunked"), 5, b"Content-Length: 5"),
        ((b"content-length", b"3"), 5, b"content-length: 5"),
    ],
)
def test_framing_is_written_anew(field: tuple[bytes, bytes], length: int | None, line: bytes) -> None:
    assert sent(head_of(field, method="POST"), content_length=length) == (
        b"POST /a?b HTTP/1.1\r\nHost: ok.test\r\n" + line + b"\r\n\r\n"
    )


def test_a_head_can_be_sent_twice_to_different_places() -> None:
    head = head_of((b"Content-Length", b"3"), method="POST")
    sent(head, authority="first.test:81", content_length=7)
    assert (
        sent(head, authority="second.test") == b"POST /a?b HTTP/1.1\r\nHost: second.test\r\nContent-Length: 3\r\n\r\n"
    )


def test_an_upgrade_is_written_only_where_it_is_forwarded() -> None:
    head = head_of((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    assert b"pgrade" not in sent(head)
    assert sent(head, upgrade=b"websocket").endswith(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")


def test_a_target_or_method_named_elsewhere_than_in_the_request_line_ends_here_or_is_noted() -> None:
    head = head_of((b"X-Original-URL", b"/admin"), (b"X-Rewrite-Url", b"/admin"), (b"X-HTTP-Method-Override", b"put"))
    assert sent(head) == b"GET /a?b HTTP/1.1\r\nHost: ok.test\r\nX-HTTP-Method-Override: put\r\n\r\n"
    assert head.method_override == "PUT"


@pytest.mark.parametrize("name", [b"X_Original_URL", b"X-HTTP-Method_Override"])
def test_they_have_no_disguise(name: bytes) -> None:
    with pytest.raises(RequestRejected, match="disguise"):
        head_of((name, b"PUT"))


def test_long_names_are_not_remembered() -> None:
    """Else a caller could fill the memory with names of its own making."""
    head_of((b"x" * 65, b"1"), (b"y" * 64, b"1"))
    assert b"x" * 65 not in _remembered
    assert b"y" * 64 in _remembered


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        ([(b"Authorization", b"Bearer gwc_t")], {b"authorization"}),
        ([(b"Authorization", b"Bearer gwc_t"), (b"X_Copy", b"a gwc_t b")], {b"authorization", b"x-copy"}),
        ([(b"Authorization", b"Basic abc"), (b"X-Api-Key", b"gwc_t")], {b"x-api-key"}),
        ([(b"Authorization", b"gwc_t"), (b"Authorization", b"other")], {b"authorization"}),
        ([(b"gwc_t", b"1"), (b"Authorization", b"gwc_t")], {b"authorization", b"gwc-t"}),
        ([(b"X-Gwc_t-Y", b"1"), (b"X-gwc_t-Y", b"2"), (b"X-Api-Key", b"gwc_t")], {b"x-gwc-t-y", b"x-api-key"}),
        ([(b"Authorization", b"Basic abc"), (b"Accept", b"*/*")], set()),
    ],
)
def test_every_field_that_shows_the_token_is_found(headers: list[tuple[bytes, bytes]], names: set[bytes]) -> None:
    assert head_of(*headers).names_with(b"gwc_t") == names
