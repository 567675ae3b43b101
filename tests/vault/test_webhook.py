"""The webhook: signed, in order, over restarts, never a secret in it, and told of when it doesn't arrive."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from gateway.egress import Egress
from gateway.errors import AuthorizationServerError, UpstreamError
from gateway.oauth.message import Answer, OutgoingRequest
from gateway.secret import Secret
from gateway.vault import Vault, Webhook
from gateway.vault.webhook import Deliverer, signature
from tests.vault.harness import ANN, NOW, House, as_json, down, events

HOOK = Webhook(
    url="https://hooks.test/gw?token=in-the-url", secret=Secret("whsec_" + base64.b64encode(b"k" * 24).decode())
)


class Receiver:
    """Where messages arrive, and everything else goes on to the provider."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.answers: list[Answer | UpstreamError] = []
        self.got: list[OutgoingRequest] = []

    async def send(self, request: OutgoingRequest, **limits: Any) -> Answer:
        if not request.url.startswith("https://hooks.test/"):
            return await self.house.provider.send(request, **limits)
        self.got.append(request)
        answer = self.answers.pop(0) if self.answers else Answer(status=204)
        if isinstance(answer, UpstreamError):
            raise answer
        return answer

    def messages(self) -> list[tuple[str, dict[str, Any]]]:
        bodies = [json.loads(request.body) for request in self.got]
        return [(body["type"], body["data"]) for body in bodies]


@pytest.fixture
def receiver(house: House) -> Receiver:
    return Receiver(house)


@pytest.fixture
async def told(house: House, receiver: Receiver) -> AsyncIterator[Vault]:
    async with house.vault(egress=receiver, announces=True) as vault:
        yield vault


def header(request: OutgoingRequest, name: str) -> str:
    return dict(request.headers)[name]


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's libraries."""
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(
        secret, message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, body='{"test": 2432232314}'
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_without_the_prefix_is_taken_as_it_stands() -> None:
    key = b"not base64 at all!"
    made = signature(Secret(key.decode()), message_id="msg_1", timestamp=1, body="{}")
    assert made == "v1," + base64.b64encode(hmac.new(key, b"msg_1.1.{}", hashlib.sha256).digest()).decode()


async def test_the_life_of_a_connection_is_told_in_order_and_signed(
    house: House, told: Vault, receiver: Receiver
) -> None:
    await told.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    house.provider.scripted = [as_json(400, error="invalid_grant", error_description="revoked")]
    with suppress(AuthorizationServerError):
        await told.refresh("c")
    await told.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    await told.disconnect("c", actor="bob")
    upkeep = told.upkeep(HOOK)
    await upkeep.catch_up()
    about = {"connection": "c", "app": "legacy"}
    assert receiver.messages() == [
        ("connection.connected", about | {"label": "John Doe", "created": True}),
        ("connection.needs_reauthorization", about | {"reason": "The provider answered 400: invalid_grant: revoked"}),
        ("connection.connected", about | {"label": "John Doe", "created": False}),
        ("connection.disconnected", about),
    ]
    for request in receiver.got:
        assert request.url == HOOK.url
        assert header(request, "webhook-timestamp") == str(int(NOW))
        assert header(request, "webhook-signature") == signature(
            HOOK.secret,
            message_id=header(request, "webhook-id"),
            timestamp=int(NOW),
            body=request.body.decode(),
        )
    assert len({header(request, "webhook-id") for request in receiver.got}) == 4
    assert await told._store.deliveries.next_at() is None


async def test_no_secret_is_in_a_message(house: House, told: Vault, receiver: Receiver) -> None:
    await told.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    house.provider.scripted = [
        as_json(400, error="invalid_grant", error_description="rt-1-secret, at-1-secret of app-s3cret")
    ]
    with suppress(AuthorizationServerError):
        await told.refresh("c")
    await told.disconnect("c", actor="bob")
    await told.upkeep(HOOK).catch_up()
    sent = b"".join(request.body for request in receiver.got)
    assert len(receiver.got) == 3
    for secret in (b"at-1-secret", b"rt-1-secret", b"ann-passw0rd", b"app-s3cret", b"whsec", b"in-the-url"):
        assert secret not in sent


async def test_a_message_outlives_the_process_that_wrote_it(house: House, receiver: Receiver) -> None:
    async with house.vault(egress=receiver, announces=True) as command:
        await command.connect("legacy", connection_id="c", fields=ANN, actor="cli")
    assert receiver.got == []
    async with house.vault(egress=receiver, announces=True) as server:
        await server.upkeep(HOOK).catch_up()
    assert [kind for kind, _ in receiver.messages()] == ["connection.connected"]


async def test_what_fails_is_tried_again_with_the_same_id_a_new_signature_and_the_later_ones_wait(
    house: House, told: Vault, receiver: Receiver
) -> None:
    await told.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    await told.disconnect("c", actor="bob")
    house.provider.me = as_json(200, id="u2", name="Jane")
    await told.connect("legacy", connection_id="other", fields=ANN, actor="ann")
    receiver.answers = [as_json(500)]
    upkeep = told.upkeep(HOOK)
    await upkeep.catch_up()
    tried = [(kind, data["connection"]) for kind, data in receiver.messages()]
    assert tried == [("connection.connected", "c"), ("connection.connected", "other")], "another connection's goes on"
    house.clock.now += 6
    await upkeep.catch_up()
    tried = [(kind, data["connection"]) for kind, data in receiver.messages()][2:]
    assert tried == [("connection.connected", "c"), ("connection.disconnected", "c")]
    first, again = receiver.got[0], receiver.got[2]
    assert header(first, "webhook-id") == header(again, "webhook-id")
    assert header(first, "webhook-signature") != header(again, "webhook-signature")
    assert header(again, "webhook-timestamp") == str(int(NOW + 6))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (as_json(500), "The webhook answered 500."),
        (as_json(302), "The webhook answered 302."),
        (down(), "id.test could"),
    ],
)
async def test_what_never_arrives_is_given_up_after_three_days_and_the_trail_says_so(
    house: House, told: Vault, receiver: Receiver, answer: Any, reason: str
) -> None:
    await told.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    receiver.answers = [answer] * 99
    upkeep, pauses = told.upkeep(HOOK), []
    while (at := await told._store.deliveries.next_at()) is not None:
        pauses.append(at - house.clock.now)
        house.clock.now = at
        await upkeep.catch_up()
    planned = (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    assert len(pauses) == len(receiver.got) == len(planned)
    assert all(plan <= pause <= plan * 1.1 for pause, plan in zip(pauses, planned, strict=True)), pauses
    (given_up,) = await events(told, "webhook.given_up")
    assert (given_up["type"], given_up["attempts"]) == ("connection.connected", 10)
    assert given_up["reason"].startswith(reason)
    assert "in-the-url" not in json.dumps(given_up)


async def test_a_receiver_that_is_gone_for_good_is_asked_once(told: Vault, receiver: Receiver) -> None:
    await told.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    receiver.answers = [as_json(410)]
    await told.upkeep(HOOK).catch_up()
    assert len(receiver.got) == 1
    assert len(await events(told, "webhook.given_up")) == 1


async def test_without_a_webhook_nothing_is_written(vault: Vault) -> None:
    await vault.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    await vault.disconnect("c", actor="bob")
    assert await vault._store.deliveries.next_at() is None


async def test_two_servers_send_each_message_once(house: House, told: Vault, receiver: Receiver) -> None:
    await told.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    async with house.vault(egress=receiver, announces=True) as other:
        row = await other._store.deliveries.claim(9, now=NOW, until=NOW + 60)
        await told.upkeep(HOOK).catch_up()
    assert len(row) == 1
    assert receiver.got == [], "the other server has it"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://127.0.0.1:1/", "this machine itself"),
        ("http://169.254.169.254/latest", "metadata"),
        ("http://[::ffff:10.0.0.1]/", "10.0.0.1"),
    ],
)
async def test_a_webhook_inside_the_network_is_not_reached(
    told: Vault, url: str, why: str, until_sent: Callable[..., Any]
) -> None:
    await told.connect("legacy", connection_id="c", fields=ANN, actor="ann")
    said = await until_sent(told, url)
    assert why in said


@pytest.fixture
async def until_sent(house: House) -> AsyncIterator[Callable[..., Any]]:
    """Try once through the real way out; return what is written down of it."""
    egress = Egress()

    async def send(vault: Vault, url: str) -> str:
        chore = Deliverer(
            Webhook(url=url, secret=Secret("k")),
            deliveries=vault._store.deliveries,
            egress=egress,
            audit=vault._audit,
            clock=house.clock,
            random=Random(1),
        )
        for message in await chore.claim(1):
            await chore.do(message)
        house.clock.now += 60
        (left,) = await vault._store.deliveries.claim(1, now=house.clock.now, until=house.clock.now)
        assert left.attempts == 1
        return left.last_error or ""

    yield send
    await egress.close()
