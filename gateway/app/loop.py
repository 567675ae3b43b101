"""The event loop of a serving process: uvloop where it is installed, asyncio's own elsewhere. And its collector."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")
_YOUNG = 20_000  # objects between collections: some megabytes, should they all be garbage


def run_on_uvloop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run work to its end."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def settle() -> None:
    """Have the garbage collector leave alone what was built to start with, and come by seldom.

    A request makes no cycles, so what a collection finds are the connections that are loaded, alive: walking them
    again and again took a tenth of the CPU where thousands are.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 50)
    gc.enable()
