"""The composition root: the only place that picks a store, a clock, a resolver.

compose   `open_gateway`: the parts of a gateway, put together and taken apart
master    the master key: read, or made on the first start
schema    the store's schema, for those who only look at it
process   what the process asks of its system
serving   `serve`: listeners, watchers, what the signals do
sockets   listening sockets: bound, inherited, dealt out
handover  a new version takes them over
signals   how a process is told to end, or to read again
notify    what the service manager is told
tasks     work beside other work
chores    what a server does beside: hear of changes, store the request log
tallying  so are its counts of every request
telemetry traces, for OpenTelemetry
watching  what it looks up about itself for /metrics
workers   several processes on one proxy port
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.app.compose import Gateway, open_gateway

__all__ = ["Gateway", "open_gateway"]


def __getattr__(name: str) -> Any:
    """Import the whole gateway only for those who open it (PEP 562): `schema` and `loop` need little of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gateway.app import compose  # noqa: PLC0415 - as above

    return getattr(compose, name)
