"""Two servers on one store: one link connects once, and a login begun at one may be finished at the other."""

import asyncio

import pytest

from tests.web.browser import Browser, house
from tests.web.harness import ADMIN, form_token
from tests.web.provider import CODE


@pytest.fixture
async def homes(tmp_path):
    async with house(tmp_path) as one, house(tmp_path, provider=one.provider) as two:
        yield one, two


async def test_of_two_servers_that_race_for_a_link_one_connects(homes):
    one, two = homes
    for app, fields in (("machine", {"client_id": "a", "client_secret": "b"}), ("key", {"api_key": "k"})):
        one.provider.tested.clear()
        path = await one.link(app)
        async with one.browser() as ann, two.browser() as bob:
            for browser in (ann, bob):
                await browser.get(path)  # each has its session before it clicks twice
            answers = await asyncio.gather(*(browser.send(path, **fields) for browser in (ann, bob, ann, bob)))
            assert {answer.status for answer in answers} == {303}
            assert len(one.provider.tested) == 1
            pages = [await browser.get(path) for browser in (ann, bob)]
            assert sorted(page.status for page in pages) == [200, 410]


async def test_of_two_logins_with_one_link_that_come_back_at_once_one_connects(homes):
    one, two = homes
    path = await one.link("code")
    async with one.browser() as ann, two.browser() as bob:
        asked = [await browser.leave(path) for browser in (ann, bob)]
        one.provider.challenge = None
        one.provider._is_right = lambda _form: True
        pages = await asyncio.gather(
            *(
                browser.come_back("code", code=CODE, state=login["state"])
                for browser, login in zip((ann, bob), asked, strict=True)
            )
        )
    assert sorted(page.status for page in pages) == [200, 410]
    assert len(one.provider.calls) == 1, "the code of the one who was too late isn't even redeemed"


async def test_a_login_begun_at_one_server_is_finished_at_the_other(homes):
    """Behind one public URL: cookies don't know of ports, and both understand them."""
    one, two = homes
    async with one.browser() as ann:
        asked = await ann.leave(await one.link("code"))
        elsewhere = Browser(two.web, two.provider, ann._web._session)
        assert "Connected as Ann Ash" in (await elsewhere.come_back("code", code=CODE, state=asked["state"])).text


async def test_of_two_servers_one_polls_for_a_device_code_and_either_may_finish(homes):
    """The page loads itself at whichever server is behind the public URL just then."""
    one, two = homes
    path = await one.link("device")
    one.provider.said = ["authorization_pending"]
    async with one.browser() as ann:
        elsewhere = Browser(two.web, two.provider, ann._web._session)
        await ann.send(path)
        for count in (1, 2):
            one.gateway.now = two.gateway.now = one.gateway.now + 5
            await asyncio.gather(*(browser.get(path) for browser in (ann, elsewhere, ann, elsewhere)))
            assert len(one.provider.calls) == count
        assert "Connected as Ann Ash" in (await elsewhere.get(path)).text


async def test_a_second_click_waits_and_ends_at_the_same_page(homes):
    one, _ = homes
    held, go_on = asyncio.Event(), asyncio.Event()
    tokens = one.provider.tokens

    async def slowly(_request):
        from aiohttp import web  # noqa: PLC0415 - only here

        held.set()
        await go_on.wait()
        return web.json_response(tokens)

    one.provider.answer = slowly
    path = await one.link("machine")
    async with one.browser() as ann:
        values = {"form_token": form_token(await ann.get(path)), "field.client_id": "a", "field.client_secret": "b"}
        first = asyncio.create_task(ann.post(path, values))
        await held.wait()
        second = asyncio.create_task(ann.post(path, values))
        go_on.set()
        assert [(await click).headers["Location"] for click in (first, second)] == [path, path]
        assert "Connected as Ann Ash" in (await ann.get(path)).text
    assert len(one.provider.calls) == 1


async def test_who_signs_out_at_one_server_is_out_at_the_other_and_after_a_restart(homes, tmp_path):
    """A copy of the cookie, which is good by its MAC alone; the mark goes when the cookie is over anyway."""
    one, two = homes
    async with one.browser() as ann:
        token = form_token(await ann.get("/sign-in"))
        await ann.post("/sign-in", {"form_token": token, "token": ADMIN})
        page = await ann.get("/")
        (cookie,) = ann._web._session.cookie_jar
        copied = {"Cookie": f"{cookie.key}={cookie.value}"}
        async with two.browser() as eve:
            assert (await eve.get("/", headers=copied)).status == 200
            await ann.post("/sign-out", {"form_token": form_token(page)})
            assert (await eve.get("/", headers=copied)).headers["Location"] == "/sign-in"
    async with house(tmp_path, provider=one.provider) as later, later.browser() as eve:
        assert (await eve.get("/", headers=copied)).headers["Location"] == "/sign-in"
        later.gateway.now += 12 * 3_600 + 1
        token = form_token(await eve.get("/sign-in"))
        await eve.post("/sign-in", {"form_token": token, "token": ADMIN})
        await eve.post("/sign-out", {"form_token": form_token(await eve.get("/"))})
        async with later.store.database.read() as connection:
            found = await connection.exec_driver_sql("SELECT count(*) FROM meta WHERE name LIKE 'ended_session/%'")
    assert found.scalar_one() == 1
