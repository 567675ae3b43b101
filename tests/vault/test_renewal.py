"""One refresh at a time, whoever asks and however many; and nothing that a provider gave is lost."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from gateway.errors import AuthorizationServerError, Refusal, StoreError
from gateway.store.rows import Status
from gateway.vault import Live, Vault
from tests.vault.harness import (
    ANN,
    CLIENT,
    CLIENT_CREDENTIALS,
    NOW,
    FakeProvider,
    House,
    Late,
    as_json,
    authorization,
    down,
    events,
    until,
)


async def connected(vault: Vault, app: str = "legacy", fields: dict[str, str] | None = None) -> Live:
    """A fresh connection with the id `c`, and the provider's counts back at nothing."""
    await vault.connect(app, connection_id="c", fields=fields or (ANN if app == "legacy" else CLIENT), actor="test")
    live = await vault.live("c")
    assert live is not None
    assert isinstance(vault._egress, FakeProvider)
    vault._egress.arrived.clear()
    return live


def calls(house: House) -> int:
    """Token calls after the one that connected."""
    return len(house.provider.token_calls) - 1


async def refused(awaitable: Any) -> Refusal:
    with pytest.raises(AuthorizationServerError) as caught:
        await awaitable
    return caught.value.refusal


async def test_a_token_known_to_be_expired_is_never_sent(house: House, vault: Vault) -> None:
    live = await connected(vault)
    assert await vault.fresh(live) is live
    house.clock.now = NOW + 3600
    fresh = await vault.fresh(live)
    assert authorization(fresh) == "Bearer at-2-secret"
    assert fresh.token_version == live.token_version + 1
    assert calls(house) == 1
    assert house.provider.token_calls[-1]["refresh_token"] == "rt-1-secret"


@pytest.mark.parametrize("number", [200, 1000])
async def test_a_storm_of_401_is_one_token_call(house: House, vault: Vault, number: int) -> None:
    live = await connected(vault)
    house.provider.gate = asyncio.Event()
    storm = [asyncio.create_task(vault.after_401(live)) for _ in range(number)]
    await house.provider.arrived.wait()
    house.provider.gate.set()
    lives = await asyncio.gather(*storm)
    assert calls(house) == 1
    assert {authorization(got) for got in lives if got} == {"Bearer at-2-secret"}
    assert None not in lives


async def test_a_storm_over_two_processes_is_one_token_call(house: House) -> None:
    """Two vaults on one store file, each with connections of its own, as two processes have."""
    async with house.vault() as one, house.vault() as two:
        live_one = await connected(one)
        live_two = await two.live("c")
        assert live_two is not None
        house.provider.gate = asyncio.Event()
        storm = [asyncio.create_task(vault.after_401(live)) for vault, live in [(one, live_one), (two, live_two)] * 500]
        await house.provider.arrived.wait()
        await until(lambda: one._renewals.is_flying("c") and two._renewals.is_flying("c"))
        house.provider.gate.set()
        lives = await asyncio.gather(*storm)
    assert calls(house) == 1
    assert {authorization(got) for got in lives if got} == {"Bearer at-2-secret"}


async def test_a_loser_is_woken_by_the_change_feed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.vault.renewal.FIRST_LOOK", 3600.0)
    monkeypatch.setattr("gateway.vault.renewal.LONGEST_LOOK", 3600.0)
    async with house.vault() as one, house.vault() as two:
        live_one = await connected(one)
        live_two = await two.live("c")
        assert live_two is not None
        house.provider.gate = asyncio.Event()
        winner = asyncio.create_task(one.after_401(live_one))
        await house.provider.arrived.wait()
        loser = asyncio.create_task(two.after_401(live_two))
        await until(lambda: "c" in two._renewals._changed)
        after = await two._store.changes.latest()
        feed = asyncio.create_task(two._store.changes.watch(two.forget, after=after, interval=0.001))
        house.provider.gate.set()
        assert await winner is not None
        got = await loser
        feed.cancel()
        await asyncio.gather(feed, return_exceptions=True)
    assert got is not None
    assert authorization(got) == "Bearer at-2-secret"
    assert calls(house) == 1


async def test_a_loser_hears_of_the_winners_failure(house: House) -> None:
    async with house.vault() as one, house.vault() as two:
        live_one = await connected(one)
        live_two = await two.live("c")
        assert live_two is not None
        house.provider.gate = asyncio.Event()
        house.provider.scripted = [as_json(503)]
        winner = asyncio.create_task(one.after_401(live_one))
        await house.provider.arrived.wait()
        loser = asyncio.create_task(two.after_401(live_two))
        await until(lambda: two._renewals.is_flying("c"))
        house.provider.gate.set()
        assert (await refused(winner)).code == "refresh_failed"
        assert (await refused(loser)).retry_after is not None
    assert calls(house) == 1


async def test_a_401_with_a_token_older_than_the_stored_one_only_re_reads(house: House) -> None:
    async with house.vault() as one, house.vault() as two:
        old_one = await connected(one)
        old_two = await two.live("c")
        assert old_two is not None
        await one.after_401(old_one)
        for vault, old in ((one, old_one), (two, old_two)):
            got = await vault.after_401(old)
            assert got is not None
            assert authorization(got) == "Bearer at-2-secret"
    assert calls(house) == 1


async def test_a_refresh_whose_caller_has_gone_away_still_lands_in_the_store(house: House, vault: Vault) -> None:
    live = await connected(vault)
    house.provider.gate = asyncio.Event()
    caller = asyncio.create_task(vault.after_401(live))
    await house.provider.arrived.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    house.provider.gate.set()
    await vault._renewals.close()
    row = await vault._store.connections.get("c")
    assert row is not None
    assert row.token_version == live.token_version + 1
    assert vault._safe.open_credentials(row).token["access_token"] == "at-2-secret"


async def test_stopping_awaits_a_refresh_that_the_provider_is_working_on(house: House) -> None:
    async with house.vault() as vault:
        live = await connected(vault)
        house.provider.gate = asyncio.Event()
        caller = asyncio.create_task(vault.after_401(live))
        await house.provider.arrived.wait()
        closing = asyncio.create_task(vault.close())
        await asyncio.sleep(0)
        assert not closing.done()
        house.provider.gate.set()
        await closing
        assert await caller is not None
        row = await vault._store.connections.get("c")
        assert row is not None
        assert row.token_version == live.token_version + 1


async def test_stopping_ends_what_only_waits_for_another_process(house: House) -> None:
    async with house.vault() as one, house.vault() as two:
        live_one, live_two = await connected(one), await two.live("c")
        assert live_two is not None
        house.provider.gate = asyncio.Event()
        winner = asyncio.create_task(one.after_401(live_one))
        await house.provider.arrived.wait()
        loser = asyncio.create_task(two.after_401(live_two))
        await until(lambda: "c" in two._renewals._changed)
        await two.close()
        assert (await refused(loser)).code == "overloaded"
        house.provider.gate.set()
        await winner


async def test_the_write_of_a_rotated_token_is_retried_while_the_store_is_busy(
    house: House, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.vault.commit.FIRST_PAUSE", 0.0001)
    live = await connected(vault)
    connections = vault._store.connections
    write, failures = connections.write_tokens, [1] * 7

    async def busy(*args: Any, **kwargs: Any) -> bool:
        if failures:
            failures.pop()
            raise StoreError(Refusal(code="overloaded", detail="The store is locked by another process."))
        return await write(*args, **kwargs)

    monkeypatch.setattr(connections, "write_tokens", busy)
    got = await vault.after_401(live)
    assert got is not None
    assert authorization(got) == "Bearer at-2-secret"
    assert failures == []
    assert calls(house) == 1


async def test_an_owner_who_was_too_slow_still_saves_its_token_over_the_next_ones_failure(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease lapses while the provider's answer is on its way; the next owner has only the spent refresh token."""
    monkeypatch.setattr("gateway.vault.commit.FIRST_PAUSE", 0.0001)
    monkeypatch.setattr("gateway.vault.lease.WATCH_SECONDS", 0.01)
    async with house.vault() as slow, house.vault() as quick:
        live_slow, live_quick = await connected(slow), await quick.live("c")
        assert live_quick is not None
        connections = slow._store.connections
        write, answered, go_on = connections.write_tokens, asyncio.Event(), asyncio.Event()

        async def delayed(*args: Any, **kwargs: Any) -> bool:
            answered.set()
            await go_on.wait()
            return await write(*args, **kwargs)

        monkeypatch.setattr(connections, "write_tokens", delayed)
        waiting = asyncio.create_task(slow.after_401(live_slow))
        await answered.wait()
        house.clock.now += 31
        assert (await refused(quick.after_401(live_quick))).code == "reauthorization_required"
        go_on.set()
        got = await waiting
        assert got is not None
        assert authorization(got) == "Bearer at-2-secret"
        row = await slow._store.connections.get("c")
        assert row is not None
        assert row.status is Status.ACTIVE


async def test_only_invalid_grant_is_final_and_it_says_why(house: House, vault: Vault) -> None:
    live = await connected(vault)
    house.provider.scripted = [as_json(400, error="invalid_grant", error_description="Revoked by ann, rt-1-secret")]
    refusal = await refused(vault.after_401(live))
    assert refusal.code == "reauthorization_required"
    assert "Revoked by ann, ***" in refusal.detail
    assert refusal.hint == "Make a new link with `gateway connect legacy --id c`."
    row = await vault._store.connections.get("c")
    assert row is not None
    assert (row.status, row.reason) == (
        Status.NEEDS_REAUTHORIZATION,
        "The provider answered 400: invalid_grant: Revoked by ann, ***",
    )
    assert [event["reason"] for event in await events(vault, "connection.needs_reauthorization")] == [row.reason]
    again = await vault.live("c")
    assert again is not None
    assert again.refusal == refusal
    assert again.injection is None
    assert (await refused(vault.fresh(again))).code == "reauthorization_required"
    assert calls(house) == 1


@pytest.mark.parametrize(
    "answer",
    [
        as_json(401, error="invalid_client"),
        as_json(400, error="invalid_request"),
        as_json(400, error="unauthorized_client"),
        as_json(503, error="invalid_grant"),
        as_json(429),
        as_json(200),
        as_json(302),
        down(),
    ],
    ids=["invalid_client", "invalid_request", "unauthorized_client", "503", "429", "no-token", "redirect", "down"],
)
async def test_everything_else_backs_off_and_keeps_trying(house: House, vault: Vault, answer: Any) -> None:
    live = await connected(vault)
    house.clock.now = NOW + 3600
    house.provider.scripted = [answer]
    first = await refused(vault.fresh(live))
    assert first.code == "refresh_failed"
    assert first.retry_after in {2, 3}
    current = await vault.live("c")
    assert current is not None
    assert current.status is Status.ACTIVE
    assert (await refused(vault.fresh(current))).code == "refresh_failed"
    assert calls(house) == 1, "while backing off, nobody asks"
    house.clock.now += 3
    assert authorization(await vault.fresh(current)) == "Bearer at-2-secret"
    row = await vault._store.connections.get("c")
    assert row is not None
    assert (row.failures, row.retry_at, row.reason) == (0, None, None)


async def test_the_providers_retry_after_is_heeded(house: House, vault: Vault) -> None:
    live = await connected(vault)
    answer = as_json(429)
    house.provider.scripted = [type(answer)(status=429, headers={"retry-after": "120"}, body=b"{}")]
    assert (await refused(vault.after_401(live))).retry_after == 120


async def test_renewal_ahead_of_expiry_is_in_the_background(house: House, vault: Vault) -> None:
    live = await connected(vault)
    assert live.renew_at is not None
    assert NOW + 3600 - 66 <= live.renew_at <= NOW + 3600 - 54
    vault.renew_soon(live)
    assert not vault._renewals.is_flying("c")
    house.clock.now = live.renew_at
    vault.renew_soon(live)
    vault.renew_soon(live)
    assert await vault.fresh(live) is live, "nobody waits for it"
    await until(lambda: vault.peek("c") is not live and not vault._renewals.is_flying("c"))
    current = vault.peek("c")
    assert current is not None
    assert authorization(current) == "Bearer at-2-secret"
    vault.renew_soon(live)
    assert calls(house) == 1


async def test_a_renewal_ahead_that_fails_hurts_nobody_and_is_not_repeated_at_every_request(
    house: House, vault: Vault
) -> None:
    live = await connected(vault)
    assert live.renew_at is not None
    house.clock.now = live.renew_at
    house.provider.scripted = [down()]
    vault.renew_soon(live)
    await until(lambda: not vault._renewals.is_flying("c"))
    current = vault.peek("c")
    assert current is not None
    assert await vault.fresh(current) is current
    vault.renew_soon(current)
    assert not vault._renewals.is_flying("c")
    assert calls(house) == 1
    house.clock.now += 3
    vault.renew_soon(current)
    await until(lambda: not vault._renewals.is_flying("c"))
    assert calls(house) == 2


async def test_what_a_provider_repeats_is_taken_out_before_its_words_are_cut(house: House, vault: Vault) -> None:
    """The access token wasn't sent, and the cut goes through it."""
    await connected(vault)
    words = "x" * 290 + " at-1-secret"
    house.provider.scripted = [as_json(503, error="down", error_description=words)]
    with pytest.raises(AuthorizationServerError) as raised:
        await vault.refresh("c")
    assert "at-1" not in raised.value.refusal.detail
    assert raised.value.refusal.detail.endswith("x ***")


async def test_a_short_lived_token_is_renewed_at_half_of_its_life(house: House, vault: Vault) -> None:
    house.provider.expires_in = "10"
    live = await connected(vault)
    assert (live.expires_at, live.renew_at) == (NOW + 10, NOW + 5)


async def test_without_expires_in_only_the_401_counts(house: House, vault: Vault) -> None:
    house.provider.expires_in = None
    live = await connected(vault)
    assert live.expires_at is None
    house.clock.now = NOW + 10**9
    assert await vault.fresh(live) is live


async def test_without_expires_in_the_policys_default_counts(house: House, vault: Vault) -> None:
    house.provider.expires_in = None
    text = CLIENT_CREDENTIALS.replace("[auth.revoke]", 'default_ttl = "2h"\n[auth.revoke]')
    house.policies.put("example", text)
    live = await connected(vault, "example")
    assert live.expires_at == NOW + 7200


async def test_an_answer_without_a_refresh_token_keeps_the_old_one(house: House, vault: Vault) -> None:
    live = await connected(vault)
    house.provider.scripted = [as_json(200, access_token="at-x", expires_in=60)]
    await vault.after_401(live)
    row = await vault._store.connections.get("c")
    assert row is not None
    kept = vault._safe.open_credentials(row)
    assert kept.refresh_token is not None
    assert kept.refresh_token.reveal() == "rt-1-secret"


async def test_the_previous_refresh_token_is_kept(vault: Vault) -> None:
    await vault.after_401(await connected(vault))
    row = await vault._store.connections.get("c")
    assert row is not None
    kept = vault._safe.open_credentials(row)
    assert kept.refresh_token is not None
    assert kept.previous_refresh_token is not None
    assert (kept.refresh_token.reveal(), kept.previous_refresh_token.reveal()) == ("rt-2-secret", "rt-1-secret")


async def test_client_credentials_ask_anew_when_there_is_nothing_to_refresh_with(house: House, vault: Vault) -> None:
    house.provider.refresh_tokens = False
    live = await connected(vault, "example")
    got = await vault.after_401(live)
    assert got is not None
    assert house.provider.token_calls[-1]["grant_type"] == "client_credentials"


async def test_client_credentials_ask_anew_when_their_refresh_token_is_spent(house: House, vault: Vault) -> None:
    live = await connected(vault, "example")
    house.provider.scripted = [as_json(400, error="invalid_grant")]
    got = await vault.after_401(live)
    assert got is not None
    assert [call["grant_type"] for call in house.provider.token_calls[1:]] == ["refresh_token", "client_credentials"]


async def test_a_password_is_kept_only_where_there_is_no_refresh_token(house: House, vault: Vault) -> None:
    await connected(vault, fields=ANN | {"otp": "123456"})
    assert house.provider.token_calls[0]["otp"] == "123456"
    row = await vault._store.connections.get("c")
    assert row is not None
    assert vault._safe.open_credentials(row).secrets == {}
    assert "otp" not in vault._safe.open_fields(row)
    house.provider.refresh_tokens = False
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="test")
    row = await vault._store.connections.get("c")
    assert row is not None
    assert vault._safe.open_credentials(row).secrets["password"].reveal() == ANN["password"]
    live = await vault.live("c")
    assert live is not None
    assert await vault.after_401(live) is not None
    assert house.provider.token_calls[-1]["password"] == ANN["password"]


async def test_an_api_key_has_nothing_to_refresh_and_its_401_goes_through(house: House, vault: Vault) -> None:
    live = await connected(vault, "keyed", {"api_key": "key-12345"})
    assert not live.refreshable
    assert await vault.after_401(live) is None
    assert house.provider.token_calls == []


async def test_an_upstream_that_refuses_new_tokens_too_does_not_cost_a_token_call_each_time(
    house: House, vault: Vault
) -> None:
    live = await connected(vault)
    replayed = await vault.after_401(live)
    assert replayed is not None
    vault.refused_again(replayed)
    for _ in range(10):
        assert await vault.after_401(replayed) is None
    assert calls(house) == 1
    house.clock.now += 3
    assert await vault.after_401(replayed) is not None
    assert calls(house) == 2


async def test_those_who_were_refused_at_the_same_time_are_one_strike(house: House, vault: Vault) -> None:
    live = await connected(vault)
    replayed = await vault.after_401(live)
    assert replayed is not None
    for _ in range(20):
        vault.refused_again(replayed)
    house.clock.now += 3
    assert await vault.after_401(replayed) is not None


async def test_while_a_refused_token_is_being_replaced_nobody_else_sends_it(house: House, vault: Vault) -> None:
    live = await connected(vault)
    house.provider.gate = asyncio.Event()
    first = asyncio.create_task(vault.after_401(live))
    await house.provider.arrived.wait()
    second = asyncio.create_task(vault.fresh(live))
    await asyncio.sleep(0)
    assert not second.done()
    house.provider.gate.set()
    assert authorization(await second) == "Bearer at-2-secret"
    assert await first is await second


async def test_a_refused_token_stays_held_when_the_connection_is_read_again_meanwhile(
    house: House, vault: Vault
) -> None:
    live = await connected(vault)
    house.provider.gate = asyncio.Event()
    house.provider.arrived.clear()
    replacing = asyncio.create_task(vault.after_401(live))
    await house.provider.arrived.wait()
    vault.forget("connection", "c")
    again = await vault.live("c")
    assert again is not None
    assert again.token_version == live.token_version
    waiting = asyncio.create_task(vault.fresh(again))
    await asyncio.sleep(0)
    assert not waiting.done()
    house.provider.gate.set()
    assert authorization(await waiting) == "Bearer at-2-secret"
    assert await replacing is await waiting


async def test_a_refused_token_that_cannot_be_replaced_is_used_as_before(house: House, vault: Vault) -> None:
    """Upstream may say 401 for reasons of its own; the other requests don't suffer for it."""
    live = await connected(vault)
    house.provider.scripted = [down()]
    await refused(vault.after_401(live))
    current = await vault.live("c")
    assert current is not None
    assert current.expires_at == NOW + 3600
    assert await vault.fresh(current) is current
    assert live.expires_at == NOW + 3600


async def test_a_refresh_that_a_person_asks_for_always_happens(house: House, vault: Vault) -> None:
    live = await connected(vault)
    house.provider.scripted = [down()]
    await refused(vault.after_401(live))
    got = await vault.refresh("c", actor="ann")
    assert authorization(got) == "Bearer at-2-secret"
    assert [event["actor"] for event in await events(vault, "token.refreshed")] == ["ann"]
    house.provider.scripted = [as_json(400, error="invalid_grant")]
    await refused(vault.after_401(got))
    assert authorization(await vault.refresh("c")) == "Bearer at-3-secret", "even after the provider's no"
    row = await vault._store.connections.get("c")
    assert row is not None
    assert row.status is Status.ACTIVE


async def test_disconnecting_during_a_refresh_wins_and_the_late_token_is_revoked(house: House, vault: Vault) -> None:
    live = await connected(vault)
    house.provider.gate = asyncio.Event()
    waiting = asyncio.create_task(vault.after_401(live))
    await house.provider.arrived.wait()
    await vault.disconnect("c", actor="ann")
    house.provider.gate.set()
    assert (await refused(waiting)).code == "connection_not_permitted"
    assert await vault.live("c") is None
    row = await vault._store.connections.get("c")
    assert row is not None
    assert row.credentials is None
    await vault.close()
    assert {call["token"] for call in house.provider.revoked} == {"at-1-secret", "at-2-secret"}


@pytest.mark.parametrize(("kind", "key"), [("connection", "c"), ("everything", "")])
async def test_what_was_read_before_a_connection_was_ended_elsewhere_is_not_kept_after_it(
    house: House, vault: Vault, kind: str, key: str
) -> None:
    live = await connected(vault)

    async def end() -> None:
        async with house.vault() as other:
            await other.disconnect("c", actor="ann")
        vault.forget(kind, key)

    vault._renewals._connections = Late(vault._store, live.token_version, end)
    await vault.after_401(live)
    assert await vault.live("c") is None


async def test_connecting_again_during_a_refresh_wins(house: House, vault: Vault) -> None:
    live = await connected(vault)
    house.provider.gate = asyncio.Event()
    house.provider.scripted = [as_json(200, access_token="late", refresh_token="late-rt")]
    waiting = asyncio.create_task(vault.after_401(live))
    await house.provider.arrived.wait()
    gate, house.provider.gate = house.provider.gate, None
    house.provider.scripted, late = [], house.provider.scripted
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    house.provider.scripted = late
    gate.set()
    got = await waiting
    assert got is not None
    assert authorization(got) == "Bearer at-2-secret"


async def test_fifty_rotations_in_a_row_under_twenty_callers_lose_none(house: House, vault: Vault) -> None:
    await connected(vault)
    for rotation in range(50):
        live = await vault.live("c")
        assert live is not None
        lives = await asyncio.gather(*(vault.after_401(live) for _ in range(20)))
        assert {authorization(got) for got in lives if got} == {f"Bearer at-{rotation + 2}-secret"}
    assert calls(house) == 50


async def test_tokens_that_have_expired_when_they_arrive_do_not_spin(house: House, vault: Vault) -> None:
    live = await connected(vault)

    class Slow(FakeProvider):
        async def send(self, *args: Any, **kwargs: Any) -> Any:
            answer = await super().send(*args, **kwargs)
            house.clock.now += 20
            return answer

    slow = Slow(expires_in=10, number=1)
    vault._provider._egress = slow
    house.clock.now = NOW + 3600
    assert "have expired when they arrive" in (await refused(vault.fresh(live))).detail
    assert len(slow.token_calls) == 3


async def test_a_broken_policy_or_a_missing_one_refuses_and_backs_off(house: House, vault: Vault) -> None:
    live = await connected(vault)
    del house.policies["legacy"]
    refusal = await refused(vault.after_401(live))
    assert "policy of the app legacy is not there" in refusal.detail
    assert calls(house) == 0


async def test_outcomes_are_counted_in_words_of_our_own(house: House) -> None:
    class Counts(list[str]):
        def refresh(self, outcome: str, _app: str) -> None:
            self.append(outcome)

    counts = Counts()
    told: list[tuple[str, str, bool]] = []
    on_refresh = lambda app, connection, *, renewed: told.append((app, connection, renewed))  # noqa: E731 - one line
    async with house.vault(metrics=counts, on_refresh=on_refresh) as vault:
        await connected(vault)
        house.provider.scripted = [as_json(400, error="x" * 50), down(), as_json(200, access_token="a")]
        for _ in range(3):
            with suppress(AuthorizationServerError):
                await vault.refresh("c")
        house.provider.scripted = [as_json(400, error="invalid_grant")]
        with suppress(AuthorizationServerError):
            await vault.refresh("c")
    assert counts == ["refused", "upstream_connect", "refreshed", "needs_reauthorization"]
    assert told == [("legacy", "c", renewed) for renewed in (False, False, True, False)]
