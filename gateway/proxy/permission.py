"""May a request go out, and, once it has, may it go on: an answer or a WebSocket can last for days."""

import asyncio

from gateway.errors import GatewayError, Refusal
from gateway.http.request import RequestHead
from gateway.http.target import Target
from gateway.policy.match import Decision, Denied
from gateway.proxy.admission import Admission
from gateway.proxy.entrances import Route
from gateway.proxy.services import Services
from gateway.vault import Live


def decide(live: Live, head: RequestHead, target: Target) -> Decision:
    """Decide on a request by its method, and by the one that a server may take for it."""
    decision = live.matcher.decide(head.method, target)
    override = head.method_override
    if override is not None and not isinstance(decision, Denied):
        as_served = live.matcher.decide(override, target)
        return as_served if isinstance(as_served, Denied) else decision
    return decision


class Permission:
    """What a request that is under way was let out for. `live` and `target` are what it was decided by."""

    def __init__(
        self,
        services: Services,
        admission: Admission,
        *,
        route: Route,
        head: RequestHead,
        live: Live,
        target: Target,
    ) -> None:
        self._services, self._admission = services, admission
        self._route, self._head, self._target = route, head, target
        self._seen = live
        self._gone = False
        self._loading: asyncio.Task[None] | None = None

    def holds(self) -> bool:
        """Whether its client may still use its connection, and the connection's policy still allows it."""
        if self._gone or isinstance(self._admission.admit(self._route.tag, self._route.entrance), Refusal):
            return False
        live = self._services.vault.peek(self._route.tag.connection_id)
        if live is not None:
            return self._allowed_by(live)
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._load())
        return True

    def _allowed_by(self, live: Live) -> bool:
        if live is self._seen:
            return True
        if live.refusal is not None or isinstance(decide(live, self._head, self._target), Denied):
            return False
        self._seen = live
        return True

    async def _load(self) -> None:
        try:
            live = await self._services.vault.live(self._route.tag.connection_id)
        except GatewayError:
            return  # the store is away: what was allowed goes on until it says otherwise
        finally:
            self._loading = None
        self._gone = live is None or not self._allowed_by(live)
