"""Work beside other work, for as long as that lasts."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

log = structlog.get_logger()


@asynccontextmanager
async def tasks(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run work beside; one that fails is logged, for the rest must go on. At the end all of it is cancelled."""
    running_tasks = [asyncio.create_task(one) for one in work]
    for task in running_tasks:
        task.add_done_callback(_tell)
    try:
        yield
    finally:
        for task in running_tasks:
            task.cancel()
        await asyncio.gather(*running_tasks, return_exceptions=True)


def _tell(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("gateway.task_failed", task=task.get_coro(), exc_info=error)
