"""Several processes on one proxy port: the kernel shares new connections out among them (SO_REUSEPORT).

The first process has the web listener and starts the others; each opens the same store and hears of changes by itself.
A worker that dies is started again, after a pause that doubles while it keeps dying. Settings go to a worker through
its standard input, and the master key, which is read once for a server. It stays open: when it ends, the parent is
gone, and the worker ends as well. What a worker has counted comes back through its standard output, a line at a time.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress

import structlog

from gateway.app.serving import tasks
from gateway.errors import Refusal, StartError
from gateway.metrics import Metrics
from gateway.settings import PREFIX, Listen, Settings

READY = b"ready\n"
START_SECONDS = 30.0
PAUSE_FIRST, PAUSE_MOST = 0.2, 10.0
"""Seconds before a dead worker is started again; a worker that lived longer than the longest begins anew."""
COUNTS_LONGEST = 4 * 1024 * 1024
"""Bytes of one line of counts: every series there can be, several times over."""
LEEWAY = 2.0
"""Seconds beyond the shutdown grace before a worker is killed."""

log = structlog.get_logger()


@asynccontextmanager
async def workers(settings: Settings, metrics: Metrics, master: bytes) -> AsyncIterator[Listen]:
    """Start the workers, keep their number, and stop them at the end; `metrics` hears theirs. Raises `StartError`."""
    with _reserved(settings.proxy.listen) as listen:
        given = settings.model_copy(update={"proxy": settings.proxy.model_copy(update={"listen": listen})})
        crew = [Worker(number, given, metrics, master) for number in range(settings.workers)]
        try:
            await asyncio.gather(*(worker.start() for worker in crew))
            async with tasks(*(worker.keep() for worker in crew)):
                yield listen
        finally:
            await asyncio.gather(*(worker.stop() for worker in crew))


class Worker:
    """One child process."""

    def __init__(self, number: int, settings: Settings, metrics: Metrics, master: bytes) -> None:
        self._number = number
        self._metrics = metrics
        self._settings = settings
        self._master = master
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it listens. Raises `StartError`: the worker has said why on standard error."""
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.app.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=COUNTS_LONGEST,
            env=without_settings(os.environ),
            start_new_session=True,  # Ctrl-C in the terminal is for the parent, which then stops us in order
        )
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101 - as above
        with suppress(ConnectionError):
            process.stdin.write(b"%s\n%s\n" % (self._settings.model_dump_json().encode(), self._master.hex().encode()))
            await process.stdin.drain()
        said = b""
        with suppress(TimeoutError):
            said = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        if said != READY:
            raise StartError(Refusal(code="internal", detail=f"Worker {self._number} could not start."))

    async def keep(self) -> None:
        """Start it again whenever it dies, until cancelled."""
        loop, pause = asyncio.get_running_loop(), PAUSE_FIRST
        while True:
            since = loop.time()
            status = await self._until_it_ends(self._process) if self._process else None
            self._metrics.ended(self._number)
            pause = PAUSE_FIRST if loop.time() - since > PAUSE_MOST else min(pause * 2, PAUSE_MOST)
            log.warning("worker.died", worker=self._number, status=status, again_in=pause)
            await asyncio.sleep(pause)
            with suppress(StartError):
                await self.start()

    async def _until_it_ends(self, process: asyncio.subprocess.Process) -> int:
        """Hear what it has counted; return its status once it has ended."""
        while process.stdout is not None and not process.stdout.at_eof():
            with suppress(
                ValueError, KeyError, TypeError
            ):  # a line that is longer or other than ours: the next one counts
                line = await process.stdout.readline()
                if line.endswith(b"\n"):
                    self._metrics.heard(self._number, line)
        return await process.wait()

    async def stop(self) -> None:
        """Ask it to end, and see to it that it does."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), self._settings.timeouts.shutdown + LEEWAY)
            except TimeoutError:
                process.kill()
                await process.wait()


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what is configuration: the parent has read it, and knows better by now."""
    return {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith(PREFIX)
        or name.upper().removeprefix(PREFIX).partition("__")[0].lower() not in Settings.model_fields
    }


@contextmanager
def _reserved(listen: Listen) -> Iterator[Listen]:
    """Hold the port, so that port 0 means the same one to every worker; it doesn't listen, so it is sent nothing."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((listen.host, listen.port))
        yield Listen(listen.host, holder.getsockname()[1])
