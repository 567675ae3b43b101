"""Who is calling, and which connections they may use."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import Access, Client, Pattern, proxy_url
from gateway.errors import ClientError
from gateway.secret import Secret
from gateway.store import ClientRow, Store


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(f"sqlite:///{tmp_path}/gateway.db", migrate=True) as opened:
        yield opened


@pytest.fixture
async def access(store: Store, clock: Clock) -> Access:
    opened = Access(store, clock)
    await opened.load()
    return opened


def a_client(*patterns: str) -> Client:
    return Client.of(ClientRow(name="runner", token_hash=b"x", patterns=patterns, created_at=0.0))


@pytest.mark.parametrize(
    ("pattern", "covered", "not_covered"),
    [
        ("crm-ann", ["crm-ann"], ["crm-anna", "crm-an", "CRM-ANN", "", "crm-ann\n", "crm-ann "]),
        ("*", ["", "x", "crm-ann", "a\nb"], []),
        ("crm-*", ["crm-", "crm-ann"], ["crm", "xcrm-ann", "Crm-ann"]),
        ("*-prod", ["crm-prod", "-prod"], ["crm-prod2", "prod"]),
        ("a*a", ["aa", "aba", "aaa"], ["a", "ab"]),
        ("a*b*c", ["abc", "a1b2c", "abbcc"], ["acb", "ab", "abcd"]),
        ("*a*a*", ["aa", "xaxax"], ["a", "xax"]),
        ("a**b", ["ab", "axb"], ["a"]),
        ("crm-?", ["crm-?"], ["crm-a"]),
        ("crm-[ab]", ["crm-[ab]"], ["crm-a"]),
        ("c.m", ["c.m"], ["crm"]),
    ],
)
def test_a_star_stands_for_any_characters_and_everything_else_for_itself(pattern, covered, not_covered):
    client = a_client(pattern)
    assert [name for name in covered if not client.may_use(name)] == []
    assert [name for name in not_covered if client.may_use(name)] == []


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_a_pattern_matches_as_its_definition_does(pattern, text):
    def defined(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return defined(pattern[1:], text) or (bool(text) and defined(pattern, text[1:]))
        return text[:1] == pattern[0] and defined(pattern[1:], text[1:])

    assert Pattern.parse(pattern).matches(text) == defined(pattern, text)


def test_a_client_without_patterns_may_use_nothing():
    assert not a_client().may_use("crm-ann")
    assert not a_client().may_use("")


def test_one_pattern_that_covers_is_enough():
    client = a_client("hub-ann", "crm-*")
    assert client.may_use("hub-ann")
    assert client.may_use("crm-bob")
    assert not client.may_use("hub-bob")


async def test_a_token_is_a_secret_of_43_characters_behind_its_prefix(access):
    token = await access.create("runner", ["crm-*"])
    assert isinstance(token, Secret)
    assert token.reveal().startswith("gwc_")
    assert len(token.reveal()) == 47
    assert token != await access.create("other", ["crm-*"])


async def test_a_token_shows_whose_it_is_at_once(access):
    token = await access.create("runner", ["crm-*", "crm-*", "x"])
    client = access.client_for(token.reveal())
    assert (client.name, client.patterns, client.expires_at) == ("runner", ("crm-*", "x"), None)


async def test_the_store_does_not_hold_the_token(access, store, tmp_path):
    token = await access.create("runner", ["crm-*"])
    await store.close()
    for file in tmp_path.iterdir():
        assert token.reveal().encode() not in file.read_bytes()
        assert token.reveal()[4:].encode() not in file.read_bytes()


@pytest.mark.parametrize("wrong", ["", "gwc_", "gwc_" + "A" * 43, "\x00", "☃", "\udcff", "x" * 100_000])
async def test_any_other_token_is_nobodys(access, wrong):
    await access.create("runner", ["crm-*"])
    assert access.client_for(wrong) is None


async def test_a_token_in_other_letters_is_nobodys(access):
    token = (await access.create("runner", ["crm-*"])).reveal()
    assert [access.client_for(text) for text in (token.upper(), token + " ", token[:-1], token[4:])] == [None] * 4


async def test_a_client_ends_at_its_expiry_without_anybody_doing_anything(access, clock):
    token = await access.create("runner", ["crm-*"], expires_at=1500.0)
    clock.now = 1499.9
    assert access.client_for(token.reveal()) is not None
    clock.now = 1500.0
    assert access.client_for(token.reveal()) is None


async def test_a_removed_client_is_nobody_at_once_and_in_no_list(access, store):
    """A program's own client for one run: it would fill the list. Other processes hear of it as of a revocation."""
    token = await access.create("run-1", ["crm-*"])
    heard = await store.changes.latest()
    assert await access.remove("run-1")
    assert access.client_for(token.reveal()) is None
    assert await access.list() == ()
    assert [(kind, key) for _, kind, key in await store.changes.since(heard)] == [("client", "run-1")]
    assert not await access.remove("run-1")


async def test_a_revoked_client_is_nobody_at_once(access):
    token = await access.create("runner", ["crm-*"])
    assert await access.revoke("runner")
    assert access.client_for(token.reveal()) is None
    assert not await access.revoke("runner")
    assert not await access.revoke("nobody")


async def test_a_name_can_be_given_again_after_a_revocation_and_the_old_token_stays_dead(access):
    old = await access.create("runner", ["*"])
    await access.revoke("runner")
    new = await access.create("runner", ["crm-*"])
    assert access.client_for(old.reveal()) is None
    assert access.client_for(new.reveal()).patterns == ("crm-*",)


async def test_what_another_process_did_is_seen_at_a_reload(access, store, clock):
    other = Access(store, clock)
    token = await other.create("runner", ["crm-*"])
    assert access.client_for(token.reveal()) is None
    await access.reload()
    assert access.client_for(token.reveal()).name == "runner"


async def test_the_generation_rises_with_each_change(access):
    seen = [access.generation]
    await access.create("runner", ["crm-*"])
    seen.append(access.generation)
    await access.revoke("runner")
    seen.append(access.generation)
    await access.reload()
    seen.append(access.generation)
    assert seen == sorted(set(seen))


async def test_clients_are_listed_by_name_with_what_became_of_them(access):
    await access.create("b", ["*"], expires_at=2000.0)
    await access.create("a", ["x"])
    await access.revoke("a")
    listed = [(row.name, row.created_at, row.expires_at, row.revoked_at) for row in await access.list()]
    assert listed == [("a", 1000.0, None, 1000.0), ("b", 1000.0, 2000.0, None)]


async def test_a_name_that_is_in_use_is_a_conflict_and_changes_nothing(access):
    token = await access.create("runner", ["crm-*"])
    with pytest.raises(ClientError) as caught:
        await access.create("runner", ["*"])
    assert caught.value.refusal.code == "conflict"
    assert access.client_for(token.reveal()).patterns == ("crm-*",)


@pytest.mark.parametrize(
    ("name", "patterns", "expires_at", "path"),
    [
        ("", ["x"], None, "name"),
        ("-x", ["x"], None, "name"),
        ("a b", ["x"], None, "name"),
        ("a\n", ["x"], None, "name"),
        ("ä", ["x"], None, "name"),
        ("x" * 65, ["x"], None, "name"),
        ("runner", [], None, "connections"),
        ("runner", ["ok", ""], None, "connections[1]"),
        ("runner", ["a b"], None, "connections[0]"),
        ("runner", ["x" * 129], None, "connections[0]"),
        ("runner", ["x"], 1000.0, "expires_in"),
        ("runner", ["x"], 1000.0 + 10 * 365 * 86_400 + 1, "expires_in"),
        ("runner", ["x"], float("inf"), "expires_in"),
        ("runner", ["x"], float("nan"), "expires_in"),
    ],
)
async def test_what_is_no_client_is_refused_with_the_place(access, name, patterns, expires_at, path):
    with pytest.raises(ClientError) as caught:
        await access.create(name, patterns, expires_at)
    assert caught.value.refusal.code == "invalid"
    assert [error["path"] for error in caught.value.refusal.errors] == [path]
    assert await access.list() == ()


def test_a_token_is_escaped_in_the_proxys_url():
    assert proxy_url("127.0.0.1:8080", "a b", "x/@:") == "http://a%20b:x%2F%40%3A@127.0.0.1:8080"


async def test_of_two_who_read_the_clients_at_once_the_later_one_is_believed(
    access: Access, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what was read before a revocation, and arrives after it, would let the revoked one in again."""
    token = (await access.create("runner", ["*"])).reveal()
    read, begun, go_on = store.clients.all, asyncio.Event(), asyncio.Event()

    async def slowly() -> tuple[ClientRow, ...]:
        rows = await read()
        if not begun.is_set():
            begun.set()
            await go_on.wait()
        return rows

    monkeypatch.setattr(store.clients, "all", slowly)
    early = asyncio.create_task(access.load())
    await begun.wait()
    late = asyncio.create_task(access.revoke("runner"))
    while (await read())[0].revoked_at is None:
        pass  # its own look at the store is still to come, or waits
    go_on.set()
    await asyncio.gather(early, late)
    assert access.client_for(token) is None
