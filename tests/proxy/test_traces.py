"""What a trace tells of a request, and what it never does."""

import json
import logging
import time
from collections.abc import AsyncIterator

import pytest

from gateway.app import telemetry
from gateway.app.telemetry import tracing, wanted
from gateway.errors import AuthorizationServerError, Refusal
from tests.proxy.collector import Collector, Span, collecting, following
from tests.proxy.harness import OK, TOKEN, Caller, Gateway

UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as one:
        yield one


async def told(
    gateway: Gateway, caller: Caller, collector: Collector, monkeypatch: pytest.MonkeyPatch, *requests: bytes
) -> list[Span]:
    """The spans of these requests."""
    async with following(monkeypatch, collector) as tracer:
        gateway.server._listener.services.tracer = tracer
        for request in requests:
            await caller.ask(request)
    return collector.spans


async def test_a_request_is_a_server_span_with_what_it_waited_for_below_it(
    gateway: Gateway, caller: Caller, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.vault.unloaded.add("crm-ann")
    request = gateway.request(path="/v1/users?token=hush", headers=b"X-Secret: hush\r\n", content=b"")
    spans = await told(gateway, caller, collector, monkeypatch, request)
    assert [(span.kind, span.name) for span in spans] == [
        ("server", "GET crm"),
        ("step", "load connection"),
        ("step", "connect"),
        ("client", "GET"),
    ]
    server, load, connect, client = spans
    assert {span.parent_id for span in (load, connect, client)} == {server.span_id}
    assert len({span.trace_id for span in spans}) == 1
    port = gateway.service.port
    request_id = server.attributes.pop("gateway.request_id")
    assert server.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "url.scheme": "http",
        "url.path": "/v1/users",
        "server.address": "127.0.0.1",
        "server.port": port,
        "gateway.entrance": "absolute",
        "gateway.connection": "crm-ann",
        "gateway.client": "runner",
        "gateway.app": "crm",
    }
    assert client.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "url.full": f"http://127.0.0.1:{port}/v1/users",
        "server.address": "127.0.0.1",
        "server.port": port,
    }
    assert (server.events, client.events) == (["gateway.decided"], ["gateway.answer_begun"])
    assert not any(span.failed for span in spans)
    assert server.resource["service.name"] == "connection-gateway"
    assert 0 < client.seconds <= server.seconds < 60
    gateway.log.flush()
    assert json.loads(gateway.log._stream.getvalue())["request_id"] == request_id
    for secret in (b"hush", TOKEN.encode(), b"tok_abcdefgh", b"Authorization"):
        assert secret not in collector.raw


async def test_a_401_is_two_tries_with_the_renewal_between_them(
    gateway: Gateway, caller: Caller, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.connect(refreshable=True)
    gateway.vault.refreshed = lambda _live: gateway.connect(secret="tok_newer", refreshable=True, token_version=2)
    gateway.service.script = [UNAUTHORIZED, OK]
    spans = await told(gateway, caller, collector, monkeypatch, gateway.request())
    tries = [span for span in spans if span.kind == "client"]
    assert [span.attributes["http.response.status_code"] for span in tries] == [401, 200]
    assert [span.attributes.get("http.request.resend_count") for span in tries] == [None, 1]
    assert [span.failed for span in tries] == [True, False]
    assert "renew token" in [span.name for span in spans]
    sent = [request for request in gateway.service.requests if tries[1].span_id.encode() in request]
    assert sent == gateway.service.requests[1:]


async def test_a_request_that_is_tried_again_is_tried_as_often_as_without_a_trace(
    gateway: Gateway, caller: Caller, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.connect(gateway.policy() + "[retry]\nattempts = 3\n")
    gateway.service.script = [b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"]
    spans = await told(gateway, caller, collector, monkeypatch, gateway.request())
    tries = [span for span in spans if span.kind == "client"]
    assert [span.attributes.get("http.request.resend_count") for span in tries] == [None, 1, 2]


async def test_what_goes_wrong_is_told_by_its_code_alone(
    gateway: Gateway, caller: Caller, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.connect(refreshable=True, expires_at=1.0)
    detail = "The provider said: hush."
    gateway.vault.error = AuthorizationServerError(Refusal(code="refresh_failed", detail=detail))
    server, step = await told(gateway, caller, collector, monkeypatch, gateway.request())
    assert (server.failed, server.attributes["error.type"]) == (True, "refresh_failed")
    assert (step.failed, step.attributes) == (True, {"error.type": "refresh_failed"})
    assert b"hush" not in collector.raw


async def test_an_answer_that_never_comes_fails_the_try_and_the_request(
    gateway: Gateway, caller: Caller, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.service.script = [b"nonsense\r\n\r\n"]
    spans = await told(gateway, caller, collector, monkeypatch, gateway.request())
    failed = {span.kind: span.attributes["error.type"] for span in spans if span.failed}
    assert failed == {"server": "upstream_protocol", "client": "upstream_protocol"}


async def test_a_refusal_is_no_fault_of_ours_and_a_stranger_is_not_followed_at_all(
    gateway: Gateway, caller: Caller, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = gateway.request().replace(gateway.origin.encode(), b"http://elsewhere.test")
    (span,) = await told(gateway, caller, collector, monkeypatch, denied, gateway.request(token="gwc_wrong"))
    assert (span.failed, span.attributes["http.response.status_code"]) == (False, 403)
    assert span.attributes["server.address"] == "elsewhere.test"


async def test_a_method_that_somebody_made_up_names_no_span(
    gateway: Gateway, caller: Caller, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = await told(gateway, caller, collector, monkeypatch, gateway.request("PROPFIND"))
    assert {span.name for span in spans} <= {"_OTHER crm", "_OTHER", "connect"}
    assert b"PROPFIND" not in collector.raw


@pytest.mark.parametrize(
    ("variables", "answer"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_tracing_is_on_where_the_environment_names_a_collector(variables: dict[str, str], *, answer: bool) -> None:
    assert wanted(variables) is answer


async def test_without_the_extra_it_is_off_and_the_log_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    async with tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}) as tracer:
        assert tracer is None
    assert "connection-gateway[otel]" in capsys.readouterr().out


async def test_its_own_variables_name_the_service_and_nothing_else_has_a_say(
    gateway: Gateway, caller: Caller, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "our gateway")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k1")
    spans = await told(gateway, caller, collector, monkeypatch, gateway.request())
    assert {span.resource["service.name"] for span in spans} == {"our gateway"}
    assert b"api-key: k1\r\n" in collector.raw


async def test_a_collector_that_is_away_holds_up_no_request_and_no_end(
    gateway: Gateway, caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telemetry, "FLUSH_SECONDS", 0.1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hush@127.0.0.1:1")
    began = time.monotonic()
    with caplog.at_level(logging.DEBUG):
        async with tracing() as tracer:
            gateway.server._listener.services.tracer = tracer
            assert b" 200 OK" in await caller.ask(gateway.request())
    assert time.monotonic() - began < 5
    assert "hush" not in caplog.text
