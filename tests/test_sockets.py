"""Listening sockets: bound, dealt out to workers, parked, and taken from whoever started us."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gateway.app.sockets import HANDOVER, Handed, bound, dealt, park, place_of, sockets_for
from gateway.errors import StartError
from gateway.settings import Listen, Settings
from tests.cli.programs import ROOT, surroundings

LOOPBACK = Listen("127.0.0.1", 0)
linux = pytest.mark.skipif(sys.platform != "linux", reason="SO_REUSEPORT shares connections out on Linux alone")


@pytest.fixture
def keep() -> Iterator[ExitStack]:
    """Whatever is to be closed at the end."""
    with ExitStack() as stack:
        yield stack


def opened(keep: ExitStack, *, sharing: int = 1) -> list[socket.socket]:
    made = bound(LOOPBACK, sharing=sharing)
    for one in made:
        keep.enter_context(one)
    return made


def waiting(one: socket.socket) -> int:
    """How many connections wait in a listening socket."""
    one.setblocking(False)
    count = 0
    while True:
        try:
            one.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def call(port: int, keep: ExitStack, *, times: int) -> None:
    for _ in range(times):
        keep.enter_context(socket.create_connection(("127.0.0.1", port), 5))


@linux
def test_a_parked_socket_keeps_its_port_and_is_sent_nothing_until_it_listens_again(keep: ExitStack) -> None:
    one, other = opened(keep, sharing=2)
    port = one.getsockname()[1]
    assert other.getsockname() == one.getsockname()
    for each in (one, other):
        each.listen(100)
    park([one])
    call(port, keep, times=20)
    assert waiting(other) == 20
    one.listen(100)
    assert one.getsockname()[1] == port
    park([other])
    call(port, keep, times=5)
    assert waiting(one) == 5
    park([one])
    with pytest.raises(ConnectionRefusedError):
        call(port, keep, times=1)
    with pytest.raises(OSError, match="in use"), socket.socket() as somebody:
        somebody.bind(("127.0.0.1", port))


@linux
@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_was_parked_more_than_once_is_as_good_as_before(keep: ExitStack, times: int) -> None:
    """As by a worker that fails several times before it serves."""
    (one,) = opened(keep)
    one.listen()
    for _ in range(times):
        park([one])
    one.listen()
    caller = keep.enter_context(socket.create_connection(one.getsockname(), 5))
    taken = keep.enter_context(one.accept()[0])
    caller.sendall(b"a request")
    assert taken.recv(100) == b"a request"
    taken.sendall(b"an answer")
    assert caller.recv(100) == b"an answer"


def test_each_worker_has_sockets_of_its_own_and_shares_where_there_are_too_few(keep: ExitStack) -> None:
    four, single = opened(keep, sharing=4), opened(keep)
    assert dealt(four, 4) == [[one] for one in four]
    assert dealt(four, 2) == [[four[0], four[2]], [four[1], four[3]]], "none may be left without anybody who accepts"
    assert dealt(single, 3) == [single, single, single]
    assert dealt([*four[:2], *single], 2) == [[four[0], single[0]], [four[1], single[0]]], "of each address one"


def test_more_workers_than_sockets_get_more_sockets_where_they_may_be_shared(keep: ExitStack) -> None:
    two, single = opened(keep, sharing=2), opened(keep)
    for handed, count in ((two, 3), (single, 1)):
        with sockets_for(Settings(workers=3, web={"listen": "127.0.0.1:0"}), Handed({"proxy": handed})) as sockets:
            assert sockets.proxy[: len(handed)] == tuple(handed)
            assert [one.getsockname() for one in sockets.proxy] == [handed[0].getsockname()] * count


def test_an_address_that_was_handed_over_is_told_where_the_settings_have_another(
    keep: ExitStack, capsys: pytest.CaptureFixture[str]
) -> None:
    (one,) = opened(keep)
    host, port = one.getsockname()
    assert place_of([one], Listen("localhost", 0)) == Listen("localhost", port)
    assert place_of([one], Listen("0.0.0.0", 0)) == Listen(host, port)
    for listen, told in (("127.0.0.1:1", True), (f"127.0.0.1:{port}", False)):
        settings = Settings(proxy={"listen": listen}, web={"listen": "127.0.0.1:0"})
        with sockets_for(settings, Handed({"proxy": [one.dup()]})):
            said = capsys.readouterr().out
        assert ("listen.handed_over" in said) == told
        assert (f"127.0.0.1:{port}" in said) == told


SYSTEMD = """
import os, sys
for at, number in enumerate(sys.argv[1:]):
    os.dup2(int(number), 3 + at, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sys.argv) - 1), LISTEN_FDNAMES="web:proxy")
from gateway.app.sockets import Handed
handed = Handed.taken_from(os.environ)
left = [name for name in os.environ if name.startswith("LISTEN_")]
found = {name: [(one.fileno(), one.get_inheritable()) for one in those] for name, those in handed.sockets.items()}
print(found, left, handed.ready, flush=True)
os._exit(0)
"""


def test_sockets_of_systemd_are_taken_by_their_names_and_nobody_inherits_them(keep: ExitStack) -> None:
    """As sd_listen_fds(3) has it."""
    numbers = [one.fileno() for one in opened(keep, sharing=2)]
    done = subprocess.run(
        [sys.executable, "-c", SYSTEMD, *map(str, numbers)],
        pass_fds=numbers,
        env=surroundings(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "{'web': [(3, False)], 'proxy': [(4, False)]} [] None\n", done.stderr
    assert Handed.taken_from({"LISTEN_PID": "1", "LISTEN_FDS": "2"}).sockets == {}, "they are for another process"


def refusal_of(name: str, one: socket.socket) -> str:
    with one.dup() as copy, pytest.raises(StartError) as raised:
        Handed.taken_from({HANDOVER: f"{name}={copy.detach() if name == 'proxy' else copy.fileno()}"})
    return str(raised.value)


def test_what_cannot_be_listened_on_is_refused_by_its_name(keep: ExitStack, tmp_path: Path) -> None:
    hint = " In its .socket unit, write ListenStream= with an address and a port, and Accept=no."
    local = keep.enter_context(socket.socket(socket.AF_UNIX))
    local.bind(str(tmp_path / "local"))
    datagrams = keep.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    (listening,) = opened(keep)
    listening.listen()
    connection = keep.enter_context(socket.create_connection(listening.getsockname()))
    for one, what in ((local, "is none of TCP"), (datagrams, "is none of TCP"), (connection, "is a connection")):
        assert refusal_of("proxy", one) == f"The socket 'proxy' that was handed over {what}.{hint}"
    assert refusal_of("gateway.socket", listening) == (
        "A socket by the name 'gateway.socket' was handed over, and there is no such listener. "
        "In its .socket unit, write FileDescriptorName=proxy, or web."
    )


def test_an_environment_that_names_what_is_not_there_is_one_clear_line() -> None:
    for number in os.pipe():
        os.close(number)
    for name in ("proxy", "ready"):
        with pytest.raises(StartError, match=f"'{name}' that was to be handed over is none: Bad file descriptor"):
            Handed.taken_from({HANDOVER: f"{name}={number}"})
    for said in ("proxy", "proxy=many"):
        with pytest.raises(StartError, match=f"{HANDOVER} says which sockets are handed over, and can't be read"):
            Handed.taken_from({HANDOVER: said})


def test_a_predecessor_that_is_gone_keeps_nobody_from_serving() -> None:
    """It was killed while its successor started: the sockets are there all the same."""
    reading, writing = os.pipe()
    os.close(reading)
    handed = Handed(ready=writing)
    handed.tell_ready()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writing)


def test_a_predecessor_hears_once_that_its_successor_serves(keep: ExitStack) -> None:
    (one,) = opened(keep)
    reading, writing = os.pipe()
    environ = {HANDOVER: f"ready={writing} proxy={one.fileno()} web={one.fileno()}", "LISTEN_FDS": "9"}
    handed = Handed.taken_from(environ)
    assert environ == {}
    handed.tell_ready()
    handed.tell_ready()
    with closing(os.fdopen(reading, "rb")) as pipe:
        assert pipe.read() == b"ready\n"
    for those in handed.sockets.values():
        those[0].detach()


def test_an_address_that_is_none_is_one_clear_line() -> None:
    with pytest.raises(StartError, match=r"^192\.0\.2\.1:0 can't be listened on: "):
        bound(Listen("192.0.2.1", 0))
