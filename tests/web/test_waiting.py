"""`gateway connect` beside a server: it prints the link, waits, and its status says how it ended."""

import asyncio
import base64
import json
import os
import sys
import time

import pytest

from gateway.admin.links import GRACE, LIFETIME, find_link, make_link
from gateway.cli import connect as command
from tests.cli.programs import ROOT, surroundings
from tests.web.browser import house
from tests.web.harness import MASTER


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        made.gateway.now = time.time()  # the program beside it has no other clock
        yield made


@pytest.fixture
async def link(home):
    token, row = await make_link(
        home.gateway, app="code", connection="crm-ann", fields={}, lifetime=LIFETIME, actor="cli"
    )
    assert await find_link(home.gateway, token) == row
    return f"/connect/{token}", row


async def run(home, *arguments):
    """Start `gateway …` on the same store and policies."""
    settings = home.gateway.settings
    given = {
        "GATEWAY_DATA_DIR": str(settings.data_dir),
        "GATEWAY_POLICIES_DIR": str(settings.policies_dir),
        "GATEWAY_KEYS__SOURCE": "env:THE_MASTER_KEY",
        "THE_MASTER_KEY": base64.b64encode(MASTER).decode(),
        "GATEWAY_WEB__PUBLIC_URL": home.web.server.url,
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *arguments),
        env=os.environ | surroundings() | given,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_it_prints_the_link_and_ends_when_somebody_has_connected(home):
    process = await run(home, "connect", "code", "--id", "crm-ann", "--field", "region=eu")
    url = (await process.stdout.readline()).decode().strip()
    assert url.startswith(f"{home.web.server.url}/connect/gwl_")
    async with home.browser() as ann:
        await ann.login("code", url.removeprefix(home.web.server.url))
    _, said = await process.communicate()
    assert process.returncode == 0
    assert b"Connected: crm-ann (Ann Ash)." in said
    assert home.provider.calls[0]["region"] == "eu"


async def test_as_json_it_prints_the_link_and_then_the_connection(home):
    process = await run(home, "connect", "code", "--json")
    text = ""
    while not text.rstrip().endswith("}"):
        text += (await process.stdout.readline()).decode()
    async with home.browser() as ann:
        await ann.login("code", json.loads(text)["url"].removeprefix(home.web.server.url))
    rest, _ = await process.communicate()
    row = json.loads(rest)
    assert (row["label"], row["status"], row["created"]) == ("Ann Ash", "active", True)


async def test_without_waiting_it_ends_at_once(home):
    process = await run(home, "connect", "code", "--no-wait")
    out, _ = await process.communicate()
    assert (process.returncode, out.count(b"/connect/gwl_")) == (0, 1)


async def test_a_preset_that_the_person_could_not_put_right_makes_no_link(home):
    process = await run(home, "connect", "code", "--field", "region=moon")
    out, said = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert b"fields.region: must be one of us, eu" in said


async def test_a_try_that_failed_is_told_and_the_waiting_goes_on(home, link, monkeypatch, capsys):
    path, row = link
    monkeypatch.setattr(command, "POLL", 0.01)
    waiting = asyncio.create_task(command._ended(home.gateway, row, json=False))
    async with home.browser() as ann:
        asked = await ann.leave(path)
        await ann.come_back("code", error="access_denied", state=asked["state"])
        said = ""
        while "Not yet" not in said:
            await asyncio.sleep(0)
            said += capsys.readouterr().err
        assert "Not yet: Example CRM said: access_denied The link stays good." in said.replace("\n", " ")
        await ann.login("code", path)
    assert await waiting == 0
    assert "Connected: crm-ann (Ann Ash)." in capsys.readouterr().err


async def test_a_link_that_nobody_used_ends_with_a_no(home, link, capsys):
    _, row = link
    home.gateway.now += LIFETIME + GRACE
    assert await command._ended(home.gateway, row, json=False) == 1
    assert "The link has expired, and nobody has connected with it." in capsys.readouterr().err
