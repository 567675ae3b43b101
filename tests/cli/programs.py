"""The command line as a program: `python -m gateway …`, and a server of it that is ended with the test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str


def surroundings() -> dict[str, str]:
    """The environment without proxies and settings of whoever runs the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_") and "proxy" not in k.lower()}
    return kept | {"PYTHONPATH": str(ROOT)}


def program(
    *arguments: str, cwd: Path, stdin: str = "", environment: Mapping[str, str] | None = None, timeout: float = 30
) -> Done:
    """Run `python -m gateway …` as a person would."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=cwd,
        env=surroundings() | dict(environment or {}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@dataclass
class Server:
    """A running `gateway serve`."""

    process: subprocess.Popen[bytes]
    proxy: int
    web: int
    out: Path
    err: Path

    def until(self, text: str, within: float = 15.0) -> str:
        """Wait until it has said this, on either stream."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            said = self.out.read_text() + self.err.read_text()
            if text in said:
                return said
            time.sleep(0.02)  # another process's output: there is nothing to wait on
        raise AssertionError(f"{text!r} is not in: {said}")

    def stop(self) -> int:
        """End it as a service manager does; return its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


@contextmanager
def serving(cwd: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve from this directory; yield once it is ready."""
    proxy, web = free_port(), free_port()
    out, err = cwd / "out.txt", cwd / "err.txt"
    given = {"GATEWAY_PROXY__LISTEN": f"127.0.0.1:{proxy}", "GATEWAY_WEB__LISTEN": f"127.0.0.1:{web}"}
    with out.open("wb") as to_out, err.open("wb") as to_err:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve"],
            cwd=cwd,
            env=surroundings() | given | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
        )
    server = Server(process, proxy, web, out, err)
    try:
        server.until("\n3. ")
        yield server
    finally:
        process.kill()
        process.wait()
