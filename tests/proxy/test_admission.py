"""A tag that was admitted is remembered on its connection, and never for longer than it holds."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.access import Client
from gateway.attempts import Attempts
from gateway.errors import Refusal
from gateway.proxy.admission import Admission
from gateway.proxy.entrances import ABSOLUTE, Tag
from gateway.store.rows import ClientRow
from tests.proxy.harness import TOKEN, Caller, FakeAccess, Gateway

TAG = Tag(connection_id="crm-ann", token=TOKEN)


class Door:
    """An admission with a clock and clients of the test's own, and how often they were looked up."""

    def __init__(self) -> None:
        self.access, self.now, self.lookups = FakeAccess(), 1000.0, 0
        find = self.access.client_for

        def counted(token: str) -> Client | None:
            self.lookups += 1
            return find(token)

        self.access.client_for = counted  # type: ignore[method-assign]
        services: Any = SimpleNamespace(
            access=self.access,
            clock=lambda: self.now,
            guesses=Attempts(lambda: self.now),
            settings=SimpleNamespace(access=SimpleNamespace(anonymous=False)),
        )
        self.admission = Admission(services, address="192.0.2.1", is_loopback=False)

    def admit(self, tag: Tag = TAG) -> str | Refusal:
        return self.admission.admit(tag, ABSOLUTE)


def test_the_same_tag_is_looked_up_once() -> None:
    door = Door()
    assert [door.admit(), door.admit(), door.admit()] == ["runner"] * 3
    assert door.lookups == 1


def test_an_equal_tag_of_another_request_is_looked_up_anew() -> None:
    door = Door()
    door.admit()
    assert door.admit(replace(TAG)) == "runner"
    assert door.lookups == 2


def test_a_client_that_expires_meanwhile_is_not_admitted_any_more() -> None:
    door = Door()
    row = ClientRow(name="runner", token_hash=b"", patterns=("crm-*",), created_at=0.0, expires_at=1001.0)
    door.access.clients[TOKEN] = Client.of(row)
    assert door.admit() == "runner"
    door.now = 1001.0
    door.access.clients.clear()
    refused = door.admit()
    assert isinstance(refused, Refusal)
    assert refused.code == "proxy_authentication_required"


def test_a_change_of_the_clients_is_asked_about() -> None:
    door = Door()
    assert door.admit() == "runner"
    door.access.revoke()
    assert isinstance(door.admit(), Refusal)


@pytest.mark.parametrize("tag", [Tag(connection_id="erp-1", token=TOKEN), Tag(connection_id="crm-ann", token="wrong")])
def test_what_is_refused_is_not_remembered(tag: Tag) -> None:
    door = Door()
    assert isinstance(door.admit(tag), Refusal)
    assert isinstance(door.admit(tag), Refusal)
    assert door.admission.tag is None


async def test_each_request_of_a_connection_is_its_own_tags(gateway: Gateway, caller: Caller) -> None:
    """Another connection's name, or another token, in the next request on the same socket is seen."""
    gateway.connect()
    gateway.connect(connection_id="crm-bob", secret="tok_of_bob")
    assert (await caller.ask(gateway.request())).endswith(b"ok")
    assert (await caller.ask(gateway.request(connection="crm-bob"))).endswith(b"ok")
    assert b"connection_not_permitted" in await caller.ask(gateway.request(connection="erp-1"))
    assert b"proxy_authentication_required" in await caller.ask(gateway.request(token="gwc_wrong"))
    assert (await caller.ask(gateway.request())).endswith(b"ok")
    sent = [request.partition(b"Authorization: ")[2].partition(b"\r\n")[0] for request in gateway.service.requests]
    assert sent == [b"Bearer tok_abcdefgh", b"Bearer tok_of_bob", b"Bearer tok_abcdefgh"]


async def test_a_revocation_is_seen_by_the_next_request_of_every_entrance(gateway: Gateway, caller: Caller) -> None:
    gateway.connect()
    path_style = b"GET /c/crm-ann/users HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %b\r\n\r\n" % TOKEN.encode()
    for request in (gateway.request(), path_style):
        assert (await caller.ask(request)).endswith(b"ok")
    gateway.access.revoke()
    assert b" 401 " in (await caller.ask(path_style))[:20]
    assert b" 407 " in (await caller.ask(gateway.request()))[:20]
