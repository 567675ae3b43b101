"""Texts as targets: each is refused, or goes to the host that a WHATWG parser would go to, with the path as written."""

import re
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import pytest

from gateway.policy.entry import EntryInvalid, EntryTemplate
from gateway.policy.match import Matcher
from gateway.policy.model import Allow
from tests.proxy.harness import TOKEN
from tests.vectors.cases import table
from tests.vectors.everywhere import Asked, World, everywhere, head

URLS = table("urls")
ROWS = [
    [text.replace("{}", each) for text in row]
    for group in URLS["group"]
    for each in group.get("each", ["{}"])
    for row in group["urls"]
]
BASE = "base.test:80"
_REFUSALS = {"request_rejected", "target_invalid"}
_TAG = f"X-Api-Key: {TOKEN}\r\n".encode()
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@cache
def _allows_what_whatwg_names() -> Matcher:
    named = {f"{text.strip().lower().partition(':')[0]}://{host}" for text, host, *_ in ROWS if host}
    allowed = [url for url in [f"http://{BASE}", *sorted(named)] if _can_be_allowed(url)]
    return Matcher.compile(Allow(urls=allowed, connect_ports=list(range(1, 65536))), {})


def _can_be_allowed(url: str) -> bool:
    try:
        EntryTemplate.parse(url)
    except EntryInvalid:
        return False  # such as http://..:80
    return True


def without_default_port(named: str, scheme: str) -> str:
    return named.removesuffix(_DEFAULT_PORTS[scheme])


def judge(asked: Asked, named: str, sent: str, *, secure: bool) -> str:
    """Say what is wrong with what came of a row, "" for nothing."""
    if not sent:
        if asked.code in _REFUSALS and not asked.dialled and not asked.targets:
            return ""
        return f"isn't refused but {asked.code or 'sent'}, to {asked.dialled} for {asked.targets}"
    if asked.dialled != [named]:
        return f"goes to {asked.dialled}, {asked.code}, and WHATWG goes to {named}"
    if secure:
        return "" if asked.code == "upstream_connect" else f"got {asked.code}"
    host = without_default_port(named, "http")
    if asked.targets != (sent,) or asked.hosts != (host,):
        return f"arrives as {asked.targets} of {asked.hosts}"
    return ""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """It allows what WHATWG names, for http and https alike, and nothing else."""
    async with everywhere(tmp_path, _allows_what_whatwg_names(), base_url=f"http://{BASE}/v1") as one:
        yield one


async def test_an_absolute_target_goes_where_whatwg_goes_or_nowhere(world: World) -> None:
    faults = {}
    for text, named, sent, *_ in ROWS:
        secure = text.strip().lower().startswith("https")
        faults[text] = judge(await world.ask(head(text), secure=secure), named, sent, secure=secure)
    assert len(ROWS) > 380
    assert not {text: fault for text, fault in faults.items() if fault}


async def test_a_target_in_path_style_goes_where_whatwg_goes_or_nowhere(world: World) -> None:
    """What doesn't begin with a scheme and a slash is a path behind the base URL, and stays one."""
    faults = {}
    for text, named, sent, *other in ROWS:
        secure = text.lower().startswith("https:/")
        asked = await world.ask(head(f"/c/crm-ann/{text}", "gateway", _TAG), secure=secure)
        if re.match("https?:/", text, re.IGNORECASE):
            faults[text] = judge(asked, named, other[0] if other else sent, secure=secure)
        elif asked.code:
            faults[text] = judge(asked, "", "", secure=False)
        else:
            faults[text] = judge(asked, BASE, f"/v1/{text}", secure=False)
    assert not {text: fault for text, fault in faults.items() if fault}


async def test_a_target_inside_a_tunnel_goes_where_the_tunnel_goes_or_nowhere(world: World) -> None:
    """The tunnel is to the host that WHATWG names, and to another one: nothing of the text leads out of either."""
    faults = {}
    for text, named, sent, *_ in ROWS:
        if not named.isascii() or not re.fullmatch(r"[\w.\[\]:-]+", named):
            continue
        inside = head(text, named, b"")
        plain = text.strip().lower().startswith("http:")
        faults[text] = judge(await world.ask(inside, connect=named), named, sent if plain else "", secure=False)
        faults[f"{text}, elsewhere"] = judge(await world.ask(inside, connect=BASE), "", "", secure=False)
    assert len(faults) > 250
    assert not {text: fault for text, fault in faults.items() if fault}


async def test_a_connect_goes_where_whatwg_goes_or_nowhere(world: World) -> None:
    """The authority of each text, with the scheme's port where it has none. Inside, Host is what WHATWG names."""
    faults, opened = {}, 0
    for text, named, *_ in ROWS:
        parts = re.match(r"(?i:(https?))://([^/?#\\]*)", text)
        if parts is None:
            continue
        authority = parts[2] if re.search(r":[^\]]*$", parts[2]) else parts[2] + _DEFAULT_PORTS[parts[1].lower()]
        secure = parts[1].lower() == "https"
        asked = await world.ask(head("/x", named or "elsewhere.test", b""), connect=authority, secure=secure)
        refused = asked.code in _REFUSALS
        opened += not refused
        faults[text] = judge(asked, named, "" if refused else "/x", secure=secure)
    assert opened > 70
    assert not {text: fault for text, fault in faults.items() if fault}


async def test_what_is_no_http_url_is_no_target(world: World) -> None:
    faults = {}
    for text in URLS["nothing"]["urls"]:
        faults[text] = judge(await world.ask(head(text)), "", "", secure=False)
        faults[f"{text}, in a tunnel"] = judge(
            await world.ask(head(text, BASE, b""), connect=BASE), "", "", secure=False
        )
    assert len(faults) > 300
    assert not {text: fault for text, fault in faults.items() if fault}


async def test_a_path_stays_a_path_of_its_host(world: World) -> None:
    faults = {}
    for text, inside, behind in URLS["paths"]["urls"]:
        host = without_default_port(BASE, "http")
        faults[text] = judge(await world.ask(head(text, host, b""), connect=BASE), BASE, inside, secure=False)
        asked = await world.ask(head(f"/c/crm-ann{text}", "gateway", _TAG))
        faults[f"{text}, behind the connection"] = judge(asked, BASE, behind, secure=False)
    assert len(faults) > 100
    assert not {text: fault for text, fault in faults.items() if fault}
