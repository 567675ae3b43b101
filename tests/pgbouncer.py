"""A real PgBouncer in transaction mode, in front of a PostgreSQL that listens on a Unix socket."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.ports import free_port

PLACES = "/usr/sbin:/usr/local/sbin"  # where Debian has it, which isn't on everybody's path
CONFIG = """
[databases]
postgres = host={host} port={at} user=postgres
[pgbouncer]
pool_mode = transaction
default_pool_size = {connections}
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir = {directory}
auth_type = any
logfile = {directory}/log
server_lifetime = 3600
{more}
"""


@contextmanager
def pgbouncer(postgresql_url: str, *, connections: int = 3, more: str = "") -> Iterator[str]:
    """Start one that shares a few connections out among its clients; give the URL to use it by.

    `more` are lines of its configuration.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:{PLACES}")
    if program is None:
        pytest.skip("pgbouncer is not installed (Debian, Ubuntu: apt-get install pgbouncer)")
    query = parse_qs(urlsplit(postgresql_url).query)
    (host,), (at,) = query["host"], query.get("port", ["5432"])
    directory = Path(tempfile.mkdtemp(prefix="gw-pgb-"))  # a short path: a socket's has 107 bytes at most
    directory.chmod(0o777)
    port = free_port()  # of its socket, too
    config = directory / "pgbouncer.ini"
    config.write_text(
        CONFIG.format(more=more, connections=connections, host=host, at=at, port=port, directory=directory)
    )
    # It doesn't run as root; whoever PostgreSQL runs as may use its socket.
    user = ["-u", pwd.getpwuid(Path(host).stat().st_uid).pw_name] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [program, "-q", *user, str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await(directory / f".s.PGSQL.{port}", process)
        yield f"postgresql://postgres@/postgres?host={directory}&port={port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)
        shutil.rmtree(directory)


def _await(path: Path, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        assert process.poll() is None, "pgbouncer has ended"
        with socket.socket(socket.AF_UNIX) as one:
            try:
                one.connect(str(path))
            except OSError:
                time.sleep(0.02)  # another process: there is nothing to wait on
            else:
                return
    raise AssertionError("pgbouncer does not listen")
