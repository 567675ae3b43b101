"""Structured logs on standard error: `log.info("token.refreshed", connection="crm-ann")` as a console line or as JSON.

Every module asks structlog for its own logger (`structlog.get_logger()`); nothing is written before `configure_log`.
A `Secret` shows as `***` wherever it stands in a value, because the type says so and not because a pattern found it.
Control characters in values are escaped: what a caller sends can't forge a line. Standard-library loggers
(aiohttp, SQLAlchemy, Alembic) come out the same way. One line is one `write`; only events that are rare in the
data plane are logged here, so that the event loop isn't held up (requests have a log of their own).
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import orjson
import structlog
from structlog.typing import Processor

from gateway.secret import MASK, Secret

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_log(
    *, form: Literal["console", "json"] = "console", level: str = "info", stream: TextIO | None = None
) -> None:
    """Send every log event of this process to `stream` (standard error) in this form, from this level up."""
    out = stream or sys.stderr
    processors = _processors(form, colors=form == "console" and out.isatty())
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,  # a test or a command may configure again
    )
    _route_standard_library(processors, out, level)


def _processors(form: Literal["console", "json"], *, colors: bool) -> list[Processor]:
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if form == "json":
        return [*first, structlog.processors.format_exc_info, mask, _render_json]
    console = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    return [*first, mask, escape, console]


def mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put `***` where a `Secret` stands, in nested containers too."""
    for key, value in event.items():
        event[key] = _masked(value)
    return event


def _masked(value: Any) -> Any:
    match value:
        case Secret():
            return MASK
        case Mapping():
            return {_masked(key): _masked(one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked(one) for one in value]
        case _:
            return value


def escape(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    r"""Write control characters as `\x1b`, so that one event is one line and no terminal is talked to."""
    for key, value in event.items():
        if isinstance(value, str) and key not in {"exception", "stack"}:
            event[key] = CONTROL.sub(lambda found: repr(found[0])[1:-1], value)
    return event


def _render_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # bytes that are no UTF-8, as in the name of a file: orjson refuses them, an event is not lost
        return json.dumps(event, default=repr, separators=(",", ":"))


def _route_standard_library(processors: list[Processor], out: TextIO, level: str) -> None:
    root = logging.getLogger()
    root.handlers = [_Bridge(processors, out)]
    root.setLevel(max(logging.WARNING, LEVELS[level]))
    logging.captureWarnings(capture=True)
    sys.unraisablehook = _log_unraisable


def _log_unraisable(fault: "sys.UnraisableHookArgs") -> None:
    """Log what C code can't raise, such as a server name in a TLS handshake that is no text, as one line like any."""
    structlog.get_logger("gateway").warning("unraisable", error=repr(fault.exc_value), where=repr(fault.object))


class _Bridge(logging.Handler):
    """Takes a standard-library record through the same processors."""

    def __init__(self, processors: list[Processor], out: TextIO) -> None:
        super().__init__()
        self._processors = processors
        self._write: Callable[[str], int] = out.write
        self._flush = out.flush

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: Any = {"event": record.getMessage(), "logger": record.name}
            if record.exc_info:
                event["exc_info"] = record.exc_info
            for processor in self._processors:
                event = processor(None, record.levelname.lower(), event)
            self._write(str(event) + "\n")
            self._flush()
        except Exception:  # noqa: BLE001 - a log line that can't be written must not end what it tells of
            self.handleError(record)
