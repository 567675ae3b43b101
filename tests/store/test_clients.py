"""What every store does with clients, app secrets, links, single values and data keys."""

import asyncio
from dataclasses import replace

import pytest

from gateway.store import ConflictError, DataKeyRow, LoginStateRow, Store
from tests.store.samples import a_client, a_link


async def test_a_client_comes_back_as_it_was_put_in(store: Store):
    row = a_client(expires_at=2000.5)
    await store.clients.insert(row)
    assert await store.clients.get("runner") == row
    assert await store.clients.get("nobody") is None


async def test_clients_are_listed_by_name_revoked_ones_too(store: Store):
    for name in ("b", "a", "c"):
        await store.clients.insert(a_client(name))
    await store.clients.revoke("a", now=1100.0)
    assert [(row.name, row.revoked_at) for row in await store.clients.all()] == [
        ("a", 1100.0),
        ("b", None),
        ("c", None),
    ]


async def test_a_name_that_is_in_use_is_a_conflict(store: Store):
    await store.clients.insert(a_client())
    with pytest.raises(ConflictError):
        await store.clients.insert(a_client(token_hash=b"x" * 32))


async def test_a_token_that_is_in_use_is_a_conflict(store: Store):
    await store.clients.insert(a_client("one", token_hash=b"x" * 32))
    with pytest.raises(ConflictError):
        await store.clients.insert(a_client("two", token_hash=b"x" * 32))


async def test_a_revoked_client_gives_its_name_away(store: Store):
    await store.clients.insert(a_client())
    await store.clients.revoke("runner", now=1100.0)
    again = a_client(token_hash=b"n" * 32, created_at=1200.0)
    await store.clients.insert(again)
    assert await store.clients.all() == (again,)


async def test_a_client_is_revoked_once(store: Store):
    await store.clients.insert(a_client())
    assert await store.clients.revoke("runner", now=1100.0)
    assert not await store.clients.revoke("runner", now=1200.0)
    assert not await store.clients.revoke("nobody", now=1200.0)
    assert await store.clients.get("runner") == a_client(revoked_at=1100.0)


async def test_an_app_secret_is_set_replaced_and_removed(store: Store):
    await store.secrets.put("crm", "client_secret", b"one", now=1.0)
    await store.secrets.put("crm", "client_secret", b"two", now=2.0)
    await store.secrets.put("crm", "api_key", b"three", now=2.0)
    await store.secrets.put("hub", "client_secret", b"four", now=2.0)
    assert await store.secrets.get("crm", "client_secret") == b"two"
    assert await store.secrets.names("crm") == ("api_key", "client_secret")
    assert await store.secrets.times("crm") == {("crm", "api_key"): 2.0, ("crm", "client_secret"): 2.0}
    assert (await store.secrets.times()).keys() == {
        ("crm", "api_key"),
        ("crm", "client_secret"),
        ("hub", "client_secret"),
    }
    assert await store.secrets.delete("crm", "client_secret")
    assert not await store.secrets.delete("crm", "client_secret")
    assert await store.secrets.get("crm", "client_secret") is None
    assert await store.secrets.get("hub", "client_secret") == b"four"


async def test_a_link_comes_back_as_it_was_put_in(store: Store):
    await store.links.insert(a_link())
    assert await store.links.get(b"h" * 32) == a_link()
    assert await store.links.get(b"?" * 32) is None


CLAIMED = {"claim": "mine", "now": 1001.0, "until": 1121.0, "begun": 1001.0}


async def test_a_claimed_link_is_nobody_elses_until_it_is_given_back(store: Store):
    await store.links.insert(a_link())
    assert (await store.links.claim(b"h" * 32, **CLAIMED)).claim == "mine"
    assert await store.links.claim(b"h" * 32, **CLAIMED | {"claim": "yours"}) is None
    assert not await store.links.release(b"h" * 32, claim="yours", outcome=b"not mine")
    assert await store.links.release(b"h" * 32, claim="mine", outcome=b"failed")
    assert await store.links.get(b"h" * 32) == a_link(outcome=b"failed")
    assert await store.links.claim(b"h" * 32, **CLAIMED | {"claim": "yours"})


async def test_a_link_is_used_up_by_its_first_use(store: Store):
    await store.links.insert(a_link())
    await store.links.claim(b"h" * 32, **CLAIMED)
    assert await store.links.use(b"h" * 32, claim="mine", now=1002.0, outcome=b"done")
    assert await store.links.get(b"h" * 32) == a_link(used_at=1002.0, outcome=b"done", fields=None)
    assert await store.links.claim(b"h" * 32, **CLAIMED) is None
    assert not await store.links.use(b"h" * 32, claim="mine", now=1003.0, outcome=b"again")


async def test_of_ten_claims_at_once_one_gets_the_link(store: Store):
    await store.links.insert(a_link())
    got = await asyncio.gather(
        *(store.links.claim(b"h" * 32, **CLAIMED | {"claim": f"claim {number}"}) for number in range(10))
    )
    assert sum(link is not None for link in got) == 1


async def test_the_claim_of_one_who_died_lapses(store: Store):
    await store.links.insert(a_link())
    await store.links.claim(b"h" * 32, **CLAIMED)
    assert await store.links.claim(b"h" * 32, claim="yours", now=1121.0, until=1241.0, begun=1121.0)
    assert not await store.links.use(b"h" * 32, claim="mine", now=1122.0, outcome=b"late")


async def test_who_began_before_a_link_expired_may_finish_after_it(store: Store):
    await store.links.insert(a_link())
    assert await store.links.claim(b"h" * 32, **CLAIMED | {"now": 2900.0, "begun": 2900.0}) is None
    assert await store.links.claim(b"h" * 32, **CLAIMED | {"now": 2900.0, "until": 3020.0, "begun": 2799.0})


async def test_a_login_comes_back_once(store: Store):
    row = LoginStateRow(
        state_hash=b"s" * 32, app="crm", session_hash=b"b" * 32, sealed=b"x", created_at=1.0, expires_at=601.0
    )
    await store.logins.insert(row)
    got = await asyncio.gather(*(store.logins.take(b"s" * 32) for _ in range(10)))
    assert [one for one in got if one] == [row]
    await store.logins.insert(row)
    assert await store.logins.prune(before=601.0) == 0
    assert await store.logins.prune(before=602.0) == 1


async def test_a_device_code_is_polled_by_one_at_a_time_and_another_in_its_place_stays(store: Store):
    """Of several servers one holds it; it is due again when its interval is over, or its holder never came back."""
    row = LoginStateRow(
        state_hash=b"s" * 32,
        app="crm",
        session_hash=b"b" * 32,
        sealed=b"x",
        created_at=1.0,
        expires_at=601.0,
        poll_at=6.0,
        poll_interval=5.0,
    )
    await store.logins.put(row)
    assert await store.logins.get(b"s" * 32) == row
    assert not await store.logins.hold(row, now=5.9, until=120.0)
    held = await asyncio.gather(*(store.logins.hold(row, now=6.0, until=120.0) for _ in range(10)))
    assert held.count(True) == 1
    assert await store.logins.hold(row, now=120.0, until=240.0), "its holder died"
    await store.logins.wait(row, until=130.0, interval=10.0)
    waiting = await store.logins.get(b"s" * 32)
    assert waiting is not None
    assert (waiting.poll_at, waiting.poll_interval) == (130.0, 10.0)

    anew = replace(row, created_at=2.0, sealed=b"y")
    await store.logins.put(anew)
    assert not await store.logins.hold(row, now=1000.0, until=2000.0)
    await store.logins.wait(row, until=1.0, interval=1.0)
    await store.logins.drop(row)
    assert await store.logins.get(b"s" * 32) == anew
    await store.logins.drop(anew)
    assert await store.logins.get(b"s" * 32) is None


async def test_expired_links_are_pruned(store: Store):
    await store.links.insert(a_link())
    await store.links.insert(a_link(token_hash=b"i" * 32, expires_at=9000.0))
    assert await store.links.prune(before=3000.0) == 1
    assert await store.links.get(b"i" * 32) is not None


async def test_a_single_value_is_set_and_replaced(store: Store):
    assert await store.meta.get("gateway_id") is None
    await store.meta.put("gateway_id", b"one")
    await store.meta.put("gateway_id", b"two")
    assert await store.meta.get("gateway_id") == b"two"


async def test_who_establishes_first_is_right_for_all(store: Store):
    first = {"ca.certificate": b"C1", "ca.key": b"K1"}
    assert await store.meta.establish(first) == first
    assert await store.meta.establish({"ca.certificate": b"C2", "ca.key": b"K2"}) == first


async def test_of_ten_that_establish_at_once_all_go_on_with_the_same_pair(store: Store):
    tries = [{"ca.certificate": b"C%d" % n, "ca.key": b"K%d" % n} for n in range(10)]
    found = await asyncio.gather(*(store.meta.establish(values) for values in tries))
    assert all(pair == found[0] for pair in found)
    assert found[0] in tries


async def test_a_data_key_is_added_once_and_may_be_replaced(store: Store):
    one = DataKeyRow(id=1, wrapped=b"one", created_at=1.0)
    two = DataKeyRow(id=2, wrapped=b"two", created_at=2.0)
    assert await store.keys.add(two)
    assert await store.keys.add(one)
    assert not await store.keys.add(replace(one, wrapped=b"another"))
    assert await store.keys.all() == (one, two)
    await store.keys.retire(before=2, now=3.0)
    await store.keys.remove((2,))
    assert await store.keys.all() == (replace(one, retired_at=3.0), two)
    await store.keys.remove((1, 2))
    assert await store.keys.all() == (two,)


async def test_a_login_that_nobody_began_is_found_missing_without_waiting_for_the_writers(store: Store):
    """Anybody may bring a state, as often as they like."""
    async with store.database.write(), asyncio.timeout(5):
        assert await store.logins.take(b"made up") is None
