"""What a serving process asks of its system, seen from outside."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.app.master import read_master_key
from gateway.app.process import affordable
from gateway.settings import Limits, Listen, Proxy, Settings
from tests.cli.programs import ROOT, serving, surroundings

linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) and /proc are Linux's")
ONE_LIMIT = """
import resource, sys
from gateway.app.process import affordable
from gateway.settings import Limits, Settings
soft, hard, connections = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
held = affordable(Settings(limits=Limits(connections=connections))).limits.connections
print(held, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.fixture
def _cores() -> Iterator[None]:
    """Have this machine dump cores of what we start, or skip: some hand them to a program that takes none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@linux
@pytest.mark.usefixtures("_cores")
def test_no_process_of_a_server_leaves_a_core(tmp_path: Path) -> None:
    """An ordinary process does on this machine; the server doesn't, nor does one of its workers."""
    ordinary = started("-c", "import sys; print(1, flush=True); sys.stdin.read()", cwd=tmp_path)
    if not dumps(ordinary):
        pytest.skip("this machine writes no core of any process")
    with serving(tmp_path) as server:
        settings = Settings(data_dir=tmp_path / "data", proxy=Proxy(listen=Listen("127.0.0.1", 0)))
        assert not dumps(server.process)
    key = read_master_key(f"file:{tmp_path}/data/master.key")
    assert key is not None
    worker = started("-m", "gateway.app.worker", cwd=tmp_path, given=f"{settings.model_dump_json()}\n{key.hex()}")
    assert not dumps(worker)


@linux
def test_what_a_command_becomes_has_its_own_say() -> None:
    """`gateway run` hands nothing of it on: somebody may well want to debug their own program."""
    told = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    become = (
        "import os, sys; from gateway.app.process import conceal; conceal(); os.execv(sys.executable, sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", become, sys.executable, "-c", told],
        capture_output=True,
        text=True,
        check=True,
        env=surroundings(),
    )
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "held", "files"),
    [
        (100, 4096, 1000, 1000, 2256),
        (100, 1024, 1000, 384, 1024),
        (3000, 4096, 1000, 1000, 3000),
        (64, 64, 1000, 1, 64),
    ],
)
def test_connections_are_what_the_system_has_files_for(
    soft: int, hard: int, connections: int, held: int, files: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONE_LIMIT, str(soft), str(hard), str(connections)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=surroundings(),
    )
    assert done.stdout.splitlines()[-1] == f"{held} {files}"
    assert ("limits.lowered" in done.stdout + done.stderr) == (held != connections)


def test_a_limit_that_can_be_kept_stays() -> None:
    few = Settings(limits=Limits(connections=10))
    assert affordable(few) is few
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 276


def started(*arguments: str, cwd: Path, given: str = "") -> subprocess.Popen[bytes]:
    """Start Python and wait for its first line."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=surroundings(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(given.encode() + b"\n")
    process.stdin.flush()
    assert process.stdout.readline()
    return process


def dumps(process: subprocess.Popen[bytes]) -> bool:
    """Abort it; return whether the kernel wrote its memory out."""
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status)
