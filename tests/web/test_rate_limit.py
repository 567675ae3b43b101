"""Guessing the admin token: ten wrong ones from an address, pages and API together, then one each six seconds."""

import pytest

from gateway.attempts import BURST, EVERY
from tests.web.harness import ADMIN, Answer, Web, form_token

WRONG = "gwa_wrong-token-entirely"


async def by_page(web: Web, token: str) -> Answer:
    page = await web.get("/sign-in")
    return await web.request("POST", "/sign-in", data={"form_token": form_token(page), "token": token})


async def by_api(web: Web, token: str) -> Answer:
    return await web.get("/api/v1/apps", headers={"Authorization": f"Bearer {token}"})


DOORS = {"page": by_page, "api": by_api}


async def use_up(web: Web, doors=("page", "api")) -> None:
    for number in range(BURST):
        answer = await DOORS[doors[number % len(doors)]](web, WRONG)
        assert answer.status == 401, number


@pytest.mark.parametrize("doors", [("page",), ("api",), ("page", "api")])
async def test_after_ten_wrong_tokens_not_even_the_right_one_is_looked_at(web, doors):
    await use_up(web, doors)
    for token in (ADMIN, WRONG):
        page, api = await by_page(web, token), await by_api(web, token)
        assert (page.status, page.headers["Retry-After"]) == (429, "6")
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "Too many wrong admin tokens came from your address. Wait 6 s" in page.text
        assert "gateway" not in page.cookies or page.cookies["gateway"].startswith("gateway=v.")
        assert (api.status, api.headers["Retry-After"], api.json["code"]) == (429, "6", "rate_limited")
        assert api.headers["Content-Type"] == "application/problem+json"
    assert (await web.get("/")).headers["Location"] == "/sign-in"


@pytest.mark.parametrize("door", DOORS)
async def test_every_six_seconds_one_more_is_looked_at(web, door):
    await use_up(web)
    web.gateway.now += EVERY
    assert (await DOORS[door](web, WRONG)).status == 401
    assert (await DOORS[door](web, ADMIN)).status == 429
    web.gateway.now += EVERY
    assert (await DOORS[door](web, ADMIN)).status in {200, 303}


async def test_right_tokens_use_nothing_up_and_give_nothing_back(web):
    for _ in range(BURST - 1):
        await by_api(web, WRONG)
    for _ in range(3):
        assert (await by_api(web, ADMIN)).status == 200
        assert (await by_page(web, ADMIN)).status == 303
        web.forget_cookies()
    assert (await by_page(web, WRONG)).status == 401
    assert (await by_api(web, ADMIN)).status == 429


async def test_no_token_at_all_is_no_try(web):
    for given in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Basic {ADMIN}"}):
        for _ in range(BURST):
            assert (await web.get("/api/v1/apps", headers=given)).status == 401
    assert (await by_api(web, ADMIN)).status == 200


async def test_a_form_that_is_none_of_ours_is_no_try_and_tells_nothing_of_the_token(web):
    for token in (WRONG, ADMIN):
        for _ in range(BURST):
            assert (await web.request("POST", "/sign-in", data={"token": token})).status == 403
    assert (await by_page(web, ADMIN)).status == 303


async def test_who_is_signed_in_works_on_while_somebody_guesses(web):
    await by_page(web, ADMIN)
    await use_up(web, ("api",))
    assert (await by_api(web, ADMIN)).status == 429
    start = await web.get("/")
    assert start.status == 200
    made = await web.request("POST", "/connect", data={"form_token": form_token(start), "app": "crm"})
    assert made.headers["Location"].startswith("/connect/gwl_")


async def test_guesses_are_counted_and_logged_with_their_address_and_never_shown(web, capsys):
    await use_up(web)
    for _ in range(50):
        await by_api(web, WRONG)
    metrics = (await web.get("/metrics")).text
    assert 'gateway_admin_refusals_total{code="unauthorized"} 10.0' in metrics
    assert 'gateway_admin_refusals_total{code="rate_limited"} 50.0' in metrics
    log = capsys.readouterr()
    told = [line for line in (log.out + log.err).splitlines() if "admin.token_refused" in line]
    assert len(told) == BURST, "what is over the limit is counted, not logged"
    assert all("127.0.0.1" in line for line in told)
    assert not [text for text in (*web.seen, log.out, log.err) if WRONG in text]
