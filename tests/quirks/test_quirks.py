"""A connection through each quirk: from its first request to one that reaches the API, renewed, and ended.

The provider is on a real socket, and takes nothing but what it wants; the clock is turned by hand.
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.oauth.answer import TokenAnswer
from gateway.secret import Secret
from gateway.vault import Vault
from tests.quirks.provider import NOW, Quirky, Signed, Wants, query_of
from tests.quirks.table import CALLBACK, CODE, FRAME, QUIRKS, SECRET, Quirk
from tests.vault.harness import Clock, House
from tests.vault.real import loopback

EACH = pytest.mark.parametrize("quirk", QUIRKS.values(), ids=QUIRKS.keys())
STATE, VERIFIER = Secret("st4te" * 8), Secret("v3rifier" * 6)


def house_of(tmp_path: Path, quirk: Quirk, provider: Quirky) -> House:
    """A house with the quirk's policy."""
    house = House(path=tmp_path / "gateway.db", clock=Clock(NOW))
    section = FRAME.index("[test]")
    house.policies.put("quirk", (FRAME[:section] + quirk.policy + FRAME[section:]).replace("URL", provider.url))
    return house


async def signed_in(vault: Vault, house: House, quirk: Quirk) -> TokenAnswer | None:
    """Go to the login page and come back with a code, where the grant has one."""
    if quirk.login is None:
        return None
    policy, given = house.policies["quirk"], {name: Secret(value) for name, value in quirk.given.items()}
    url = await vault.logins.begin("quirk", policy, fields=given, redirect_uri=CALLBACK, state=STATE, verifier=VERIFIER)
    assert query_of(url) == {**quirk.login, "state": STATE.reveal()}
    return await vault.logins.redeem(
        "quirk", policy, fields=given, code=Secret(CODE), redirect_uri=CALLBACK, verifier=VERIFIER
    )


@pytest.mark.parametrize("why", ["expired", "refused"])
@EACH
async def test_a_connection_is_made_used_renewed_and_ended(quirk: Quirk, why: str, tmp_path: Path) -> None:
    """Its token is renewed for its age, or because the API refuses it."""
    provider = Quirky([*quirk.first, *quirk.then, *quirk.last])
    async with provider.serving(), loopback() as egress:
        house = house_of(tmp_path, quirk, provider)
        async with house.vault(egress=egress) as vault:
            answer = await signed_in(vault, house, quirk)
            done = await vault.connect("quirk", connection_id="c", fields=quirk.given, actor="ann", answer=answer)
            assert provider.surprises == []
            assert provider.api.pop() == quirk.tokens[0]
            assert done.row.expires_at == NOW + (quirk.lives or 0)
            assert await vault.live("c") is not None

            same = isinstance(quirk.tokens[1], Signed) or quirk.tokens[0] == quirk.tokens[1]
            if why == "expired":
                house.clock.now += quirk.lives or 0
            elif same:  # its API can't tell them apart
                await vault.refresh("c")
            else:
                provider.accepts = str(quirk.tokens[1])
            result = await vault.test("c")
            assert (result.ok, provider.surprises) == (True, []), result.message
            assert provider.api[-1] == quirk.tokens[1]
            assert len(provider.wanted) == len(quirk.last)

            await vault.disconnect("c", actor="ann")
            await vault._partings.close()
            assert (provider.wanted, provider.surprises) == ([], [])


@EACH
async def test_no_refusal_tells_a_secret(quirk: Quirk, tmp_path: Path) -> None:
    """The provider refuses every request and repeats all that was in it; a key is no key at all."""
    provider = Quirky(quirk.first, telling=True)
    secrets = [SECRET, CODE, *quirk.given.values()]
    async with provider.serving(), loopback() as egress:
        house = house_of(tmp_path, quirk, provider)
        async with house.vault(egress=egress) as vault:
            if quirk.first:
                words = await _refused(vault, house, quirk)
                assert "invalid_request" in words
                assert len(provider.surprises) == 1
                assert not [secret for secret in secrets if len(secret) > 5 and secret in words and "s3cret" in secret]
                assert "eyJ" not in words, "a signed statement"
            if "key" in quirk.given:
                broken = replace(quirk, given={**quirk.given, "key": "-----BEGIN-s3cret-key"})
                words = await _refused(vault, house, broken)
                assert "[auth.assertion]" in words
                assert "s3cret" not in words


async def _refused(vault: Vault, house: House, quirk: Quirk) -> str:
    """Connect, and return what is said of it when that fails."""

    async def connect() -> None:
        answer = await signed_in(vault, house, quirk)
        await vault.connect("quirk", connection_id="c", fields=quirk.given, actor="ann", answer=answer)

    with pytest.raises(GatewayError) as caught:
        await connect()
    refusal: Any = caught.value.refusal
    return f"{refusal.detail} {refusal.hint} {refusal.errors}"


async def test_what_an_exchange_says_is_said_with_its_name_and_without_the_first_token(tmp_path: Path) -> None:
    """The first token came, and is worth something: no error shows it, and nothing is connected."""
    quirk = QUIRKS["a short token for a long one, which renews itself"]
    told = {"error": "invalid_grant", "error_description": "not for short-s3cret of app-s3cret with rt-s3cret"}
    first = replace(quirk.first[0], answer={"access_token": "short-s3cret", "refresh_token": "rt-s3cret"})
    provider = Quirky([first, replace(quirk.first[1], status=400, answer=told)])
    async with provider.serving(), loopback() as egress:
        house = house_of(tmp_path, quirk, provider)
        async with house.vault(egress=egress) as vault:
            words = await _refused(vault, house, quirk)
            assert (
                "could not be exchanged. The provider answered 400: invalid_grant: not for *** of *** with ***" in words
            )
            assert await vault.live("c") is None


async def test_a_renewal_by_the_access_token_loses_no_token(tmp_path: Path) -> None:
    """Twenty who find it expired make one call; a refusal keeps the token and asks again later."""
    quirk = QUIRKS["a short token for a long one, which renews itself"]
    busy = Wants(method="GET", path="/renew", query=quirk.then[0].query, status=503, answer={"message": "busy"})
    provider = Quirky([*quirk.first, busy, *quirk.then])
    async with provider.serving(), loopback() as egress:
        house = house_of(tmp_path, quirk, provider)
        async with house.vault(egress=egress) as vault:
            answer = await signed_in(vault, house, quirk)
            await vault.connect("quirk", connection_id="c", fields=quirk.given, actor="ann", answer=answer)
            house.clock.now += 3600
            live = await vault.live("c")
            assert live is not None
            with pytest.raises(GatewayError, match="busy"):
                await vault.fresh(live)
            house.clock.now += 600
            again = await vault.live("c")
            assert again is not None
            fresh = await asyncio.gather(*(vault.fresh(again) for _ in range(20)))
            assert {dict(one.injection.headers)[b"Authorization"] for one in fresh if one.injection} == {
                b"Bearer two-s3cret"
            }
            assert provider.surprises == []
