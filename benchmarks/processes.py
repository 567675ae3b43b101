"""Programs: started on a processor, waited for, ended by their handle.

Each gets a session of its own, so that Ctrl-C in the terminal reaches this program alone, which then ends the others in
order. No proxy or gateway setting of the caller's environment is handed on.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.ports import listens

CPUS = sorted(os.sched_getaffinity(0))
PROXY_CPU, LOAD_CPU = CPUS[0], CPUS[-1]
START_SECONDS = 30.0
END_SECONDS = 10.0


class Refused(Exception):
    """A contender that doesn't do what is measured; the text says what it did."""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a program."""
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("GATEWAY_")}
    return kept | dict(more or {})


def pinned(arguments: Sequence[str], cpus: Sequence[int]) -> list[str]:
    """Return the command that runs on these processors alone."""
    return ["taskset", "-c", ",".join(map(str, cpus)), *arguments]


@contextmanager
def on_load_cpu() -> Iterator[None]:
    """Work on the load's processor meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CPU})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(
    arguments: Sequence[str],
    *,
    log: Path,
    cpus: Sequence[int] = (PROXY_CPU,),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    ready: Callable[[], bool] | int,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program, wait until it is ready (or listens on that port), and end it. Raises `Refused`."""
    if isinstance(ready, int) and listens(ready):
        raise Refused(f"port {ready} is taken by something else")
    with log.open("ab") as out:
        process = subprocess.Popen(
            pinned(arguments, cpus),
            env=environment(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        _wait(process, ready, log)
        yield process
    finally:
        end(process)


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool] | int, log: Path) -> None:
    stop = time.monotonic() + START_SECONDS
    while not (listens(ready) if isinstance(ready, int) else ready()):
        if process.poll() is not None:
            said = log.read_text(errors="replace")[-600:].strip()
            raise Refused(f"it ended with status {process.returncode} before it was ready: {said}")
        if time.monotonic() > stop:
            raise Refused(f"it was not ready after {START_SECONDS:.0f} s")
        time.sleep(0.01)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, see to it that it does, and leave nothing of its group behind."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the group is ours: it was started as a session
