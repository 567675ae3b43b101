"""A new version takes the port over while callers come all the time: none is refused, none is cut."""

import asyncio
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.app import handover
from gateway.app.signals import end_by
from gateway.app.sockets import Sockets, bound
from gateway.errors import StartError
from gateway.settings import Listen
from tests.cli.programs import Server, serving, surroundings
from tests.ports import free_port

KEY = bytes(range(32)).hex()
POLICY = """
name = "Service"
[allow]
urls = ["http://127.0.0.1:{port}"]
[[fields]]
name = "api_key"
secret = true
[auth]
grant = "api_key"
[inject.headers]
X-Key = "{{{{ api_key }}}}"
"""


class Service(ThreadingHTTPServer):
    """Answers at once, and `/slow` when the test says so."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked, self.go_on = threading.Event(), threading.Event()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.server.asked.set()
            self.server.go_on.wait(120)
        content = self.headers["X-Key"].encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.05,))
        thread.start()
        yield one
        one.go_on.set()
        one.shutdown()
        thread.join()


class Asking:
    """Programs that ask the whole time: with a new connection for each request, and with one for many."""

    def __init__(self, server: Server, service: Service) -> None:
        self.outcomes: Counter[str] = Counter()
        self._server, self._service = server, service
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._go_on, args=(kind, one))
            for kind, one in (("new", self._once), ("kept", self._many), ("web", self._readiness))
        ]

    @contextmanager
    def on(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Have the last answers, and ask no more."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def until(self, kind: str, *, more: int) -> None:
        """Wait until so many more have been answered."""
        wanted = self.outcomes[f"{kind} 200"] + more
        until(lambda: self.outcomes[f"{kind} 200"] >= wanted)

    def _go_on(self, kind: str, one: Callable[[], Iterator[int]]) -> None:
        while not self._over.is_set():
            try:
                for status in one():
                    self.outcomes[f"{kind} {status}"] += 1
            except OSError as error:
                self.outcomes[f"{kind} {error!r}"] += 1

    def _once(self) -> Iterator[int]:
        with called(self._server) as connection:
            yield ask(connection, self._service)[0]
        time.sleep(0.02)  # there is more to do on this machine

    def _many(self) -> Iterator[int]:
        """As long as it may: who is told that it was the last answer comes back with another connection."""
        with called(self._server) as connection:
            last = False
            while not last and not self._over.wait(0.02):
                status, head = ask(connection, self._service)
                last = b"Connection: close" in head
                yield status

    def _readiness(self) -> Iterator[int]:
        yield readiness(self._server)[0]
        time.sleep(0.05)


def called(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.proxy), 20)


def send(connection: socket.socket, service: Service, path: str = "/") -> None:
    tag = base64.b64encode(b"c:").decode()
    host = f"127.0.0.1:{service.server_port}"
    connection.sendall(
        f"GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic {tag}\r\n\r\n".encode()
    )


def receive(connection: socket.socket) -> tuple[int, bytes]:
    """The status and the head of an answer with the credential, which the service has repeated."""
    said = b""
    while not said.endswith(b"hush-key"):
        piece = connection.recv(4096)
        if not piece:
            raise ConnectionError(f"it ended after {said!r}")
        said += piece
        if b" 200 " not in said:
            break
    return int(said.split()[1]), said


def ask(connection: socket.socket, service: Service) -> tuple[int, bytes]:
    send(connection, service)
    return receive(connection)


def fetch(url: str, content: bytes | None = None, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, content, headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def readiness(server: Server) -> tuple[int, str]:
    return fetch(f"http://127.0.0.1:{server.web}/readyz")


def until(holds: Callable[[], bool]) -> None:
    """Wait for another process: there is nothing to wait on."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; who isn't our child may wait for somebody to take note of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def events(server: Server, name: str) -> list[dict[str, object]]:
    lines = server.err.read_text().rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and f'"{name}"' in line]


@contextmanager
def connected(place: Path, service: Service) -> Iterator[Server]:
    """A server with one connection, whose master key is in its environment and nowhere else."""
    (place / "policies").mkdir()
    (place / "policies" / "service.toml").write_text(POLICY.format(port=service.server_port))
    environment = {
        "GATEWAY_ACCESS__ANONYMOUS": "true",
        "GATEWAY_EGRESS__ALLOW_NETWORKS": "127.0.0.0/8",
        "GATEWAY_LOG__FORMAT": "json",
        "GATEWAY_TIMEOUTS__SHUTDOWN": "60s",  # longer than anything is waited for here
        "GATEWAY_KEYS__SOURCE": "env:MASTER",
        "MASTER": KEY,
    }
    with serving(place, environment) as server:
        token = (place / "data" / "admin.token").read_text().strip()
        body = json.dumps({"app": "service", "id": "c", "fields": {}, "secrets": {"api_key": "hush-key"}}).encode()
        url = f"http://127.0.0.1:{server.web}/api/v1/connections"
        made = fetch(url, body, **{"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        assert made[0] == 201, made
        yield server


@contextmanager
def taken_over(server: Server, pid: int, asking: Asking) -> Iterator[int]:
    """Have a successor of a process take over; yield its process id, and see to its end."""
    before = len(events(server, "gateway.stopping"))
    os.kill(pid, signal.SIGUSR2)
    until(lambda: len(events(server, "gateway.stopping")) > before)
    successor = events(server, "gateway.stopping")[-1]["successor"]
    assert isinstance(successor, int)
    try:
        asking.until("new", more=20)
        yield successor
    finally:
        with suppress(ProcessLookupError):
            os.kill(successor, signal.SIGKILL)


def test_successors_take_over_and_nobody_notices(tmp_path: Path, service: Service) -> None:
    """One process, then two workers, then one process again; and one that can't start in between."""
    config = tmp_path / "config.toml"
    with connected(tmp_path, service) as server:
        asking = Asking(server, service)
        with asking.on():
            one_that_cannot_start_changes_nothing(server, asking, config)
            config.write_text("workers = 2\n")
            with called(server) as slow:
                send(slow, service, "/slow")
                service.asked.wait(20)
                with taken_over(server, server.process.pid, asking) as second:
                    assert server.process.poll() is None, "it waits for the slow one"
                    service.go_on.set()
                    status, head = receive(slow)
                    assert (status, b"Connection: close" in head) == (200, True)
                    assert server.process.wait(20) == 0
                    assert KEY not in Path(f"/proc/{second}/cmdline").read_text()
                    config.unlink()
                    with taken_over(server, second, asking) as third:
                        until(lambda: is_gone(second))
                        for kind in ("new", "kept", "web"):
                            asking.until(kind, more=5)
                        asking.stop()
                        it_ends_well(server, service, third)
    assert set(asking.outcomes) == {"new 200", "kept 200", "web 200"}, asking.outcomes
    assert KEY not in server.err.read_text() + server.out.read_text()


def one_that_cannot_start_changes_nothing(server: Server, asking: Asking, config: Path) -> None:
    config.write_text('[limits]\ntunnels = "many"\n')
    server.process.send_signal(signal.SIGUSR2)
    until(lambda: bool(events(server, "handover.failed")))
    (told,) = events(server, "handover.failed")
    assert told["detail"] == "The new version could not take over: it ended with status 1."
    assert "'many' is not a number" in server.err.read_text()
    config.unlink()
    asking.until("new", more=5)
    asking.until("web", more=5)


def it_ends_well(server: Server, service: Service, pid: int) -> None:
    """SIGTERM: what is under way ends, and meanwhile it says that it isn't ready."""
    service.asked.clear()
    service.go_on.clear()
    with called(server) as slow:
        send(slow, service, "/slow")
        service.asked.wait(20)
        os.kill(pid, signal.SIGTERM)
        until(lambda: readiness(server)[0] == 503)
        assert "The gateway is stopping." in readiness(server)[1]
        until(lambda: refuses(server))
        service.go_on.set()
        assert receive(slow)[0] == 200
        until(lambda: is_gone(pid))


def refuses(server: Server) -> bool:
    try:
        called(server).close()
    except ConnectionRefusedError:
        return True
    return False


async def test_a_successor_that_does_not_serve_in_time_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, pid = tmp_path / "program", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec sleep 1000\n")
    program.chmod(0o700)
    monkeypatch.setattr(handover.sys, "executable", str(program))
    monkeypatch.setattr(handover, "PATIENCE", 2.0)
    with closing(Sockets(proxy=bound(Listen("127.0.0.1", 0)), web=())) as sockets:
        with pytest.raises(StartError, match=r"could not take over: it did not serve within 2 s\."):
            await handover.hand_over(sockets)
        assert is_gone(int(pid.read_text()))
        program.unlink()
        with pytest.raises(StartError, match=r"program can't be run: No such file or directory\."):
            await handover.hand_over(sockets)
        monkeypatch.setattr(handover, "_INIT", os.getpid())
        with pytest.raises(StartError, match="first process of its container, which would end with it"):
            await handover.hand_over(sockets)


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd-socket-activate is not installed here")
def test_systemd_has_the_sockets_before_anybody_serves_and_hears_when_somebody_does(tmp_path: Path) -> None:
    """Two workers share the one socket that it gives. It is sent nothing but what sd_notify(3) has."""
    proxy, web, notify = free_port(), free_port(), tmp_path / "notify"
    given = {"GATEWAY_WORKERS": "2", "GATEWAY_LOG__FORMAT": "json", "NOTIFY_SOCKET": str(notify), **surroundings()}
    listening = [f"--listen=127.0.0.1:{port}" for port in (proxy, web)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard, (tmp_path / "err.txt").open("wb") as err:
        heard.bind(str(notify))
        heard.settimeout(20)
        process = subprocess.Popen(
            [
                *("systemd-socket-activate", *listening, "--fdname=proxy:web"),
                *(f"--setenv={name}={value}" for name, value in given.items()),
                *(sys.executable, "-m", "gateway", "serve"),
            ],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=err,
        )
        try:
            server = Server(process, proxy, web, tmp_path / "err.txt", tmp_path / "err.txt")
            until(lambda: b"Listening" in (tmp_path / "err.txt").read_bytes())
            callers = [called(server) for _ in range(8)]
            for one in callers:
                one.sendall(b"GET http://a.invalid/ HTTP/1.1\r\nHost: a.invalid\r\n\r\n")
            assert [one.recv(12) for one in callers] == [b"HTTP/1.1 407"] * 8
            assert heard.recv(100) == b"READY=1"
            assert readiness(server)[0] == 200
            process.send_signal(signal.SIGHUP)
            assert heard.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert heard.recv(100) == b"READY=1"
            assert server.stop() == 0
            assert heard.recv(100) == b"STOPPING=1"
            for one in callers:
                one.close()
        finally:
            process.kill()
            process.wait()


async def test_whoever_has_handed_over_is_not_ended_at_once_by_the_first_signal_to_end() -> None:
    """Nginx's way is to send one: what is under way ends nevertheless."""
    stop, told = asyncio.Event(), []

    def at_once() -> None:
        told.append("at once")
        raise LookupError  # before the process would be gone

    end = end_by(stop, at_once)
    stop.set()
    end()
    assert not told
    with pytest.raises(LookupError):
        end()
