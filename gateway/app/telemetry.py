"""Traces for OpenTelemetry: configured by its own variables, and there only where they and the extra `otel` are.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/. `OTEL_EXPORTER_OTLP_ENDPOINT` turns
them on. Spans go to that collector from a thread of their own, in batches, and are dropped where it doesn't keep up: no
request waits for it.

The collector is called by OpenTelemetry's exporter and not through `egress`, as the database is by its driver: its
address stands in the operator's environment, is nearly always an inner one, and no caller or policy has a say in it.
What else is in the environment (proxies, netrc) has none either.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING

import structlog

from gateway import __version__
from gateway.errors import GatewayError
from gateway.http.trace_context import TraceParent
from gateway.proxy.tracing import Attributes, Trace, Tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span
    from opentelemetry.trace import Tracer as Maker

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SERVICE = "connection-gateway"
FLUSH_SECONDS = 1.5
"""At the end, for the last spans: less than the silence by which a worker seems to hang (`workers.SILENCE`)."""

log = structlog.get_logger()


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces."""
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none"
    return not off and not none and any(environ.get(name, "").strip() for name in ENDPOINTS)


@asynccontextmanager
async def tracing(environ: Mapping[str, str] = os.environ) -> AsyncIterator[Tracer | None]:
    """Give who follows requests, or None; at the end the last spans are sent. `environ` is the process's own."""
    if not wanted(environ):
        yield None
        return
    try:
        provider = _provider()
    except ModuleNotFoundError as error:
        log.warning("tracing.not_installed", missing=error.name, hint="Install connection-gateway[otel].")
        yield None
        return
    log.info("tracing.on", service=provider.resource.attributes["service.name"])
    try:
        yield _Tracer(provider.get_tracer("gateway", __version__))
    finally:
        await _within(FLUSH_SECONDS, provider)


def _provider() -> "TracerProvider":
    import requests  # noqa: PLC0415 - of the extra, as are the others
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    session = requests.Session()
    session.trust_env = False
    ours = Resource.create({"service.name": SERVICE, "service.version": __version__, "process.pid": os.getpid()})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(session=session)))
    return provider


async def _within(seconds: float, provider: "TracerProvider") -> None:
    """Send what is left, but don't wait for a collector that is away: the thread is nobody's to wait for at the end."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # nobody waits any more, and the loop is closed
            loop.call_soon_threadsafe(done.set)

    Thread(target=end, daemon=True, name="traces").start()
    try:
        await asyncio.wait_for(done.wait(), seconds)
    except TimeoutError:
        log.warning("tracing.not_sent", hint="The collector didn't take the last spans in time.")


class _Tracer:
    """Begins spans."""

    def __init__(self, maker: "Maker") -> None:
        self._maker = maker

    def begin(
        self, parent: TraceParent | None, state: bytes, *, name: str, attributes: Attributes, age: float
    ) -> Trace:
        """Follow a request."""
        from opentelemetry.context import Context  # noqa: PLC0415 - as above; from here on these are look-ups
        from opentelemetry.trace import (  # noqa: PLC0415
            NonRecordingSpan,
            SpanContext,
            SpanKind,
            TraceFlags,
            TraceState,
            set_span_in_context,
        )

        context = Context()
        if parent is not None:
            caller = SpanContext(
                int(parent.trace_id, 16),
                int(parent.span_id, 16),
                is_remote=True,
                trace_flags=TraceFlags(parent.flags),
                trace_state=TraceState.from_header([state.decode("ascii")]),
            )
            context = set_span_in_context(NonRecordingSpan(caller), context)
        began = time.time_ns() - int(age * 1e9)
        span = self._maker.start_span(
            name, context=context, kind=SpanKind.SERVER, attributes=attributes, start_time=began
        )
        return _Trace(self._maker, span)


class _Trace:
    """One request's spans: the server's, and below it what is waited for and each try upstream."""

    def __init__(self, maker: "Maker", server: "Span") -> None:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - as above

        self._maker, self._server = maker, server
        self._context = set_span_in_context(server)
        self._client: Span | None = None
        self.trace_id = f"{server.get_span_context().trace_id:032x}"

    def event(self, name: str, attributes: Attributes) -> None:
        """Note what has happened."""
        self._server.add_event(name, attributes)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Follow what is waited for. What goes wrong is told by its code: a text could hold anything."""
        span = self._maker.start_span(name, context=self._context)
        try:
            yield
        except GatewayError as error:
            _fail(span, error.refusal.code)
            raise
        finally:
            span.end()

    def sent(self, name: str, attributes: Attributes) -> bytes:
        """Follow a try upstream; the one before, if any, is over."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - as above

        self.received(error="")
        self._client = span = self._maker.start_span(
            name, context=self._context, kind=SpanKind.CLIENT, attributes=attributes
        )
        sent = span.get_span_context()
        return b"00-%032x-%016x-%02x" % (sent.trace_id, sent.span_id, sent.trace_flags)

    def answered(self, status: int) -> None:
        """Note that an answer has begun."""
        if self._client is not None:
            self._client.set_attribute("http.response.status_code", status)
            self._client.add_event("gateway.answer_begun")
            if status >= 400:  # noqa: PLR2004 - semantic conventions for HTTP: a client's span fails from there on
                _fail(self._client, str(status))

    def received(self, *, error: str) -> None:
        """Note that an answer is complete, or isn't to be."""
        client, self._client = self._client, None
        if client is None:
            return
        if error:
            _fail(client, error)
        client.end()

    def ended(self, attributes: Attributes, *, name: str, error: str) -> None:
        """Note how it ended."""
        self.received(error=error)
        self._server.update_name(name)
        self._server.set_attributes(attributes)
        if error:
            _fail(self._server, error)
        self._server.end()


def _fail(span: "Span", error: str) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415 - as above

    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)
