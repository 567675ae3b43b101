"""Every request is counted, for all, for its app, its connection and its client; nobody else decides what for."""

from dataclasses import replace

import pytest

from gateway.metrics.families import exposition
from gateway.metrics.kinds import BUCKETS
from gateway.proxy import tally as module
from gateway.proxy.access_log import Entry
from gateway.proxy.tally import FAILED, FIRST, REFRESHED, REFUSED, Cell, Key, Tally
from gateway.store.rows import LATENCY
from tests.proxy.harness import OK, Caller, Gateway

AT = 1_800_000_000.0  # the beginning of five minutes
SPAN = int(AT) // 300


def an_entry(**changes: object) -> Entry:
    entry = Entry(
        at=AT,
        request_id="r",
        entrance="absolute",
        client="runner",
        connection="crm-ann",
        app="crm",
        method="GET",
        origin="http://x.test",
        path="/p",
        status=200,
        code="",
        seconds=0.01,
        sent=0,
        received=0,
        refreshed=False,
    )
    return replace(entry, **changes)


def shown(cell: Cell) -> dict[str, object]:
    """What isn't zero of a cell, the latency by bucket."""
    names = {REFUSED: "refused", FAILED: "failed", REFRESHED: "refreshed"}
    counts = {names.get(at, at - FIRST): count for at, count in enumerate(cell.counts) if count}
    return counts | ({"seconds": cell.seconds} if cell.seconds else {})


def counted(*entries: Entry) -> dict[Key, dict[str, object]]:
    tally = Tally()
    tally.add(entries)
    return {key: shown(cell) for key, cell in tally.take().items()}


OUTCOMES = {
    "an answer": ({"status": 200}, {1: 1, "seconds": 0.01}),
    "an answer's 4xx is no failure": ({"status": 404}, {1: 1, "seconds": 0.01}),
    "an upgrade": ({"status": 101}, {1: 1, "seconds": 0.01}),
    "upstream's 5xx": ({"status": 503}, {"failed": 1, 1: 1, "seconds": 0.01}),
    "our 504": ({"status": 504, "code": "upstream_timeout"}, {"failed": 1, 1: 1, "seconds": 0.01}),
    "an answer that broke off": ({"status": 200, "code": "upstream_protocol"}, {"failed": 1, 1: 1, "seconds": 0.01}),
    "a caller that left": ({"status": 499, "code": "caller_gone"}, {1: 1, "seconds": 0.01}),
    "not allowed": ({"status": 403, "code": "target_not_allowed"}, {"refused": 1}),
    "replayed": ({"refreshed": True}, {"refreshed": 1, 1: 1, "seconds": 0.01}),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_request_is_counted_by_how_it_ended(name: str) -> None:
    changes, expected = OUTCOMES[name]
    assert counted(an_entry(**changes)) == {(SPAN, "crm", "crm-ann", "runner"): expected}


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.005, 0), (0.0051, 1), (0.3, 5), (1.0, 6), (30.0, 8), (30.1, 9), (1e9, 9)]
)
def test_its_latency_is_in_one_bucket_whose_bound_belongs_to_it(seconds: float, bucket: int) -> None:
    (cell,) = counted(an_entry(seconds=seconds)).values()
    assert cell == {bucket: 1} | ({"seconds": seconds} if seconds else {})


def test_the_bounds_are_of_those_that_metrics_has() -> None:
    assert set(LATENCY) < set(BUCKETS)
    assert sorted(LATENCY) == list(LATENCY)


def test_a_connection_that_was_only_named_is_counted_for_nobody() -> None:
    stranger = an_entry(app="", client="", connection="made-up", status=407, code="proxy_authentication_required")
    foreign = an_entry(app="", connection="hr-ann", status=403, code="connection_not_permitted")
    assert counted(stranger, foreign) == {(SPAN, "", "", ""): {"refused": 1}, (SPAN, "", "", "runner"): {"refused": 1}}


def test_five_minutes_are_told_apart_by_when_a_request_ended() -> None:
    keys = [key[0] for key in counted(an_entry(at=AT - 0.1), an_entry(), an_entry(at=AT + 299.9))]
    assert keys == [SPAN - 1, SPAN]


def test_what_is_taken_is_counted_no_more() -> None:
    tally = Tally()
    tally.add([an_entry()])
    assert len(tally.take()) == 1
    assert tally.take() == {}


def test_there_are_so_many_cells_and_what_comes_then_is_counted_for_its_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    entries = [an_entry(connection=f"c-{number}") for number in (0, 1, 2, 3, 0)]
    assert counted(*entries) == {
        (SPAN, "crm", "c-0", "runner"): {1: 2, "seconds": 0.02},
        (SPAN, "crm", "c-1", "runner"): {1: 1, "seconds": 0.01},
        (SPAN, "crm", "", ""): {1: 2, "seconds": 0.02},
    }


async def test_the_gateway_counts_what_it_forwards_refuses_and_turns_away(gateway: Gateway, caller: Caller) -> None:
    """A flood of wrong tokens too, which the log has had enough of, and what is no HTTP."""
    gateway.service.script = [OK, b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"]
    await caller.ask(gateway.request())
    await caller.ask(gateway.request())
    elsewhere = gateway.request().replace(gateway.origin.encode(), b"http://elsewhere.test")
    for request in (
        gateway.request().replace(b"GET http", b"GET ftp"),
        elsewhere,
        *[gateway.request(token="gwc_wrong", connection="made-up")] * 40,
        b"\x00\x01\r\n\r\n",
    ):
        one = await gateway.open()
        await one.ask(request)
        await one.close()
    gateway.log.flush()
    cells = gateway.log.tally.take()
    found = {
        key[1:]: (cell.counts[REFUSED], cell.counts[FAILED], sum(cell.counts[FIRST:])) for key, cell in cells.items()
    }
    metrics = exposition(gateway.server._listener.services.metrics).decode()
    total = sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("gateway_requests_total{"))
    assert total == sum(refused + answered for refused, _, answered in found.values()) == 45
    assert found == {("crm", "crm-ann", "runner"): (1, 1, 2), ("", "", ""): (42, 0, 0)}
