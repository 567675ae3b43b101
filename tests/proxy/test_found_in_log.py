"""Whoever is shown a request's id finds it in the log: of every answer of the gateway's own, and of its faults."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.vault import Live
from tests.http.test_trace_context import RIGHT, TRACE
from tests.proxy.harness import Caller, Gateway


def shown(answer: bytes) -> str:
    """The id in a problem."""
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["request_id"])


def lines(gateway: Gateway) -> list[dict[str, Any]]:
    """The request log."""
    gateway.log.flush()
    return [json.loads(line) for line in gateway.log._stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("request_bytes", "code", "entrance"),
    [
        (b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n", "target_invalid", "absolute"),
        (b"GET http://ok.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n", "proxy_authentication_required", "absolute"),
        (b"GET http://ok.test/ HTTP/1.1\r\n\r\n", "request_rejected", "absolute"),
        (b"no HTTP at all\r\n\r\n", "request_rejected", "absolute"),
        (b"CONNECT ok.test:443 HTTP/1.1\r\nHost: ok.test:443\r\n\r\n", "proxy_authentication_required", "connect"),
    ],
)
async def test_a_refusal_from_before_there_was_a_request(
    gateway: Gateway, caller: Caller, request_bytes: bytes, code: str, entrance: str
) -> None:
    with capture_logs() as events:
        request_id = shown(await caller.ask(request_bytes))
    (event,) = events
    assert (event["event"], event["request_id"]) == ("request.refused", request_id)
    assert (event["code"], event["entrance"]) == (code, entrance)
    assert lines(gateway) == []


async def test_who_floods_us_with_what_is_no_request_fills_no_log(gateway: Gateway) -> None:
    with capture_logs() as events:
        for _ in range(30):
            caller = await gateway.open()
            await caller.ask(b"no HTTP at all\r\n\r\n")
            await caller.close()
    assert 10 <= len(events) <= 12


async def test_a_refusal_of_a_request_stands_in_the_request_log(gateway: Gateway, caller: Caller) -> None:
    denied = gateway.request().replace(gateway.origin.encode(), b"http://elsewhere.test")
    request_id = shown(await caller.ask(denied))
    (line,) = lines(gateway)
    assert (line["request_id"], line["code"]) == (request_id, "target_not_allowed")
    assert (line["connection"], line["client"]) == ("crm-ann", "runner")


async def test_a_fault_of_ours_in_a_step_that_waits(gateway: Gateway, caller: Caller) -> None:
    async def broken(_connection_id: str) -> None:
        raise LookupError("a fault")

    gateway.vault.unloaded.add("crm-ann")
    gateway.vault.live = broken  # type: ignore[assignment, method-assign]
    with capture_logs() as events:
        answer = await caller.ask(gateway.request(headers=b"traceparent: %b\r\n" % RIGHT))
    (event,) = events
    assert (event["event"], event["request_id"]) == ("request.fault", shown(answer))
    assert (event["connection"], event["client"], event["trace_id"]) == ("crm-ann", "runner", TRACE.decode())
    assert str(event["exc_info"]) == "a fault"


async def test_a_fault_of_ours_in_an_answer(gateway: Gateway, caller: Caller) -> None:
    gateway.connect(scrubber=None)
    with capture_logs() as events:
        answer = await caller.ask(gateway.request())
    assert [(event["event"], event["request_id"]) for event in events] == [("request.fault", shown(answer))]
    assert b" 502 " in answer


async def test_a_fault_of_ours_while_a_request_is_read(
    gateway: Gateway, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_connection_id: str) -> Live:
        raise LookupError("a fault")

    monkeypatch.setattr(gateway.vault, "peek", broken)
    with capture_logs() as events:
        await caller.send(gateway.request())
        with pytest.raises(ConnectionError):
            await caller.rest()
    (event,) = events
    (line,) = lines(gateway)
    assert (event["event"], event["request_id"]) == ("request.fault", line["request_id"])
