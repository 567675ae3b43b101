"""What goes out, within what the policies say and the services ask for: a gate for each connection, and for each app.

A request goes through its connection's gate first and its app's then; `Permit` is what it has while it is under way.
"""

import asyncio
import math

import structlog

from gateway.errors import GatewayError, Refusal
from gateway.metrics import Metrics
from gateway.policy.limits import Limits
from gateway.proxy.gate import Gate, Turned
from gateway.proxy.ledger import RENEW_EVERY, Desk, Ledger, Timer

_TICK = 1.0  # seconds between looks at who needs which slots
_PRUNE_EVERY = 60.0  # seconds between looks for gates that nobody goes through any more
_CONNECTION, _APP = "connection", "app"
_log = structlog.get_logger("gateway.proxy")


class Permit:
    """What a request has that may be under way; it gives it back once, by `leave`."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: Gate, second: Gate | None) -> None:
        self._first, self._second = first, second

    def leave(self) -> None:
        """Make room."""
        self._first.leave()
        if self._second is not None:
            self._second.leave()


class Limiter:
    """The gates of one process. Without a `ledger` it counts alone: no other process serves.

    `metrics` hears of each request that had to wait or was turned away, and at which kind of gate.
    """

    def __init__(self, ledger: Ledger | None, timer: Timer, metrics: Metrics) -> None:
        self._metrics = metrics
        self._ledger, self._timer = ledger, timer
        self._desk = Desk(ledger, timer, back=self._forget_slots)
        self._connections: dict[str, Gate] = {}
        self._apps: dict[str, Gate] = {}
        self._renew_at = self._prune_at = 0.0

    def enter(self, limits: Limits, connection_id: str, app: str) -> Permit | None:
        """Let a request through if that can be without waiting."""
        first, second = self._gates(limits, connection_id, app)
        now = self._timer.time()
        if not first.enter(now):
            return None
        if second is not None and not second.enter(now):
            first.put_back()
            return None
        return Permit(first, second)

    async def wait(self, limits: Limits, connection_id: str, app: str, client: str) -> Permit | Refusal:
        """Let a request through as soon as that can be, or say why it can't be within the policy's time."""
        first, second = self._gates(limits, connection_id, app)
        until = self._timer.time() + limits.wait
        turned = await self._through(first, client, until)
        if turned is not None:
            return _refusal(turned, first, app)
        if second is None:
            return Permit(first, None)
        try:
            turned = await self._through(second, client, until)
        except asyncio.CancelledError:
            first.put_back()
            raise
        if turned is not None:
            first.put_back()
            return _refusal(turned, second, app)
        return Permit(first, second)

    def pause(self, limits: Limits, connection_id: str, app: str, seconds: float) -> None:
        """Let nothing more through for so long: the service has asked for that. All replicas are told."""
        first, second = self._gates(limits, connection_id, app)
        gate = second or first
        ledger = self._desk.ledger
        if gate.pause(self._timer.time() + seconds) and ledger is not None:
            self._desk.ask(self._tell(ledger, gate.key, seconds))

    def heard(self, key: str) -> None:
        """Take up a pause that another replica was asked for. An empty key: whatever there may be."""
        if not key:
            for gate in (*self._connections.values(), *self._apps.values()):
                gate.learn()
            return
        kind, name = key.partition(":")[::2]
        known = (self._apps if kind == _APP else self._connections).get(name)
        if known is not None:
            known.learn()

    async def run(self) -> None:
        """See to it that slots are where they are needed, until cancelled; then give them back."""
        try:
            while True:
                await asyncio.sleep(_TICK)
                try:
                    await self.tick()
                except GatewayError as error:
                    self._desk.lost(error)
        finally:
            self._desk.close()
            if self._ledger is not None:
                try:
                    await self._ledger.leave()
                except GatewayError as error:
                    _log.info("limits.not_given_back", detail=error.refusal.detail)

    async def tick(self) -> None:
        """Renew the lease, and give back what others need more. Raises `StoreError`."""
        now = self._timer.time()
        gates = [*self._connections.values(), *self._apps.values()]
        ledger = self._desk.ledger
        holders = [gate for gate in gates if gate.holds_slots]
        if ledger is not None and holders:
            if now >= self._renew_at:
                if not await ledger.renew():
                    self._forget_slots()
                self._renew_at = now + RENEW_EVERY
            contended = frozenset(await ledger.contended())
            for gate in holders:
                gate.look_at_slots(contended=gate.key in contended)
        elif ledger is not None:
            ledger.let_lapse()
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_EVERY
            for known in (self._connections, self._apps):
                for name in [name for name, gate in known.items() if gate.is_idle(now)]:
                    del known[name]

    def _gates(self, limits: Limits, connection_id: str, app: str) -> tuple[Gate, Gate | None]:
        """Return the gates of a request; a connection without a quota of its own has none beside its app's."""
        wait = limits.wait
        one, all_together = limits.connection, limits.app
        of_app = None
        if all_together is not None:
            of_app = self._apps.get(app)
            if of_app is None:
                of_app = self._apps[app] = Gate(f"{_APP}:{app}", self._desk, all_together, wait)
            of_app.obey(all_together, wait)
            if one.requests_per_second is None and one.concurrency is None:
                return of_app, None
        first = self._connections.get(connection_id)
        if first is None:
            first = self._connections[connection_id] = Gate(f"{_CONNECTION}:{connection_id}", self._desk, one, wait)
        first.obey(one, wait)
        return first, of_app

    async def _through(self, gate: Gate, client: str, until: float) -> Turned | None:
        if gate.enter(self._timer.time()):
            return None
        self._metrics.throttled(gate.key.partition(":")[0])
        return await gate.wait(client, until)

    def _forget_slots(self) -> None:
        """The store counts anew: what this process had, or gave itself meanwhile, is nobody's."""
        for gates in (self._connections, self._apps):
            for gate in gates.values():
                gate.forget_slots()

    async def _tell(self, ledger: Ledger, key: str, seconds: float) -> None:
        try:
            await ledger.pause(key, seconds)
        except GatewayError as error:
            self._desk.lost(error)


def _refusal(turned: Turned, gate: Gate, app: str) -> Refusal:
    whose = "this connection" if gate.key.startswith(f"{_CONNECTION}:") else f"the app {app}"
    seconds = max(1, math.ceil(turned.seconds))
    detail, hint = _WORDS[turned.why]
    return Refusal(
        code="rate_limited",
        detail=detail.format(whose=whose, seconds=seconds),
        hint=hint.format(app=app),
        retry_after=seconds,
    )


_SET = "[limits] in policies/{app}.toml sets this; with `wait` there, a request may wait for its turn."
_WORDS = {
    "paused": (
        "The service takes nothing more of {whose} for now: it has asked for a pause, of which {seconds} s are left.",
        "Come back then. The service's own limits decide about it.",
    ),
    "rate": ("As many requests of {whose} were sent in this second as its policy lets through.", _SET),
    "concurrency": ("As many requests of {whose} are under way as its policy lets through.", _SET),
    "queue": ("Too many requests of this client wait for their turn at {whose}.", _SET),
}
