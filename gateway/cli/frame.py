"""What every command stands in: where its configuration is, how it opens the gateway, and how it ends.

`exit_status` is the one place where an exception becomes a line and a number.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.settings import Settings

Result = TypeVar("Result")
NO = 1
INTERRUPTED = 130
"""As a shell counts it: 128 and the number of SIGINT."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the options before the command say."""

    config: str = ""

    def settings(self) -> "Settings":
        """Read the configuration. Raises `StartError`."""
        from pathlib import Path

        from gateway.settings import find_config, load_settings

        return load_settings(find_config(Path(self.config) if self.config else None, os.environ))

    @asynccontextmanager
    async def opened(self, *, create: bool = False) -> AsyncIterator["Gateway"]:
        """Open the gateway's store and all that stands on it. `create`: make it where there is none."""
        from gateway.app import open_gateway
        from gateway.app.process import conceal
        from gateway.log import configure_log

        conceal()
        settings = self.settings()
        configure_log(form=settings.log.format, level="debug" if settings.log.level == "debug" else "warning")
        async with open_gateway(settings, create=create) as gateway:
            yield gateway


def frame_of(context: typer.Context) -> Frame:
    """Return the frame that the root command made."""
    found = context.find_root().obj
    return found if isinstance(found, Frame) else Frame()


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """Run one command's work to its end."""
    return asyncio.run(work)


def exit_status(app: Callable[..., Any], arguments: list[str]) -> int:
    """Run the command line; return its status and write the error, if there is one, as one line."""
    try:
        status = app(args=hoisted(arguments), prog_name="gateway", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone, as `| head` does. Python would complain once more while it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO
    except Exception as error:  # noqa: BLE001 - the promise is: never a stack trace
        return _failed(error)
    return status if isinstance(status, int) else 0


def hoisted(arguments: list[str]) -> list[str]:
    """Return the arguments with `--config FILE` in front, wherever before a `--` it stood."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    head, rest = arguments[:end], arguments[end:]
    for index, word in enumerate(head):
        if word == "--config" and index + 1 < len(head):
            return [*head[index : index + 2], *head[:index], *head[index + 2 :], *rest]
        if word.startswith("--config="):
            return [word, *head[:index], *head[index + 1 :], *rest]
    return arguments


def _usage(error: "typer.TyperException") -> int:
    from gateway.cli.output import complain

    message = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    if message:
        complain(message, f"Try: {context.command_path} --help" if context else None)
    return int(getattr(error, "exit_code", 2))


def _failed(error: Exception) -> int:
    from gateway.cli.output import complain
    from gateway.errors import GatewayError

    if not isinstance(error, GatewayError):
        return _fault(error)
    refusal = error.refusal
    faults = [f"{one['path']}: {one['message']}" if one.get("path") else one["message"] for one in refusal.errors]
    *others, last = faults or [refusal.detail]
    for fault in others:
        complain(fault)
    complain(last, refusal.hint)
    return NO


def _fault(error: Exception) -> int:
    """Say that it is our fault. The trace goes to the log, where values are masked, and only when it asks for it."""
    import structlog

    from gateway.cli.output import complain

    complain(f"internal fault: {type(error).__name__}", "To see more, set GATEWAY_LOG__LEVEL=debug and try again.")
    if os.environ.get("GATEWAY_LOG__LEVEL") == "debug":
        from gateway.log import configure_log

        configure_log(level="debug")
        structlog.get_logger().error("cli.fault", exc_info=error)
    return NO


async def each(items: "list[Any]", work: Callable[[Any], Awaitable[None]]) -> None:
    """Do the same to each, one after the other."""
    for item in items:
        await work(item)
