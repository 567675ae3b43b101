"""The composition root: what a start makes, what it refuses and leaves untouched, and how a server ends."""

import asyncio
import base64
import hashlib
import json
import os
import signal
import socket
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app import open_gateway
from gateway.app.chores import hear_of_changes, row_of
from gateway.app.master import create_master_file, read_master_key
from gateway.app.sockets import require_free
from gateway.app.workers import without_settings
from gateway.errors import StartError
from gateway.proxy.access_log import Entry
from gateway.settings import Keys, Listen, Settings, Store
from tests.cli.programs import program, serving

KEY = bytes(range(32))


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("GATEWAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    for path in tmp_path.rglob("*"):
        path.chmod(0o700)


def contents(place: Path) -> dict[str, str]:
    """Every file with a digest of what is in it, SQLite's shared memory left out."""
    files = (path for path in place.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# The master key.


def test_a_key_file_is_made_for_its_owner_alone_and_read_back(tmp_path: Path) -> None:
    source = f"file:{tmp_path}/new/master.key"
    assert read_master_key(source) is None
    made = create_master_file(source)
    assert len(made) == 32
    assert read_master_key(source) == made
    assert (tmp_path / "new" / "master.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["master.key"]


def test_a_key_that_another_process_made_first_is_the_one(tmp_path: Path) -> None:
    source = f"file:{tmp_path}/master.key"
    first = create_master_file(source)
    assert create_master_file(source) == first


@pytest.mark.parametrize("text", [KEY.hex(), base64.b64encode(KEY).decode(), f" {KEY.hex()}\n"])
def test_a_key_in_the_environment_is_hex_or_base64(text: str) -> None:
    assert read_master_key("env:MASTER", {"MASTER": text}) == KEY


@pytest.mark.parametrize("text", ["", "short", KEY.hex()[:-2], base64.b64encode(KEY + b"x").decode(), "ÿ" * 44])
def test_a_key_that_is_none_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(StartError, match=r"^MASTER: ") as raised:
        read_master_key("env:MASTER", {"MASTER": text})
    assert not text or text not in str(raised.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_key_file_that_others_can_read_is_refused_with_the_command(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    create_master_file(f"file:{path}")
    path.chmod(mode)
    with pytest.raises(StartError, match=rf"other users can read or change the master key\. Run: chmod 600 {path}"):
        read_master_key(f"file:{path}")


# Opening.


async def test_a_first_start_makes_the_store_and_the_key_and_the_next_finds_them() -> None:
    settings = Settings()
    async with open_gateway(settings) as gateway:
        first = (gateway.gateway_id, (await gateway.authority()).certificate_pem)
    async with open_gateway(settings, create=False) as gateway:
        assert (gateway.gateway_id, (await gateway.authority()).certificate_pem) == first


async def start_fault(settings: Settings) -> str:
    with pytest.raises(StartError) as raised:
        async with open_gateway(settings):
            pass
    return str(raised.value)


async def test_the_wrong_key_is_one_clear_line_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_gateway(Settings()):
        pass
    before = contents(tmp_path)
    monkeypatch.setenv("OTHER", KEY.hex())
    fault = await start_fault(Settings(keys=Keys(source="env:OTHER")))
    assert "not the one this store was made with" in fault
    assert "\n" not in fault
    assert contents(tmp_path) == before


async def test_policies_that_cannot_be_looked_into_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "policies").write_text("no directory")
    assert await start_fault(Settings()) == (
        "policies_dir: policies can't be looked into: Not a directory. "
        "Let the user the gateway runs as read it, or name another directory."
    )


async def test_a_missing_key_is_not_made_anew_where_the_store_has_one(tmp_path: Path) -> None:
    async with open_gateway(Settings()):
        pass
    (tmp_path / "data" / "master.key").unlink()
    before = contents(tmp_path)
    fault = await start_fault(Settings())
    assert fault == "data/master.key: the master key of this store is missing. Put it back from its backup."
    assert contents(tmp_path) == before


async def test_a_newer_schema_is_one_clear_line_and_changes_nothing(tmp_path: Path) -> None:
    async with open_gateway(Settings()):
        pass
    with closing(sqlite3.connect("data/gateway.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = contents(tmp_path)
    assert "newer than this gateway's" in await start_fault(Settings())
    assert contents(tmp_path) == before


async def test_a_store_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gateway.db").write_text("a letter to my aunt")
    before = contents(tmp_path)
    assert "data/gateway.db" in await start_fault(Settings(store=Store(url="sqlite:///data/gateway.db")))
    assert contents(tmp_path) == before


def test_a_port_in_use_is_named_with_its_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(StartError) as raised:
            require_free({"web.listen": Listen("127.0.0.1", port)})
    expected = f"web.listen: 127.0.0.1:{port} can't be listened on: Address already in use."
    assert str(raised.value) == f"{expected} Stop what listens there, or change web.listen."


def test_two_listeners_can_not_have_one_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    with pytest.raises(StartError, match=r"^web\.listen: "):
        require_free({"proxy.listen": Listen("127.0.0.1", port), "web.listen": Listen("127.0.0.1", port)})


def test_a_worker_is_not_given_the_settings_twice() -> None:
    given = {"GATEWAY_PROXY__LISTEN": "x", "gateway_workers": "2", "GATEWAY_MASTER_KEY": "k", "PATH": "p"}
    assert without_settings(given) == {"GATEWAY_MASTER_KEY": "k", "PATH": "p"}


def test_a_logged_request_is_stored_without_what_it_never_had() -> None:
    entry = Entry(
        at=1.0,
        request_id="r",
        entrance="absolute",
        client="",
        connection="c",
        app="a",
        method="GET",
        origin="http://x.test",
        path="/p",
        status=403,
        code="target_not_allowed",
        seconds=0.5,
        sent=1,
        received=2,
        refreshed=True,
    )
    row = row_of(entry)
    assert (row.url, row.client, row.connection, row.code) == ("http://x.test/p", None, "c", "target_not_allowed")
    assert (row.app, row.refreshed) == ("a", True)
    assert row_of(replace(entry, app="")).app is None


# Serving.


def ask(port: int, path: str) -> int:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}{path}") as answer:
        return int(answer.status)


def test_serving_an_empty_directory_says_what_to_do_next_and_ends_in_order(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        said = server.until("3. ").splitlines()
        assert f"Proxy  http://127.0.0.1:{server.proxy}" in said[0]
        assert "data/admin.token" in said[1]
        assert [line[:3] for line in said[3:6]] == ["1. ", "2. ", "3. "]
        assert "policies/<app>.toml" in said[3]
        assert ask(server.web, "/readyz") == 200
        assert server.stop() == 0
    assert "Traceback" not in server.err.read_text()


def test_a_server_hears_of_policies_by_a_signal_and_of_clients_by_itself(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        token = program("clients", "create", "late", "--connection", "x", cwd=tmp_path).out.strip()
        assert _status_of(server.proxy, token, until=403) == 403
        assert program("clients", "revoke", "late", cwd=tmp_path).status == 0
        assert _status_of(server.proxy, token, until=407) == 407
        server.process.send_signal(signal.SIGHUP)
        server.until("policies.reload")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(15) == 0
    with closing(sqlite3.connect(tmp_path / "data" / "gateway.db")) as database:
        stored = {row[0] for row in database.execute("SELECT status FROM requests")}
    assert {403, 407} <= stored


@pytest.mark.parametrize(("name", "mode"), [("master.key", 0o640), ("admin.token", 0o602)])
def test_a_start_with_a_key_or_token_that_others_can_touch_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    anywhere = {"GATEWAY_PROXY__LISTEN": "127.0.0.1:0", "GATEWAY_WEB__LISTEN": "127.0.0.1:0"}
    (tmp_path / "data").mkdir(mode=0o700)
    file = tmp_path / "data" / name
    file.write_text(KEY.hex())
    file.chmod(mode)
    done = program("serve", cwd=tmp_path, environment=anywhere)
    what = {"master.key": "the master key", "admin.token": "the admin token"}[name]
    expected = f"error: data/{name}: other users can read or change {what}. Run: chmod 600 data/{name}\n"
    assert (done.status, done.err.splitlines()[-1] + "\n") == (1, expected)
    assert KEY.hex() not in done.err


def test_workers_are_counted_together_and_share_one_key_that_was_asked_for_once(tmp_path: Path) -> None:
    """A key management service is asked once, whatever the number of workers, and when one is started anew."""
    command = tmp_path / "key-command"
    command.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\necho {KEY.hex()}\n")
    command.chmod(0o700)
    with serving(tmp_path, {"GATEWAY_WORKERS": "2", "GATEWAY_KEYS__SOURCE": f"command:{command}"}) as server:
        crew = _children(server.process.pid)
        for _ in range(20):  # each on a connection of its own: the kernel shares them out
            assert _status_of(server.proxy, "none", until=407) == 407
        assert _counted(server.web, until=20) == 20
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes() for pid in crew]
        for pid in crew:
            os.kill(pid, signal.SIGKILL)
        server.until("worker.died")
        assert _status_of(server.proxy, "none", until=407) == 407
        assert _counted(server.web, until=21) == 21, "what dead ones have counted stays"
        assert server.stop() == 0
    assert (tmp_path / "asked").read_text() == "asked\n"
    assert not [line for line in lines if KEY.hex().encode() in line]
    assert KEY.hex() not in server.out.read_text() + server.err.read_text()


def _counted(port: int, *, until: int) -> int:
    """The refused requests in /metrics, asked for until there are as many as expected, or ten seconds are over."""
    end, count = time.monotonic() + 10, -1
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while count != until and time.monotonic() < end:
        with opener.open(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        wanted = 'gateway_requests_total{code="proxy_authentication_required"'
        count = sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(wanted))
    return count


def test_workers_do_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path, {"GATEWAY_WORKERS": "2"}) as server:
        crew = _children(server.process.pid)
        server.process.kill()
        server.process.wait()
        end = time.monotonic() + 15
        while any(Path(f"/proc/{pid}").exists() for pid in crew) and time.monotonic() < end:
            time.sleep(0.05)
    assert not [pid for pid in crew if Path(f"/proc/{pid}").exists()]


def test_a_second_server_on_the_same_ports_is_refused_before_it_makes_anything(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with serving(tmp_path / "one") as server:
        taken = {"GATEWAY_PROXY__LISTEN": f"127.0.0.1:{server.proxy}", "GATEWAY_WEB__LISTEN": "127.0.0.1:0"}
        done = program("serve", cwd=tmp_path / "two", environment=taken)
    assert done.status == 1
    assert done.err == (
        f"error: proxy.listen: 127.0.0.1:{server.proxy} can't be listened on: Address already in use. "
        "Stop what listens there, or change proxy.listen.\n"
    )
    assert list((tmp_path / "two").iterdir()) == []


@pytest.mark.parametrize("secret", [{}, {"GATEWAY_WEBHOOK__SECRET": "env:NOT_SET"}], ids=["none", "not set"])
def test_a_webhook_without_its_secret_is_one_line_and_nothing_is_made(tmp_path: Path, secret: dict[str, str]) -> None:
    place = {"GATEWAY_PROXY__LISTEN": "127.0.0.1:0", "GATEWAY_WEB__LISTEN": "127.0.0.1:0"}
    done = program("serve", cwd=tmp_path, environment=place | {"GATEWAY_WEBHOOK__URL": "https://hooks.test/"} | secret)
    assert done.status == 1
    assert done.err.startswith("error: webhook.secret: ")
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sorted(int(child) for child in found)


def _status_of(port: int, token: str, *, until: int) -> int:
    """Ask for what no policy allows until the answer is the one that is expected, or ten seconds are over."""
    tag = base64.b64encode(f"x:{token}".encode()).decode()
    head = f"GET http://a.invalid/ HTTP/1.1\r\nHost: a.invalid\r\nProxy-Authorization: Basic {tag}\r\n\r\n".encode()
    end, status = time.monotonic() + 10, 0
    while status != until and time.monotonic() < end:
        with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(head)
            status = int(connection.recv(64).split()[1])
    return status


def test_the_json_log_is_json_from_the_first_line_on(tmp_path: Path) -> None:
    with serving(tmp_path, {"GATEWAY_LOG__FORMAT": "json"}) as server:
        assert server.stop() == 0
    lines = [json.loads(line) for line in server.err.read_text().splitlines()]
    assert "gateway.ready" in {line["event"] for line in lines}


async def test_a_change_that_cannot_be_taken_up_keeps_none_of_the_later_ones_from_being_heard(tmp_path: Path) -> None:
    """Else a process would go on admitting whoever was revoked after it."""
    settings = Settings(data_dir=tmp_path / "data", policies_dir=tmp_path / "policies")
    async with open_gateway(settings) as gateway:
        reload, heard = gateway.access.reload, asyncio.Event()

        async def broken() -> None:
            gateway.access.reload = again  # type: ignore[method-assign]
            raise LookupError("nothing that anybody thought of")

        async def again() -> None:
            await reload()
            heard.set()

        gateway.access.reload = broken  # type: ignore[method-assign]
        after = await gateway.store.changes.latest()
        hearing = asyncio.create_task(hear_of_changes(gateway, after=after))
        try:
            async with asyncio.timeout(10):
                await gateway.access.create("one", ["x"])
                while gateway.access.reload is not again:  # noqa: ASYNC110 - the change feed has no event of its own
                    await asyncio.sleep(0.01)
                await gateway.access.create("two", ["x"])
                await heard.wait()
        finally:
            hearing.cancel()
        assert not hearing.done()
