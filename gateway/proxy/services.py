"""What the data plane is handed by the composition root, in one value."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gateway.access import Access
from gateway.attempts import Attempts
from gateway.metrics import Metrics
from gateway.proxy.access_log import AccessLog
from gateway.proxy.certs import Authority
from gateway.proxy.limiter import Limiter
from gateway.proxy.pool import Pool
from gateway.proxy.tracing import Tracer
from gateway.settings import Settings
from gateway.vault import Vault


@dataclass(slots=True, kw_only=True)
class Services:
    """Collaborators and limits.

    `limiter` lets requests through where their policy has limits; `chance` (0 to 1) spreads tries that are made again;
    `entropy(n)` gives random bytes. `via_name` is this gateway in `Via`. `clock` gives epoch seconds, `time` monotonic
    ones. `background` runs what nobody waits for. `guesses` are wrong client tokens by address; `strangers` what the
    log has had of callers that nobody knows. `tracer` is None where nobody follows traces.
    """

    vault: Vault
    access: Access
    pool: Pool
    certs: Authority
    metrics: Metrics
    log: AccessLog
    settings: Settings
    via: bytes  # the whole line
    via_name: bytes
    clock: Callable[[], float]
    time: Callable[[], float]
    request_id: Callable[[], str]
    background: Callable[[Coroutine[Any, Any, Any]], None]
    guesses: Attempts
    strangers: Attempts
    tracer: Tracer | None
    limiter: Limiter
    chance: Callable[[], float]
    entropy: Callable[[int], bytes]
