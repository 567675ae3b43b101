"""Fills a gateway's directory with very many policies and connections, through the gateway's own modules.

`python fill.py FOLDER POLICIES CONNECTIONS`, with the policy's text on standard input ({number} is the policy's) and
the gateway's settings in the environment. The first connection is made as a person's would be; the others are its row
under other ids, each sealed for its own row and written a thousand in one transaction: a store as it is after its
policies have been served for a while. Prints a client's token.
"""

import asyncio
import sys
from dataclasses import asdict, replace
from pathlib import Path

from gateway.app import Gateway, open_gateway
from gateway.log import configure_log
from gateway.settings import load_settings
from gateway.store.rows import ConnectionRow
from gateway.store.tables import connections
from gateway.vault.credentials import Safe

AT_ONCE = 1_000
TOKEN = "tok_abcdefghijklmnop"


def app_of(number: int) -> str:
    """Return a policy's name."""
    return f"app-{number:04d}"


def id_of(number: int) -> str:
    """Return a connection's id."""
    return f"c-{number:06d}"


def write_policies(folder: Path, count: int, text: str) -> None:
    """Write so many policies."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{app_of(number)}.toml").write_text(text.replace("{number}", str(number)))


async def fill(folder: Path, policies: int, count: int, text: str) -> str:
    """Fill the directory, and return the token of a client that may use everything in it."""
    configure_log(level="error")
    write_policies(folder / "policies", policies, text)
    async with open_gateway(load_settings(None), create=True) as gateway:
        first = await gateway.vault.connect(
            app_of(0), connection_id=id_of(0), secrets={"api_key": TOKEN}, actor="benchmark"
        )
        await (
            gateway.vault.upkeep().catch_up()
        )  # else the first start reckons anew when each connection is to be renewed
        settled = await gateway.store.connections.get(id_of(0)) or first.row
        for start in range(1, count, AT_ONCE):
            numbers = range(start, min(count, start + AT_ONCE))
            await _insert(gateway, [_like(gateway, settled, number, policies) for number in numbers])
        return (await gateway.access.create("bench", ("*",), None)).reveal()


def _like(gateway: Gateway, row: ConnectionRow, number: int, policies: int) -> ConnectionRow:
    safe, own = Safe(gateway.keyring), id_of(number)
    return replace(
        row,
        id=own,
        app=app_of(number % policies),
        label=own,
        fields=safe.seal_fields(own, safe.open_fields(row)),
        credentials=safe.seal_credentials(own, safe.open_credentials(row)),
    )


async def _insert(gateway: Gateway, rows: list[ConnectionRow]) -> None:
    async with gateway.store.database.write() as transaction:
        await transaction.execute(connections.insert(), [asdict(row) for row in rows])


if __name__ == "__main__":
    print(asyncio.run(fill(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.stdin.read())))
