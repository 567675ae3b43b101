"""How a serving process is told something: to end, or to read again."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import structlog

from gateway.app.compose import Gateway

log = structlog.get_logger()


@asynccontextmanager
async def heeding(handlers: Mapping[signal.Signals, Callable[[], None]]) -> AsyncIterator[None]:
    """Heed these signals while the body runs."""
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def end_by(stop: asyncio.Event, at_once: Callable[[], None]) -> Callable[[], None]:
    """Return a handler that ends this process, the second time at once; `at_once` is called before it is gone.

    It may be ending already, having handed over: the first time changes nothing then.
    """
    told = False

    def end() -> None:
        nonlocal told
        if told:  # asked twice: whoever asks doesn't want to wait
            at_once()
            os._exit(1)
        told = True
        stop.set()

    return end


def read_again(gateway: Gateway) -> None:
    """Read the policies and the trusted authorities anew. What can't be read stays as it was; the log says why."""
    try:
        changed = gateway.catalog.load()
    except OSError as error:
        directory, hint = str(gateway.catalog.directory), "The policies that were read before are in force."
        log.error("policies.not_reloaded", directory=directory, reason=error.strerror, hint=hint)  # noqa: TRY400 - no fault of ours
    else:
        for app in changed:
            gateway.vault.forget("policy", app)
        log.info("policies.reload", changed=len(changed), faults=len(gateway.catalog.findings))
    try:
        file = gateway.egress.read_trust_again()
    except OSError as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        hint = "The authorities that were read before are trusted."
        log.error("trust.not_reloaded", file=error.filename, reason=reason, hint=hint)  # noqa: TRY400 - as above
    else:
        log.info("trust.reload", file=file)
