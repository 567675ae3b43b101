"""Several processes on one proxy port: the kernel shares new connections out among them (SO_REUSEPORT).

The first process has the web listener and starts the others; each opens the same store and hears of changes by itself.
Settings go to a worker through its standard input, and the master key, which is read once for a server. It stays open:
when it ends, the parent is gone, and the worker ends as well. What a worker has counted comes back through its standard
output, a line at a time, at least one a second: one that is silent for long hangs, and is ended.

The sockets are the parent's, each worker has its own of them by file descriptor. So a worker that dies takes with it
what it had under way and nothing else: what waits in its sockets is taken up by the next, which is started at once.
Where that one fails too there is a pause, which doubles; its sockets listen no more in the meantime, and the others get
all.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog

from gateway.app.sockets import dealt, park
from gateway.app.tasks import tasks
from gateway.errors import Refusal, StartError
from gateway.metrics import Metrics
from gateway.proxy.server import BACKLOG
from gateway.settings import PREFIX, Settings

OPENED, READY, ALIVE = b"opened\n", b"ready\n", b"\n"
"""What a worker says: that it would listen now, for which it waits to be told; that it serves; that it lives."""
LISTEN = b"listen\n"
START_SECONDS = 30.0
PAUSE_FIRST, PAUSE_MOST = 0.2, 10.0
"""Seconds before a worker is started again whose predecessor failed soon, too; one that lived longer begins anew."""
WAITING_MOST = 5.0
"""Seconds that new connections wait for a worker that is started again; then the others get them.

Not once it listens: a socket that is parked under it would be closed with all that it has accepted.
"""
SILENCE = 15.0
"""Seconds without a word, twice in a row, of a worker that hangs: not once, for the parent may have been held up."""
COUNTS_LONGEST = 4 * 1024 * 1024
"""Bytes of one line of counts: every series there can be, several times over."""

log = structlog.get_logger()


@asynccontextmanager
async def workers(
    settings: Settings, sockets: Sequence[socket.socket], metrics: Metrics, master: bytes
) -> AsyncIterator["Crew"]:
    """Start the workers, keep their number, and stop them at the end; `metrics` hears theirs. Raises `StartError`."""
    hands = dealt(sockets, settings.workers)
    crew = Crew([Worker(number, hands, settings, metrics, master) for number in range(settings.workers)])
    try:
        await crew.start()
        yield crew
    finally:
        await crew.drain()


class Crew:
    """All workers of a server."""

    def __init__(self, crew: Sequence["Worker"]) -> None:
        self._crew = crew
        self._keeping = AsyncExitStack()

    @property
    def why_not_ready(self) -> str:
        """Why the proxy's port isn't served, empty: it is."""
        return "" if any(worker.serves for worker in self._crew) else "No worker serves the proxy's port."

    async def start(self) -> None:
        """Start all, wait until they listen, and keep their number from then on. Raises `StartError`."""
        starting = [asyncio.create_task(worker.start()) for worker in self._crew]
        try:
            await asyncio.gather(*starting)
        finally:
            for one in starting:
                one.cancel()
            await asyncio.gather(*starting, return_exceptions=True)  # before `drain`, which listens to them too
        await self._keeping.enter_async_context(tasks(*(worker.keep() for worker in self._crew)))

    def signal(self, number: int) -> None:
        """Pass a signal on to those that heed it by now."""
        for worker in self._crew:
            if worker.serves:
                worker.signal(number)

    def lend(self, *, lent: bool) -> None:
        """Take note whether a successor has the sockets too."""
        for worker in self._crew:
            worker.is_lent = lent

    async def drain(self) -> None:
        """Have them end what is under way, which they do within `timeouts.shutdown`, and end."""
        await self._keeping.aclose()
        await asyncio.gather(*(worker.stop() for worker in self._crew))


class Worker:
    """One child process after the other. `hands` are the sockets of all the workers."""

    def __init__(
        self,
        number: int,
        hands: Sequence[Sequence[socket.socket]],
        settings: Settings,
        metrics: Metrics,
        master: bytes,
    ) -> None:
        self._number = number
        self._sockets = hands[number]
        others = {one for at, hand in enumerate(hands) if at != number for one in hand}
        self._own = [one for one in self._sockets if one not in others]
        self._metrics = metrics
        self._settings = settings
        self._master = master
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._parking: asyncio.TimerHandle | None = None
        self.serves = False
        self.is_lent = False
        """Whether a successor has its sockets too: what is parked here would be deaf there."""

    async def start(self) -> None:
        """Start it and wait until it listens. Raises `StartError`: the worker has said why on standard error."""
        descriptors = [one.fileno() for one in self._sockets]
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gateway.app.worker",
                *map(str, descriptors),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=COUNTS_LONGEST,
                env=without_settings(os.environ),
                pass_fds=descriptors,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent, which then stops us in order
            )
        except OSError as error:
            detail = f"Worker {self._number} could not start: {error.strerror}."
            raise StartError(Refusal(code="internal", detail=detail)) from error
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101 - as above
        with suppress(ConnectionError):
            process.stdin.write(b"%s\n%s\n" % (self._settings.model_dump_json().encode(), self._master.hex().encode()))
            await process.stdin.drain()
        serves = False
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                if await process.stdout.readline() == OPENED:
                    self._unpark()
                    process.stdin.write(LISTEN)
                    serves = await process.stdout.readline() == READY
        if not serves:
            self.signal(signal.SIGKILL)
            raise StartError(Refusal(code="internal", detail=f"Worker {self._number} could not start."))
        self.serves = True

    async def keep(self) -> None:
        """Start it again whenever it dies, until cancelled: at once, and after a pause where it dies again soon."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            since = loop.time()
            status = await self._until_it_ends()
            self.serves = False
            self._metrics.ended(self._number)
            failures = 1 if loop.time() - since > PAUSE_MOST else failures + 1
            pause = 0.0 if failures == 1 else min(PAUSE_FIRST * 2 ** (failures - 2), PAUSE_MOST)
            log.warning("worker.died", worker=self._number, status=status, again_in=pause)
            if pause:
                self._park()
                await asyncio.sleep(pause)
            self._parking = loop.call_later(WAITING_MOST, self._park)
            with suppress(StartError):
                await self.start()
                log.info("worker.serves", worker=self._number)
            self._parking.cancel()

    def _park(self) -> None:
        """Listen no more, until a worker is there that would."""
        if not self.is_lent:
            park(self._own)

    def _unpark(self) -> None:
        """Listen, if not all the while, and don't park from here on."""
        if self._parking is not None:
            self._parking.cancel()
        for one in self._own:
            one.listen(BACKLOG)

    async def _until_it_ends(self) -> int:
        """Hear what it has counted; return its status once it has ended, by itself or because it hung."""
        process = self._process
        assert process is not None  # noqa: S101 - it was started
        assert process.stdout is not None  # noqa: S101 - asked for
        silences = 0
        while silences < 2:  # noqa: PLR2004 - see SILENCE
            line = ALIVE
            try:
                async with asyncio.timeout(SILENCE):  # `wait_for` may lose a cancellation to a line (Python 3.11)
                    line = await process.stdout.readline()
                silences = 0
            except TimeoutError:
                silences += 1
            except ValueError:  # a line longer than any of ours: the next one counts
                continue
            if not line:
                break
            if line not in (ALIVE, READY):
                with suppress(ValueError, KeyError, TypeError):  # it is other than ours
                    self._metrics.heard(self._number, line)
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if silences else SILENCE):
                return await process.wait()
        log.error("worker.hung", worker=self._number, silent_for=SILENCE * 2)
        process.kill()
        return await process.wait()

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self) -> None:
        """Ask it to end, and wait for as long as it gives signs of life: it may have a rotated token to write."""
        if self._stopping or self._process is None:
            return
        self._stopping = True
        self.signal(signal.SIGTERM)
        await self._until_it_ends()


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what is configuration: the parent has read it, and knows better by now."""
    return {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith(PREFIX)
        or name.upper().removeprefix(PREFIX).partition("__")[0].lower() not in Settings.model_fields
    }
