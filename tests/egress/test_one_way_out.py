"""One way out: every call of the gateway's own goes through the guard, and nothing else makes a socket outwards."""

import ast
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gateway.egress import Egress
from gateway.errors import GatewayError
from gateway.secret import Secret
from gateway.vault import Vault, Webhook
from tests.vault.harness import ANN, API_KEY, CLIENT, CLIENT_CREDENTIALS, PASSWORD, House

GATEWAY = Path(__file__).parent.parent.parent / "gateway"
TO_THE_OUTSIDE = {
    *("socket", "create_connection", "open_connection", "sock_connect", "create_datagram_endpoint", "start_connection"),
    *("ClientSession", "TCPConnector", "urlopen", "HTTPConnection", "HTTPSConnection", "getaddrinfo", "gethostbyname"),
    *("open_unix_connection", "create_unix_connection", "OTLPSpanExporter"),
}
KNOWN = {
    "egress/client.py": "the client for providers, behind the resolver and the check",
    "egress/egress.py": "the way out",
    "egress/guard.py": "asks the system whether an address is this machine's; sends nothing",
    "egress/resolve.py": "the resolver",
    "proxy/pool.py": "wraps a socket that the way out has connected",
    "app/notify.py": "tells the service manager, over a socket of this machine",
    "app/sockets.py": "binds the listeners; tries first whether their addresses are free",
    "app/telemetry.py": "the collector of the operator's environment, inside as a rule; nobody else has a say in it",
    "cli/run.py": "asks whether the gateway listens",
    "cli/demo/stage.py": "the demo, on loopback",
}


def test_nothing_but_the_way_out_makes_sockets() -> None:
    found = {
        str(path.relative_to(GATEWAY))
        for path in GATEWAY.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _name(node.func) in TO_THE_OUTSIDE
    }
    assert found == set(KNOWN)


def _name(function: ast.expr) -> str:
    match function:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


class Names:
    """A name service in which some names lead inside, and which remembers who was asked for."""

    def __init__(self, **inside: str) -> None:
        self.inside = inside
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        return [self.inside.get(host.partition(".")[0], "192.0.2.1")]


@pytest.fixture
async def names() -> Names:
    return Names(id="10.0.0.1", api="169.254.169.254", hooks="127.0.0.1")


@pytest.fixture
async def house(tmp_path: Path) -> House:
    house = House(path=tmp_path / "gateway.db")
    house.policies.put("example", CLIENT_CREDENTIALS)
    house.policies.put("legacy", PASSWORD)
    house.policies.put("keyed", API_KEY)
    return house


@pytest.fixture
async def guarded(house: House, names: Names) -> AsyncIterator[Vault]:
    """A vault whose provider answered while it was outside, and has moved inside since."""
    async with house.vault() as before:
        await before.connect("example", connection_id="c", fields=CLIENT, actor="ann")
        await before.connect("legacy", connection_id="d", fields=ANN, actor="ann")
    egress = Egress(resolver=names)
    async with house.vault(egress=egress, announces=True) as vault:
        yield vault
    await egress.close()


@pytest.mark.parametrize(("app", "fields"), [("example", CLIENT), ("legacy", ANN)])
async def test_a_token_endpoint_inside_is_not_asked(guarded: Vault, app: str, fields: dict[str, str]) -> None:
    with pytest.raises(GatewayError, match=r"id\.test is 10\.0\.0\.1, a private network"):
        await guarded.connect(app, connection_id="x", fields=fields, actor="ann")


async def test_a_token_endpoint_that_has_moved_inside_is_not_asked_for_a_refresh(guarded: Vault) -> None:
    live = await guarded.live("d")
    assert live is not None
    with pytest.raises(GatewayError, match=r"id\.test is 10\.0\.0\.1, a private network"):
        await guarded.after_401(live)


async def test_a_test_call_that_leads_to_a_metadata_service_is_not_made(guarded: Vault) -> None:
    with pytest.raises(GatewayError, match="never reached"):
        await guarded.connect("keyed", connection_id="k", fields={"api_key": "key-12345"}, actor="ann")


async def test_neither_a_revocation_endpoint_nor_a_webhook_inside_is_told(guarded: Vault, house: House) -> None:
    """Both are tried again later: what is written down says why nobody was told."""
    await guarded.disconnect("d", actor="ann")
    await guarded.close()
    await guarded.upkeep(Webhook(url="https://hooks.test/gw", secret=Secret("s"))).catch_up()
    with closing(sqlite3.connect(house.path)) as rows:
        assert rows.execute("SELECT last_error FROM revocations").fetchall() == [
            ("id.test is 10.0.0.1, a private network.",)
        ]
        assert rows.execute("SELECT DISTINCT last_error FROM deliveries").fetchall() == [
            ("hooks.test is 127.0.0.1, this machine itself.",)
        ]
