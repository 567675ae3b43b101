"""Workers that die, cannot start, hang, or take long to end: what their callers see of it."""

import asyncio
import os
import select
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from gateway.app import workers as module
from gateway.app.sockets import bound
from gateway.app.workers import Worker, workers
from gateway.errors import StartError
from gateway.metrics import Metrics
from gateway.settings import Listen, Settings
from tests.cli.programs import Server, serving

REQUEST = b"GET http://a.invalid/ HTTP/1.1\r\nHost: a.invalid\r\n\r\n"
REFUSED = b"HTTP/1.1 407"


def children(server: Server) -> list[int]:
    pid = server.process.pid
    return sorted(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def asking(server: Server, stack: ExitStack, *, times: int) -> list[socket.socket]:
    """Connections with a request in each."""
    made = [stack.enter_context(socket.create_connection(("127.0.0.1", server.proxy), 20)) for _ in range(times)]
    for one in made:
        one.sendall(REQUEST)
    return made


def readiness(server: Server) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{server.web}/readyz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(holds: Callable[[], bool]) -> None:
    """Wait for another process: there is nothing to wait on."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def count(server: Server, event: str) -> int:
    return server.err.read_text().count(event)


def test_workers_die_and_their_callers_do_not_notice(tmp_path: Path) -> None:
    """One server goes through it all: each start of a worker is a second's work."""
    trusted = tmp_path / "trusted.pem"
    trusted.write_text(trustme.CA().cert_pem.bytes().decode())
    longest = {"GATEWAY_TIMEOUTS__SHUTDOWN": "2m", "GATEWAY_TIMEOUTS__REQUEST_HEADER": "2m"}
    with serving(tmp_path, {"GATEWAY_WORKERS": "2", "SSL_CERT_FILE": str(trusted)} | longest) as server:
        who_waits_for_a_worker_that_is_killed_is_answered_by_the_next(server)
        all_processes_read_again_what_they_trust_and_say_what_they_cannot_read(server, trusted)
        where_a_worker_cannot_start_the_others_get_all_and_where_none_can_nobody_waits(server, tmp_path / "data")
        who_is_told_once_by_everybody_drains_and_who_is_told_twice_ends_at_once(server)
        assert "Traceback" not in server.err.read_text()


def who_waits_for_a_worker_that_is_killed_is_answered_by_the_next(server: Server) -> None:
    """It is stopped first, so that what the kernel gives it waits, as it would at a worker that is busy."""
    first, second = children(server)
    os.kill(first, signal.SIGSTOP)
    with ExitStack() as stack:
        callers = asking(server, stack, times=24)
        time.sleep(0.3)  # the other has answered its share by then; were it none, the next line would say so
        answered = select.select(callers, (), (), 0)[0]
        assert 0 < len(answered) < len(callers), "some of them are with the one that is stopped"
        os.kill(first, signal.SIGKILL)
        assert [one.recv(12) for one in callers] == [REFUSED] * 24
    until(lambda: count(server, "worker.serves") == 1)
    assert second in children(server)


def all_processes_read_again_what_they_trust_and_say_what_they_cannot_read(server: Server, trusted: Path) -> None:
    server.process.send_signal(signal.SIGHUP)
    until(lambda: count(server, "trust.reload ") == 3)
    trusted.write_text("a letter to my aunt")
    server.process.send_signal(signal.SIGHUP)
    until(lambda: count(server, "trust.not_reloaded") == 3)
    assert "trusted.pem" in server.err.read_text()
    assert "NO_CERTIFICATE_OR_CRL_FOUND" in server.err.read_text()


def where_a_worker_cannot_start_the_others_get_all_and_where_none_can_nobody_waits(server: Server, data: Path) -> None:
    (data / "gateway.db").rename(data / "away.db")  # who has it open goes on
    first, second = children(server)
    died = count(server, "worker.died")
    os.kill(first, signal.SIGKILL)
    until(lambda: count(server, "worker.died") >= died + 2)
    with ExitStack() as stack:
        assert [one.recv(12) for one in asking(server, stack, times=16)] == [REFUSED] * 16
    assert readiness(server)[0] == 200
    os.kill(second, signal.SIGKILL)
    until(lambda: readiness(server)[0] == 503)
    assert "No worker serves the proxy's port." in readiness(server)[1]
    until(lambda: not connects(server))
    (data / "away.db").rename(data / "gateway.db")
    until(lambda: count(server, "worker.serves") == 3)
    with ExitStack() as stack:
        answers = [one.recv(12) for one in asking(server, stack, times=8)]
        assert answers == [REFUSED] * 8, server.err.read_text()


def who_is_told_once_by_everybody_drains_and_who_is_told_twice_ends_at_once(server: Server) -> None:
    """A service manager may tell all processes, beside the first one that tells the others."""
    crew = children(server)
    with ExitStack() as stack:
        callers = [stack.enter_context(socket.create_connection(("127.0.0.1", server.proxy), 20)) for _ in range(16)]
        for one in callers:
            one.sendall(REQUEST[:-2])  # something is under way
        for pid in crew:
            os.kill(pid, signal.SIGUSR2)  # which is for the first process alone
        for pid in (*crew, server.process.pid):
            os.kill(pid, signal.SIGTERM)
        until(lambda: readiness(server)[0] == 503)
        until(lambda: not connects(server))
        assert not select.select(callers, (), (), 0.1)[0]
        assert children(server) == crew
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 1
        until(lambda: not [pid for pid in crew if Path(f"/proc/{pid}").exists()])


def connects(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.proxy), 10).close()
    except ConnectionRefusedError:
        return False
    return True


# One worker, played by a shell.

SAYS_READY = "says_ready() { echo opened; read listen; echo ready; }"


def worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, hands: list[list[socket.socket]] | None = None
) -> Worker:
    program = tmp_path / "worker"
    program.write_text(f"#!/bin/sh\nread settings; read key\n{SAYS_READY}\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr(module.sys, "executable", str(program))
    return Worker(0, hands or [[]], Settings(timeouts={"shutdown": "10ms"}), Metrics(), bytes(32))


async def test_a_worker_that_says_nothing_any_more_is_killed_and_another_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.1)
    again = tmp_path / "again"
    script = f"says_ready\n[ -e {again} ] || {{ touch {again}; exec sleep 1000; }}\nwhile :; do echo; sleep 0.02; done"
    one = worker(tmp_path, monkeypatch, script)
    await one.start()
    keeping = asyncio.create_task(one.keep())
    first = one._process
    async with asyncio.timeout(10):
        while one._process is first or not one.serves:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await one.stop()
    assert "worker.hung" in capfd.readouterr().out


async def test_who_would_wait_long_for_a_worker_is_not_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is not listened on while its start takes long, and is when it serves."""
    monkeypatch.setattr(module, "WAITING_MOST", 0.1)
    again, go_on = tmp_path / "again", tmp_path / "go on"
    first = f"[ -e '{again}' ] || {{ touch '{again}'; says_ready; exit; }}"
    second = f"until [ -e '{go_on}' ]; do sleep 0.02; done; says_ready; while :; do echo; sleep 0.02; done"
    ours, other = bound(Listen("127.0.0.1", 0), sharing=2)
    ours.listen()

    def answers() -> bool:
        try:
            socket.create_connection(ours.getsockname(), 5).close()
        except ConnectionRefusedError:
            return False
        return True

    one = worker(tmp_path, monkeypatch, f"{first}\n{second}", [[ours], [other]])
    with ours, other:
        await one.start()
        keeping = asyncio.create_task(one.keep())
        assert answers()
        async with asyncio.timeout(10):
            while answers():  # noqa: ASYNC110 - the kernel has no event for that
                await asyncio.sleep(0.01)
            go_on.touch()
            while not answers():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await one.stop()


async def test_a_socket_is_not_taken_away_from_a_worker_that_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long its start took: it would close with the socket whatever it has accepted, and be deaf."""
    monkeypatch.setattr(module, "WAITING_MOST", 0.2)
    again, listens, go_on = tmp_path / "again", tmp_path / "listens", tmp_path / "go on"
    first = f"[ -e '{again}' ] || {{ touch '{again}'; says_ready; exit; }}"
    second = f"echo opened; read listen; touch '{listens}'; until [ -e '{go_on}' ]; do sleep 0.02; done; echo ready"
    ours, other = bound(Listen("127.0.0.1", 0), sharing=2)
    one = worker(tmp_path, monkeypatch, f"{first}\n{second}\nexec sleep 1000", [[ours], [other]])
    with ours, other:
        await one.start()
        keeping = asyncio.create_task(one.keep())
        async with asyncio.timeout(10):
            while not listens.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.01)
        with socket.create_connection(ours.getsockname(), 5) as waiting:
            await asyncio.sleep(0.5)  # by when it would have been reset
            assert not select.select([waiting], (), (), 0)[0]
            go_on.touch()
            async with asyncio.timeout(10):
                while not one.serves:  # noqa: ASYNC110 - it has no event for that
                    await asyncio.sleep(0.01)
            assert not select.select([waiting], (), (), 0)[0]
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        one.signal(signal.SIGKILL)
        await one.stop()


async def test_a_worker_that_ends_slowly_is_waited_for_while_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have a rotated token in its hands, which nobody else has; one that hangs is killed."""
    done = tmp_path / "done"
    ending = f"for i in 1 2 3 4 5 6 7 8 9; do echo; sleep 0.25; done; touch {done}; exit 0"
    alive = "while :; do echo; sleep 0.02; done"
    for script, silence, written in (
        (f"trap '{ending}' TERM; says_ready; {alive}", 1.0, True),
        ("trap '' TERM; says_ready; exec sleep 1000", 0.1, False),
    ):
        monkeypatch.setattr(module, "SILENCE", silence)
        one = worker(tmp_path, monkeypatch, script)
        await one.start()
        await one.stop()
        assert done.exists() == written
        done.unlink(missing_ok=True)


async def test_a_worker_that_does_not_begin_to_serve_is_an_error_and_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0.05)
    one = worker(tmp_path, monkeypatch, "exec sleep 1000")
    with pytest.raises(StartError, match="Worker 0 could not start"):
        await one.start()
    await one.stop()
    assert not one.serves


async def test_where_one_cannot_start_the_others_are_ended_and_that_is_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker(tmp_path, monkeypatch, f"mkdir '{tmp_path}/first' && exit 1; exec sleep 1000")
    with pytest.raises(StartError, match=r"^Worker \d could not start"):
        async with workers(Settings(workers=2), [], Metrics(), bytes(32)):
            """Never."""


async def test_sockets_that_a_successor_has_too_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be to get the better of workers that die: what they no longer listen on, nobody would."""
    script = f"mkdir '{tmp_path}/first' && says_ready; exit"
    ours, other = bound(Listen("127.0.0.1", 0), sharing=2)
    one = worker(tmp_path, monkeypatch, script, [[ours], [other]])
    with ours, other:
        ours.listen()
        one.is_lent = True
        await one.start()
        keeping = asyncio.create_task(one.keep())
        async with asyncio.timeout(10):
            while one._metrics.workers_died < 2:  # noqa: ASYNC110 - it has no event for that
                await asyncio.sleep(0.01)
        socket.create_connection(ours.getsockname(), 5).close()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await one.stop()
