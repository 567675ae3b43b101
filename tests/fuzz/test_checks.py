"""The checks that coverage-guided runs make hold for what such runs begin with, and each of them can fail."""

import pytest

from gateway.http.target import parse_target
from gateway.proxy import relay
from tests.fuzz import answers, requests, strict, targets
from tests.fuzz.plane import COMPILED, Plane, cut

pytestmark = pytest.mark.skipif(COMPILED, reason="wires without sockets take the interpreted data plane")
CHECKS = {"requests": requests, "answers": answers, "targets": targets}


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_the_seeds_pass(name: str) -> None:
    for seed in CHECKS[name].SEEDS:
        CHECKS[name].check(seed)


def test_most_seeds_reach_upstream() -> None:
    """A check of requests that are all refused would check nothing."""
    reached = 0
    for seed in requests.SEEDS:
        plane = Plane()
        plane.run(cut(seed[1:], seed[0]))
        reached += bool(plane.asked)
    assert reached >= len(requests.SEEDS) * 3 // 4


def test_a_secret_that_is_let_through_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        relay, "scrubbed_head", lambda head, _live: b"HTTP/1.1 %d x\r\n%b" % (head.status, head.fields())
    )
    with pytest.raises(AssertionError):
        answers.check(b"\0\0HTTP/1.1 200 OK\r\nX: tok_abcdefgh\r\nContent-Length: 0\r\n\r\n")


def test_a_target_that_others_read_differently_is_found() -> None:
    with pytest.raises(AssertionError):
        targets.check_target(parse_target("https://ok.test/a"), "https://ok.test\\@evil/a")


def test_content_that_is_not_the_caller_s_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.proxy.content.Content.feed", lambda *_: None)
    with pytest.raises(AssertionError):
        requests.check(requests.SEEDS[2])


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc0\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
        b"G\0T / HTTP/1.1\r\n\r\n",
    ],
)
def test_the_second_reader_is_strict(data: bytes) -> None:
    with pytest.raises(strict.Malformed) as caught:
        strict.request(data)
    assert not isinstance(caught.value, strict.Incomplete)
