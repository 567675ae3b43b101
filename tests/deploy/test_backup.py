"""What docs/operations.md says of backups: made while the gateway serves, put back elsewhere, every credential opens.

The commands are the page's own, run as they stand there, with the paths and names of the test.
"""

import asyncio
import base64
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.app.serving import running
from gateway.errors import StartError
from tests.deploy.calling import OPENED, call, connected, settings_in
from tests.deploy.conftest import Service
from tests.postgres import Postgres

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def commands(heading: str, names: Mapping[str, str]) -> str:
    """Return the first shell block below a heading of the page, with other names for what it names."""
    below = PAGE.partition(f"\n### {heading}\n")[2]
    assert below, f"the page has no {heading!r}"
    script = re.search(r"```sh\n(.*?)```", below, re.DOTALL)
    assert script is not None
    text = script[1]
    for name, meant in names.items():
        assert name in text, f"{heading}: no {name}"
        text = text.replace(name, meant)
    return text


def shell(script: str, **environment: str) -> None:
    done = subprocess.run(
        ["sh", "-euc", script], env=os.environ | environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_sqlite_store_is_copied_while_it_is_written_and_opens_elsewhere(tmp_path: Path, service: Service):
    old, new, kept = tmp_path / "old", tmp_path / "new", tmp_path / "kept"
    kept.mkdir()
    names = {"/var/lib/connection-gateway": f"{old}/data", "/backup": str(kept), "python3": sys.executable}
    async with running(settings_in(old, service)) as now:
        token = await connected(now)
        assert await call(now, token, service) == OPENED
        await asyncio.to_thread(shell, commands("Backing up SQLite", names))
        await now.gateway.vault.connect("keyed", connection_id="later", secrets={"api_key": "later"}, actor="test")
    assert [file.name for file in kept.iterdir()] == ["gateway.db"]
    assert (kept / "gateway.db").stat().st_mode & 0o777 == 0o600

    names = {"/var/lib/connection-gateway": f"{new}/data", "/backup": str(kept), "/safe": f"{old}/data"}
    settings = settings_in(new, service)
    (new / "data").mkdir(mode=0o700)
    shell(commands("Putting SQLite back", names))
    service.seen.clear()
    async with running(settings) as now:
        assert await call(now, token, service) == OPENED
        assert await now.gateway.store.connections.get("later") is None


async def test_without_the_key_the_copy_is_worth_nothing_and_says_so(tmp_path: Path, service: Service):
    settings = settings_in(tmp_path, service)
    async with running(settings) as now:
        await connected(now)
    (tmp_path / "data" / "master.key").rename(tmp_path / "lost.key")
    with pytest.raises(StartError, match=r"the master key of this store is missing. Put it back from its backup."):
        async with running(settings):
            pass
    (tmp_path / "data" / "master.key").write_text(base64.b64encode(bytes(32)).decode())
    (tmp_path / "data" / "master.key").chmod(0o600)
    with pytest.raises(StartError, match="not the one"):
        async with running(settings):
            pass


async def test_a_postgresql_store_is_dumped_while_it_is_written_and_opens_elsewhere(
    tmp_path: Path, service: Service, postgresql: Postgres
):
    old, new, kept = tmp_path / "old", tmp_path / "new", tmp_path / "kept"
    kept.mkdir()
    path = f"{postgresql.programs}:{os.environ['PATH']}"
    shell(f'psql --quiet "{postgresql.url}" --command "CREATE DATABASE gateway"', PATH=path)
    names = {"postgresql://gateway@database/gateway": postgresql.database("gateway"), "/backup": str(kept)}
    async with running(settings_in(old, service, postgresql.database("gateway"))) as now:
        token = await connected(now)
        await asyncio.to_thread(shell, commands("Backing up PostgreSQL", names), PATH=path)
    (dump,) = kept.iterdir()
    assert dump.stat().st_mode & 0o777 == 0o600
    assert b"hush" not in dump.read_bytes()

    names = {
        "postgresql://gateway@database/postgres": postgresql.url,
        "postgresql://gateway@database/restored": postgresql.database("restored"),
        "/backup": str(kept),
    }
    shell(commands("Putting PostgreSQL back", names), PATH=path)
    settings = settings_in(new, service, postgresql.database("restored"))
    (new / "data").mkdir(mode=0o700)
    shell(shlex.join(["cp", "-p", f"{old}/data/master.key", f"{new}/data/master.key"]))
    async with running(settings) as now:
        assert await call(now, token, service) == OPENED


async def test_a_database_s_password_may_stand_in_a_file_of_its_own(
    tmp_path: Path, service: Service, postgresql: Postgres, monkeypatch: pytest.MonkeyPatch
):
    """A .pgpass as libpq has it, and the compose file: then no URL has the password."""
    path = f"{postgresql.programs}:{os.environ['PATH']}"
    rules = postgresql.directory / "pg_hba.conf"
    rules.write_text(f"local all locked scram-sha-256\n{rules.read_text()}")
    for statement in (
        "CREATE ROLE locked LOGIN PASSWORD 'sesame'",
        "CREATE DATABASE locked OWNER locked",
        "SELECT pg_reload_conf()",
    ):
        shell(f'psql --quiet "{postgresql.url}" --command "{statement}"', PATH=path)
    settings = settings_in(tmp_path, service, postgresql.database("locked", user="locked"))
    file = tmp_path / "pgpass"
    for password in ("wrong", "sesame"):
        file.write_text(f"*:*:*:locked:{password}\n")
        file.chmod(0o400)
        monkeypatch.setenv("PGPASSFILE", str(file))
        if password == "wrong":
            with pytest.raises(StartError, match=r"refuses the (user or the )?password"):
                async with running(settings):
                    pass
            file.chmod(0o600)
    async with running(settings) as now:
        token = await connected(now)
        assert await call(now, token, service) == OPENED
