"""The load: what wrk is told, and when an answer is whole."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.callers import ask_at_once, ask_in_turn, crowd, is_whole, request_of
from benchmarks.contenders import Running, judge, prove
from benchmarks.install import FROM_DEBIAN, FROM_PYPI, NEEDED, find
from benchmarks.processes import Refused
from benchmarks.scenarios.body_injection import body
from benchmarks.wrk import Load, quoted, script_of


class Echo(BaseHTTPRequestHandler):
    """Says which Authorization it saw, or injects one where the path says so."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        saw = "Bearer tok" if self.path.endswith("injected") else self.headers["Authorization"]
        said = json.dumps({"saw": saw}).encode()
        self.send_response(503 if self.path.endswith("broken") else 200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    """Says nothing of callers that leave before they have read everything."""

    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture
def echo():
    with Quiet(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Running(name="echo", port=server.server_address[1], pid=0, headers=("Proxy-Authorization: Basic YTpi",))
        server.shutdown()
        thread.join()


def test_a_contender_that_lets_the_callers_own_credential_through_is_refused(echo: Running) -> None:
    prove(echo, "http://127.0.0.1/injected", "tok")
    with pytest.raises(Refused, match="upstream saw the Authorization 'Bearer the-callers-own', not the injected one"):
        prove(echo, "http://127.0.0.1/plain", "tok")


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [
        (502, b"upstream is away", "it answers 502: upstream is away"),
        (200, b"<html>", "the answer isn't upstream's"),
        (200, b"[]", "the answer isn't upstream's"),
        (200, b'{"saw": ""}', "upstream saw the Authorization ''"),
        (200, b'{"saw": "Bearer tok, Bearer tok"}', "not the injected one"),
    ],
)
def test_only_a_200_that_shows_the_injection_is_proof(status: int, said: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why):
        judge(status, said, "tok")


def test_nobody_there_is_a_refusal() -> None:
    with pytest.raises(Refused, match="no answer: ConnectionRefusedError"):
        prove(Running(name="gone", port=1, pid=0), "http://127.0.0.1/", "tok")


def test_a_crowd_asks_in_turn_and_at_once(echo: Running) -> None:
    request = request_of(echo, "http://127.0.0.1/plain")
    with crowd(echo, 5) as callers:
        ask_in_turn(callers, request)
        assert len(ask_at_once(callers, request)) == 5
        with pytest.raises(Refused, match=r"the answer is 'HTTP/1\.1 503"):
            ask_at_once(callers, request_of(echo, "http://127.0.0.1/broken"))


@pytest.mark.parametrize(
    ("said", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\no", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"", False),
    ],
)
def test_an_answer_is_whole_with_all_of_its_body(said: bytes, *, whole: bool) -> None:
    assert is_whole(said) is whole


def test_lua_gets_every_text_as_it_is() -> None:
    assert quoted('a"b\\c\n') == '"a\\034b\\092c\\010"'


def test_wrk_sends_the_contenders_fields_and_the_targets_host() -> None:
    script = script_of(Load(target="http://127.0.0.1:9000/v1/users", headers=("Proxy-Authorization: Basic eDp5",)))
    assert 'wrk.path = "http://127.0.0.1:9000/v1/users"' in script
    assert 'wrk.headers["Host"] = "127.0.0.1:9000"' in script
    assert 'wrk.headers["Proxy-Authorization"] = "Basic eDp5"' in script


def test_the_body_that_is_rewritten_is_two_kibibytes_of_json() -> None:
    assert len(body()) == 2048
    assert set(json.loads(body())) == {"customer", "settings", "rows", "note"}


def test_a_program_that_is_nowhere_is_missing_and_no_error() -> None:
    assert set(NEEDED) <= set(FROM_DEBIAN)
    assert all("==" in requirement for requirement, _ in FROM_PYPI.values())
    assert find("no-such-program-anywhere") is None
    assert str(find("sh")) == shutil.which("sh")
