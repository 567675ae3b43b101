"""The label that a person chooses: it stays when the account is connected again, and goes when another takes its id."""

from typing import Any

import pytest

from gateway.errors import ClientError
from gateway.store.rows import ConnectionRow
from gateway.vault import Vault
from tests.vault.harness import CLIENT, House, Overtaken, as_json, events
from tests.vault.test_connect import refused


async def connect(vault: Vault, **how: Any) -> ConnectionRow:
    return (await vault.connect("example", connection_id="c", fields=CLIENT, actor="ann", **how)).row


async def names(vault: Vault) -> tuple[str, str | None]:
    row = await vault._store.connections.get("c")
    assert row is not None
    return row.label, row.account_label


async def test_a_chosen_label_stays_when_the_account_is_connected_again(house: House, vault: Vault) -> None:
    await connect(vault)
    await vault.rename("c", "  The   books \n", actor="page")
    assert await names(vault) == ("The books", "John Doe")
    house.provider.me = as_json(200, id="u1", name="John Q. Doe")
    row = await connect(vault)
    assert (row.label, row.account_label) == ("The books", "John Q. Doe")
    assert await events(vault, "connection.renamed") == [{"label": "The books", "actor": "page"}]


@pytest.mark.parametrize("taken_back", ["", "  ", "John Doe"])
async def test_an_empty_label_or_the_accounts_own_takes_the_chosen_one_back(
    house: House, vault: Vault, taken_back: str
) -> None:
    await connect(vault)
    await vault.rename("c", "The books", actor="page")
    await vault.rename("c", "All the books", actor="page")
    assert await names(vault) == ("All the books", "John Doe")
    await vault.rename("c", taken_back, actor="page")
    assert await names(vault) == ("John Doe", None)
    house.provider.me = as_json(200, id="u1", name="John Q. Doe")
    assert (await connect(vault)).label == "John Q. Doe"


async def test_to_choose_what_it_is_called_already_is_no_change(vault: Vault) -> None:
    before = await connect(vault)
    await vault.rename("c", "John Doe", actor="page")
    assert await vault._store.connections.get("c") == before
    assert await events(vault, "connection.renamed") == []


async def test_a_label_changes_neither_the_token_nor_when_it_is_renewed(house: House, vault: Vault) -> None:
    before = await connect(vault)
    house.clock.now += 100
    await vault.rename("c", "The books", actor="page")
    after = await vault._store.connections.get("c")
    assert after is not None
    for unchanged in ("token_version", "fence", "updated_at", "renew_at", "expires_at", "credentials"):
        assert getattr(after, unchanged) == getattr(before, unchanged), unchanged


@pytest.mark.parametrize("wrong", ["x" * 201, "a\x00b", "a\x1bb", "\u202eb", "\ud800"])
async def test_a_label_that_is_no_line_of_text_is_refused(vault: Vault, wrong: str) -> None:
    before = await connect(vault)
    refusal = await refused(vault.rename("c", wrong, actor="page"))
    assert (refusal.code, refusal.errors[0]["path"]) == ("invalid", "label")
    assert await vault._store.connections.get("c") == before


async def test_another_account_that_gets_the_id_doesnt_get_the_label(house: House, vault: Vault) -> None:
    await connect(vault)
    await vault.rename("c", "John's books", actor="page")
    await vault.disconnect("c", actor="ann")
    house.provider.me = as_json(200, id="u2", name="Jane Roe")
    row = await connect(vault)
    assert (row.label, row.account_label) == ("Jane Roe", None)


async def test_the_account_that_comes_back_has_its_label_again(vault: Vault) -> None:
    await connect(vault)
    await vault.rename("c", "John's books", actor="page")
    await vault.disconnect("c", actor="ann")
    assert (await connect(vault)).label == "John's books"


async def test_a_label_chosen_while_the_account_is_being_connected_again_is_kept(house: House, vault: Vault) -> None:
    await connect(vault)

    async def first() -> None:
        async with house.vault() as other:
            await other.rename("c", "The books", actor="page")

    vault._connecting._connections = Overtaken(vault._store, first)
    row = await connect(vault)
    assert (row.label, row.account_label) == ("The books", "John Doe")


async def test_what_the_account_is_called_while_its_label_is_being_changed_is_kept(house: House, vault: Vault) -> None:
    await connect(vault)
    await vault.rename("c", "My books", actor="page")

    async def first() -> None:
        house.provider.me = as_json(200, id="u1", name="John Q. Doe")
        async with house.vault() as other:
            await connect(other)

    vault._store.connections = Overtaken(vault._store, first)
    await vault.rename("c", "The books", actor="page")
    assert await names(vault) == ("The books", "John Q. Doe")


async def test_who_is_gone_has_no_label_to_change(vault: Vault) -> None:
    await connect(vault)
    await vault.disconnect("c", actor="ann")
    for unknown in ("c", "nobody"):
        with pytest.raises(ClientError, match="There is no connection"):
            await vault.rename(unknown, "x", actor="page")
