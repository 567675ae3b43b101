"""Places that a redirect must not lead to, told to what goes on where it is told, or where a service points."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from yarl import URL

from gateway.policy.match import Matcher
from gateway.policy.model import Allow
from tests.proxy.harness import TOKEN
from tests.vectors.browser_reading import Place, place_of
from tests.vectors.cases import table
from tests.vectors.everywhere import World, everywhere, head
from tests.web.harness import ADMIN, Web, form_token, running

TABLE = table("redirects")
ELSEWHERE = [
    shape.replace("{to}", to)
    for group in TABLE["group"]
    for shape in group["urls"]
    for to in (TABLE["to"] if "{to}" in shape else [""])
]
STAYS = TABLE["stays"]["urls"]
HERE = Place("http", "gateway.test")
OK = Place("http", "ok.test")


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with running(tmp_path) as one:
        yield one


async def sign_in(web: Web, **more: str) -> str:
    """Sign in; return where it leads."""
    token = form_token(await web.get("/sign-in"))
    answer = await web.request("POST", "/sign-in", data={"form_token": token, "token": ADMIN, **more})
    assert answer.status == 303
    return answer.headers["Location"]


async def test_going_on_when_signed_in_leads_to_a_path_of_ours(web: Web) -> None:
    """As a browser sends it that keeps to the letter, and as one that was given the address as it stands."""
    await sign_in(web)
    assert len(ELSEWHERE) > 1500
    for text in [*ELSEWHERE, *STAYS]:
        as_it_stands = quote(text, safe="%!$'()*,/:;=?@[]\\<>\"^`{|}~-._")
        for asked in {quote(text, safe=""), as_it_stands}:
            url = URL(f"{web.server.url}/sign-in?next={asked}", encoded=True)
            async with web._session.get(url, allow_redirects=False) as answer:
                location = answer.headers["Location"]
            assert answer.status == 303
            assert location == (text if text in STAYS else "/"), text
            assert place_of(location, HERE) == HERE, text


async def test_signing_in_leads_to_a_path_of_ours(web: Web) -> None:
    """One of each shape: signing in is a form, and an event that is written down."""
    shapes = [shape.replace("{to}", "evil.test") for group in TABLE["group"] for shape in group["urls"]]
    for text in [*shapes, *STAYS]:
        web.forget_cookies()
        assert await sign_in(web, next=text) == (text if text in STAYS else "/"), text


async def test_the_sign_in_form_never_holds_another_place(web: Web) -> None:
    for text in [*ELSEWHERE[::7], *STAYS]:
        page = await web.get(f"/sign-in?next={quote(text, safe='')}")
        assert f'name="next" value="{text if text in STAYS else "/"}"' in page.text, text


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with everywhere(tmp_path, Matcher.compile(Allow(urls=["http://ok.test"]), {})) as one:
        yield one


async def test_a_location_leads_through_the_gateway_only_where_a_browser_would_stay(world: World) -> None:
    """Path-style callers stay on the gateway inside the allowed URLs; what leads elsewhere is passed on as it is."""
    faults, kept = [], 0
    asking = head("/c/crm-ann/http://ok.test/v1/users", "gateway", f"X-Api-Key: {TOKEN}\r\n".encode())
    for text in [*ELSEWHERE, *STAYS]:
        if not text.isascii() or not text.replace("\t", "").isprintable() or not text:
            continue  # no field holds it
        world.says(f"HTTP/1.1 302 Found\r\nLocation: {text}\r\nContent-Length: 0\r\n\r\n".encode())
        (location,) = (await world.ask(asking)).locations
        if location == text.strip():
            continue
        kept += 1
        if not location.startswith("/c/crm-ann/http://ok.test/") or place_of(text, OK) != OK:
            faults.append(f"{text!r}, by a browser {place_of(text, OK).host}, became {location!r}")
    assert kept > 100
    assert not faults, f"{len(faults)}:\n" + "\n".join(faults)


async def test_none_of_them_is_a_target(world: World) -> None:
    """As they stand, and inside a tunnel to the one host that is allowed."""
    faults = {}
    for text in ELSEWHERE:
        for asked in (await world.ask(head(text)), await world.ask(head(text, "ok.test", b""), connect="ok.test:80")):
            led = [host for host in asked.dialled if host != "ok.test:80" or place_of(text, OK) != OK]
            if led or not (asked.code or asked.dialled):
                faults[text] = f"{asked.code}, to {asked.dialled} for {asked.targets}"
    assert not faults
