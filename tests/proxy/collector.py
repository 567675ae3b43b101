"""A collector of traces: OTLP over HTTP, as OpenTelemetry's exporter speaks it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

from gateway.app.telemetry import tracing
from gateway.proxy.tracing import Tracer
from tests.proxy.harness import Service

KINDS = {Message.SPAN_KIND_SERVER: "server", Message.SPAN_KIND_CLIENT: "client", Message.SPAN_KIND_INTERNAL: "step"}
TOOK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Span:
    """One span, as it came."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    events: list[str]
    failed: bool
    seconds: float
    resource: dict[str, Any]


class Collector:
    """What was sent: the bytes, and the spans in them."""

    def __init__(self) -> None:
        self.service = Service()
        self.service.script = [TOOK]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    @property
    def raw(self) -> bytes:
        return b"".join(self.service.requests)

    @property
    def spans(self) -> list[Span]:
        """Every span so far, the one that began first first."""
        found = []
        for request in self.service.requests:
            head, _, content = request.partition(b"\r\n\r\n")
            assert head.startswith(b"POST /v1/traces HTTP/1.1\r\n")
            for batch in ExportTraceServiceRequest.FromString(content).resource_spans:
                resource = _attributes(batch.resource.attributes)
                found += [(span, resource) for scope in batch.scope_spans for span in scope.spans]
        found.sort(key=lambda one: one[0].start_time_unix_nano)
        return [_span(span, resource) for span, resource in found]


def _span(span: Message, resource: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        kind=KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        events=[event.name for event in span.events],
        failed=span.status.code == 2,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        resource=resource,
    )


def _attributes(found: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in found}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    await collector.service.start()
    yield collector
    await collector.service.stop()


@asynccontextmanager
async def following(monkeypatch: pytest.MonkeyPatch, collector: Collector, **variables: str) -> AsyncIterator[Tracer]:
    """Who follows requests and tells this collector: all of it when the block ends."""
    for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **variables}.items():
        monkeypatch.setenv(name, value)
    async with tracing() as tracer:
        assert tracer is not None
        yield tracer
