"""How PostgreSQL is reached: the URL as libpq reads it, passwords from where they are kept, TLS where asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from sqlalchemy import text

from gateway.errors import StartError
from gateway.store import Store
from tests.pgbouncer import pgbouncer
from tests.ports import free_port
from tests.postgres import Postgres

PASSWORD = "s3cret/p@ss"
QUOTED = "s3cret%2Fp%40ss"
RULES = """
host all locked 127.0.0.1/32 scram-sha-256
host all shut   127.0.0.1/32 reject
host all all    127.0.0.1/32 trust
"""


async def refused(url: str) -> str:
    """Open the store, which must be refused in one line without the password; return it."""
    with pytest.raises(StartError) as caught:
        await Store.open(url, migrate=True)
    said = str(caught.value)
    assert "\n" not in said
    assert not any(part in said for part in (PASSWORD, QUOTED, "s3cret", "p@ss"))
    assert caught.value.refusal.hint
    return said


@pytest.fixture(scope="module")
def port(postgresql: Postgres) -> Iterator[int]:
    """The port of a server on TCP that lets `locked` in by password alone."""
    rules = postgresql.directory / "pg_hba.conf"
    before, port = rules.read_text(), free_port()
    rules.write_text(RULES + before)
    postgresql.stop()
    postgresql.start("-h 127.0.0.1", f"-p {port}")
    yield port
    rules.write_text(before)
    postgresql.stop()
    postgresql.start()


@pytest.fixture(autouse=True)
async def _user(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPASSWORD", "PGPASSFILE", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    async with await Store.open(url, migrate=True) as store, store.database.write() as connection:
        await connection.exec_driver_sql("DROP ROLE IF EXISTS locked")
        await connection.exec_driver_sql(f"CREATE ROLE locked LOGIN SUPERUSER PASSWORD '{PASSWORD}'")


async def test_several_hosts_are_tried_and_the_servers_own_settings_are_taken(port: int):
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{port}"
    for query, name in (("", "gateway"), ("?application_name=here&target_session_attrs=read-write", "here")):
        url = f"postgresql://locked:{QUOTED}@{hosts}/postgres{query}"
        async with await Store.open(url, migrate=False) as store, store.database.read() as connection:
            assert (await connection.execute(text("SHOW application_name"))).scalar_one() == name


async def test_a_password_is_taken_from_where_libpq_takes_it(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    url = f"postgresql://locked@127.0.0.1:{port}/postgres"
    assert "password" in await refused(url)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    await (await Store.open(url, migrate=False)).close()
    monkeypatch.delenv("PGPASSWORD")
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:{port}:postgres:locked:{PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    await (await Store.open(url, migrate=False)).close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("locked:s3cret@127.0.0.1:{port}/postgres", "refuses the password"),
        ("shut:s3cret@127.0.0.1:{port}/postgres", "or only by TLS (sslmode=require in the URL)"),
        ("locked:{quoted}@127.0.0.1:{port}/missing", "does not exist"),
        ("locked:{password}@127.0.0.1:{port}/postgres", "Write / as %2F, @ as %40"),
        ("locked:{quoted}@127.0.0.1:{port}/postgres?sslmode=sometimes", "names and values behind the `?`"),
        ("locked:{quoted}@127.0.0.1:{port}/postgres?sslmode=verify-full", "verify-full needs sslrootcert"),
        ("locked:{quoted}@127.0.0.1:{port}/postgres?sslmod=require", "doesn't know a parameter of its URL"),
        ("locked:{quoted}@127.0.0.1:{port}/postgres?sslmode=require", "can't be reached over TLS, which sslmode"),
        ("locked:{quoted}@127.0.0.1:{free}/postgres", "can't be reached"),
    ],
)
async def test_whatever_is_wrong_is_one_line_that_says_what_to_do(port: int, url: str, said: str):
    given = url.format(port=port, quoted=QUOTED, password=PASSWORD, free=free_port())
    assert said in await refused(f"postgresql://{given}")


async def test_tls_is_asked_for_and_certificates_are_checked_as_the_url_says(
    postgresql: Postgres, port: int, tmp_path: Path
):
    """By PgBouncer's TLS: the PostgreSQL of the tests has none."""
    mine, other = trustme.CA(), trustme.CA()
    mine.cert_pem.write_to_path(str(tmp_path / "mine.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    certificate = mine.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes()
    place = postgresql.directory / "server.pem"  # where whoever it runs as can read it
    place.write_bytes(certificate)
    place.chmod(0o644)
    more = f"client_tls_sslmode = require\nclient_tls_cert_file = {place}\nclient_tls_key_file = {place}"
    with pgbouncer(f"{postgresql.url}&port={port}", more=more) as bounced:
        base = f"postgresql://postgres:s3cret@127.0.0.1:{bounced.rpartition('=')[2]}/postgres?sslmode="
        for query in ("prefer", "require", f"verify-full&sslrootcert={tmp_path}/mine.pem"):
            await (await Store.open(base + query, migrate=False)).close()
        assert "its certificate doesn't pass" in await refused(f"{base}verify-full&sslrootcert={tmp_path}/other.pem")
        assert "it may want TLS: sslmode=require" in await refused(f"{base}disable")
