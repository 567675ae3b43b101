"""The webhook: each message signed, tried again until it arrives, and told of when it doesn't.

The scheme is Standard Webhooks (standardwebhooks.com, "Signature scheme"): `webhook-id`, `webhook-timestamp` (epoch
seconds of this try) and `webhook-signature`, `v1,` and the Base64 of HMAC-SHA256 over id, timestamp and body with dots
between. Whoever receives compares the signature, refuses old timestamps, and heeds an id once: a message can come
twice.
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import structlog

from gateway.audit import Audit
from gateway.errors import UpstreamError
from gateway.oauth.message import OutgoingRequest
from gateway.secret import Secret
from gateway.store.deliveries import Deliveries
from gateway.store.rows import DeliveryRow
from gateway.vault.provider import WayOut
from gateway.vault.upkeep import TOLD_LONGEST

# Seconds between tries: the schedule that Standard Webhooks proposes. After the last one it is given up: some 3 days.
PAUSES = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
CALL_SECONDS = 15.0
CLAIM_SECONDS = 60.0  # longer than a call
ANSWER_LIMIT = 64 * 1024  # bytes; nothing of it is read but the status
PREFIX = "whsec_"
_GONE = 410  # "the consumer is no longer interested": nothing is tried again
_DELIVERED = range(200, 300)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where messages go, and what they are signed with."""

    url: str
    secret: Secret


def signature(secret: Secret, *, message_id: str, timestamp: int, body: str) -> str:
    """Return the value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()


def _key(secret: Secret) -> bytes:
    """Return the key: Base64 behind `whsec_`, as the libraries have it; anything else is taken as it stands."""
    text = secret.reveal()
    if text.startswith(PREFIX):
        try:
            return base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            pass
    return text.encode()


class Deliverer:
    """The chore of sending messages. `clock` gives epoch seconds."""

    name = "webhook"
    longest = TOLD_LONGEST

    def __init__(
        self,
        webhook: Webhook,
        *,
        deliveries: Deliveries,
        egress: WayOut,
        audit: Audit,
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        self._webhook = webhook
        self._deliveries = deliveries
        self._egress = egress
        self._audit = audit
        self._clock = clock
        self._random = random

    async def next_at(self) -> float | None:
        """Return when the next try is due."""
        return await self._deliveries.next_at()

    async def claim(self, limit: int) -> Sequence[DeliveryRow]:
        """Take messages that are due."""
        now = self._clock()
        return await self._deliveries.claim(limit, now=now, until=now + CLAIM_SECONDS)

    async def do(self, message: DeliveryRow) -> None:
        """Try once."""
        status, reason = await self._send(message)
        attempts = message.attempts + 1
        if status in _DELIVERED:
            await self._deliveries.done(message.id)
            return
        _log.warning("webhook.failed", message=message.message_id, connection=message.connection, reason=reason)
        if status == _GONE or attempts > len(PAUSES):
            event = self._audit.event(
                "webhook.given_up",
                actor="gateway",
                app=message.app,
                connection=message.connection,
                message=message.message_id,
                type=message.kind,
                attempts=attempts,
                reason=reason,
            )
            await self._deliveries.done(message.id, (event,))
            return
        pause = PAUSES[attempts - 1] * self._random.uniform(1.0, 1.1)
        await self._deliveries.failed(
            message.id, attempts=attempts, next_try_at=self._clock() + pause, last_error=reason
        )

    async def _send(self, message: DeliveryRow) -> tuple[int | None, str]:
        """Return the status, None where there was no answer, and a sentence on what was wrong."""
        try:
            answer = await self._egress.send(self._request(message), timeout=CALL_SECONDS, limit=ANSWER_LIMIT)
        except UpstreamError as error:
            return None, error.refusal.detail
        return answer.status, f"The webhook answered {answer.status}."

    def _request(self, message: DeliveryRow) -> OutgoingRequest:
        timestamp = int(self._clock())
        signed = signature(self._webhook.secret, message_id=message.message_id, timestamp=timestamp, body=message.body)
        return OutgoingRequest(
            method="POST",
            url=self._webhook.url,
            headers=(
                ("Content-Type", "application/json"),
                ("webhook-id", message.message_id),
                ("webhook-timestamp", str(timestamp)),
                ("webhook-signature", signed),
            ),
            body=message.body.encode(),
            secrets=(self._webhook.secret,),
        )
