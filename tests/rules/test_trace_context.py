"""Where a request is a part of a trace, it stays one: `traceparent` goes on as it came, or as ours below it."""

import json

import pytest

from tests.http.test_trace_context import RIGHT, SPAN, TRACE
from tests.proxy.collector import collecting, following
from tests.proxy.harness import Caller
from tests.rules.entrances import BEARER, Entrance

STATE = b"rojo=00f067aa0ba902b7, congo=t61rcWkgMzE"
FIELDS = b"Traceparent: %b\r\ntracestate: %b\r\n" % (RIGHT, STATE)


def field(request: bytes, name: bytes) -> list[bytes]:
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return [line.partition(b": ")[2] for line in lines if line.lower().startswith(name + b":")]


async def test_without_tracing_it_passes_unchanged_and_the_log_has_its_id(entrance: Entrance, caller: Caller) -> None:
    await caller.ask(entrance.request(fields=FIELDS))
    await caller.ask(entrance.request(fields=b"traceparent: none of it\r\n"))
    await caller.ask(entrance.request())
    assert FIELDS in entrance.requests[0]
    assert field(entrance.requests[1], b"traceparent") == [b"none of it"]
    entrance.gateway.log.flush()
    lines = [json.loads(line) for line in entrance.gateway.log._stream.getvalue().splitlines()]
    assert [line.get("trace_id") for line in lines] == [TRACE.decode(), None, None]


async def test_with_tracing_the_service_gets_ours_as_its_child(
    entrance: Entrance, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with collecting() as collector:
        async with following(monkeypatch, collector) as tracer:
            entrance.gateway.server._listener.services.tracer = tracer
            await caller.ask(entrance.request(fields=FIELDS))
        server = next(span for span in collector.spans if span.kind == "server")
        client = next(span for span in collector.spans if span.kind == "client")
    assert (server.trace_id, server.parent_id) == (TRACE.decode(), SPAN.decode())
    assert (client.trace_id, client.parent_id) == (TRACE.decode(), server.span_id)
    (sent,) = field(entrance.requests[0], b"traceparent")
    assert sent.decode() == f"00-{TRACE.decode()}-{client.span_id}-01"
    assert field(entrance.requests[0], b"tracestate") == [STATE]
    entrance.gateway.log.flush()
    line = json.loads(entrance.gateway.log._stream.getvalue().splitlines()[0])
    assert (line["trace_id"], line["request_id"]) == (TRACE.decode(), server.attributes["gateway.request_id"])
    assert server.attributes["gateway.entrance"] == line["entrance"]


@pytest.mark.parametrize(
    "fields",
    [
        b"traceparent: " + RIGHT.upper() + b"\r\ntracestate: a=1\r\n",
        b"traceparent: %b\r\ntraceparent: %b\r\ntracestate: a=1\r\n" % (RIGHT, RIGHT),
        b"tracestate: a=1\r\n",
        b"",
    ],
    ids=["malformed", "twice", "state alone", "nothing"],
)
async def test_what_cannot_be_believed_is_replaced_by_a_trace_of_our_own(
    plain: Entrance, monkeypatch: pytest.MonkeyPatch, fields: bytes
) -> None:
    caller = await plain.open()
    async with collecting() as collector:
        async with following(monkeypatch, collector) as tracer:
            plain.gateway.server._listener.services.tracer = tracer
            await caller.ask(plain.request(fields=fields))
        server = next(span for span in collector.spans if span.kind == "server")
    assert server.parent_id == ""
    assert server.trace_id != TRACE.decode()
    (sent,) = field(plain.requests[0], b"traceparent")
    assert server.trace_id.encode() in sent
    assert field(plain.requests[0], b"tracestate") == []


async def test_a_state_that_is_malformed_ends_here_and_what_a_policy_adds_wins(
    plain: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await plain.open()
    async with collecting() as collector, following(monkeypatch, collector) as tracer:
        plain.gateway.server._listener.services.tracer = tracer
        await caller.ask(plain.request(fields=b"traceparent: %b\r\ntracestate: a=1,a=2\r\n" % RIGHT))
        plain.connect(inject=f'{BEARER}traceparent = "00-theirs"\n')
        await caller.ask(plain.request(fields=FIELDS))
    assert TRACE in field(plain.requests[0], b"traceparent")[0]
    assert field(plain.requests[0], b"tracestate") == []
    assert field(plain.requests[1], b"traceparent") == [b"00-theirs"]


async def test_who_was_not_to_be_followed_is_not_and_the_service_hears_that(
    plain: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await plain.open()
    async with collecting() as collector:
        async with following(monkeypatch, collector, OTEL_TRACES_SAMPLER="parentbased_traceidratio") as tracer:
            plain.gateway.server._listener.services.tracer = tracer
            await caller.ask(plain.request(fields=b"traceparent: %b00\r\n" % RIGHT[:-2]))
        assert collector.spans == []
    (sent,) = field(plain.requests[0], b"traceparent")
    assert sent.startswith(b"00-" + TRACE)
    assert sent.endswith(b"-00")
