"""With 100,000 connections every query still goes along an index: SQLite's own plan says so."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import event

from gateway.store import LoginStateRow, Status, Store

LOGIN = LoginStateRow(
    state_hash=b"x", app="crm", session_hash=b"x", sealed=b"x", created_at=1.0, expires_at=2.0, poll_at=1.0
)
QUERIES: dict[str, Callable[[Store], Awaitable[object]]] = {
    "get": lambda store: store.connections.get("crm-ann"),
    "find": lambda store: store.connections.find("crm", "u"),
    "first page": lambda store: store.connections.list(),
    "next page": lambda store: store.connections.list(cursor="c"),
    "by app": lambda store: store.connections.list(app="crm", cursor="c"),
    "by status": lambda store: store.connections.list(status=Status.ACTIVE, cursor="c"),
    "by both": lambda store: store.connections.list(app="crm", status=Status.ACTIVE, cursor="c"),
    "search": lambda store: store.connections.list(search="x"),
    "search, next page": lambda store: store.connections.list(search="x", cursor="c"),
    "search by app": lambda store: store.connections.list(app="crm", search="x", cursor="c"),
    "search by status": lambda store: store.connections.list(status=Status.ACTIVE, search="x", cursor="c"),
    "search by both": lambda store: store.connections.list(app="crm", status=Status.ACTIVE, search="x", cursor="c"),
    "ids": lambda store: store.connections.ids(),
    "count by app": lambda store: store.connections.count(app="crm"),
    "count by both": lambda store: store.connections.count(app="crm", status=Status.ACTIVE),
    "count by status": lambda store: store.connections.count_by_status(),
    "count by status of an app": lambda store: store.connections.count_by_status(app="crm"),
    "count each app's": lambda store: store.connections.count_by_app(),
    "take lease": lambda store: store.connections.take_lease("c", owner="me", seen_version=1, now=1.0, until=2.0),
    "update": lambda store: store.connections.update("c", label="x"),
    "touch": lambda store: store.connections.touch(("a", "b"), now=1.0),
    "next to renew": lambda store: store.due.next_at(),
    "claim what is due": lambda store: store.due.claim(10, now=1.0, until=2.0),
    "put off": lambda store: store.due.put_off("c", seen_version=1, renew_at=2.0),
    "look again": lambda store: store.due.look_again("crm", now=1.0),
    "next to revoke": lambda store: store.revocations.next_at(),
    "claim revocations": lambda store: store.revocations.claim(10, now=1.0, until=2.0),
    "revocations of": lambda store: store.revocations.of(["a", "b"]),
    "next to deliver": lambda store: store.deliveries.next_at(),
    "claim deliveries": lambda store: store.deliveries.claim(10, now=1.0, until=2.0),
    "changes": lambda store: store.changes.since(5),
    "latest change": lambda store: store.changes.latest(),
    "events": lambda store: store.events.list(cursor="5"),
    "events of a connection": lambda store: store.events.list(connection="c", cursor="5"),
    "events of an app": lambda store: store.events.list(app="crm", cursor="5"),
    "requests": lambda store: store.requests.list(cursor="5"),
    "requests of a connection": lambda store: store.requests.list(connection="c", cursor="5"),
    "requests of an app": lambda store: store.requests.list(app="crm", cursor="5"),
    "requests of an app with a code": lambda store: store.requests.list(app="crm", code="x", cursor="5"),
    "tail of requests": lambda store: store.requests.list(after=5),
    "tail of an app's requests": lambda store: store.requests.list(app="crm", after=5),
    "tail of events": lambda store: store.events.list(after=5),
    "refused of an app": lambda store: store.requests.refused("crm", limit=5),
    "series": lambda store: store.tallies.series("app", "crm", since=0, step=3600),
    "busiest": lambda store: store.tallies.busiest("connection", since=0, now=7200, limit=5),
    "last of some clients": lambda store: store.tallies.last("client", ["a", "b"]),
    "prune tallies": lambda store: store.tallies.prune(now=1.0),
    "to reauthorize": lambda store: store.attention.to_reauthorize(5),
    "retrying": lambda store: store.attention.retrying(5),
    "census": lambda store: store.census.take(),
    "failing tests": lambda store: store.attention.failing(5),
    "requests of a client": lambda store: store.requests.list(client="c", cursor="5"),
    "requests with a code": lambda store: store.requests.list(code="x", cursor="5"),
    "refused requests": lambda store: store.requests.list(refused=True, cursor="5"),
    "failed requests": lambda store: store.requests.list(status_class=5, cursor="5"),
    "one request": lambda store: store.requests.get(5),
    "newest request": lambda store: store.requests.latest(),
    "events of a client": lambda store: store.events.list(client="c", cursor="5"),
    "one event": lambda store: store.events.get(5),
    "newest event": lambda store: store.events.latest(),
    "claim link": lambda store: store.links.claim(b"x", claim="c", now=1.0, until=2.0, begun=1.0),
    "use link": lambda store: store.links.use(b"x", claim="c", now=1.0, outcome=b"x"),
    "take login": lambda store: store.logins.take(b"x"),
    "get login": lambda store: store.logins.get(b"x"),
    "hold login": lambda store: store.logins.hold(LOGIN, now=1.0, until=2.0),
    "wait with login": lambda store: store.logins.wait(LOGIN, until=2.0, interval=5.0),
    "drop login": lambda store: store.logins.drop(LOGIN),
    "prune logins": lambda store: store.logins.prune(before=1.0),
    "prune links": lambda store: store.links.prune(before=1.0),
    "prune requests": lambda store: store.requests.prune(before=1.0, keep=10),
}
# What reads every row, but of an index alone, or only until a page is full.
# What is no table: the few that a claim has picked, the spans asked for, the 1,000 refused, an empty list;
# and the data keys are few.
COVERED = (
    "COVERING INDEX",
    "SCAN CONSTANT ROW",
    "SCAN first",
    "SCAN spans",
    "SCAN anon_1",
    "SCAN (subquery",
    "SCAN data_keys",
)
SEARCHED = ("COVERING INDEX", "LIST SUBQUERY", "SEARCH connections USING INDEX sqlite_autoindex_connections_1 (id=?)")
IN_ORDER = {"first page", "requests", "events", "next to deliver"}
# What sorts the little that it has found along an index.
SORTED = {"refused of an app", "series", "busiest"}


@pytest.mark.parametrize("name", QUERIES)
async def test_no_query_reads_or_sorts_a_whole_table(sqlite_store: Store, name: str):
    seen: list[tuple[str, object]] = []
    listener = lambda _c, _cursor, statement, parameters, *_: seen.append((statement, parameters))  # noqa: E731 - to remove it
    engine = sqlite_store.database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", listener)
    await QUERIES[name](sqlite_store)
    event.remove(engine, "before_cursor_execute", listener)

    plan: list[str] = []
    async with sqlite_store.database.read() as connection:
        for statement, parameters in seen:
            if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
                rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plan += [row.detail for row in rows]
    assert plan
    assert [step for step in plan if "TEMP B-TREE" in step] == [] or name in SORTED
    scans = [step for step in plan if step.startswith("SCAN") and not any(word in step for word in COVERED)]
    assert scans == [] or name in IN_ORDER, plan
    if name.startswith("search"):  # of each row that it passes by, it reads the id and the label alone
        assert [step for step in plan if not any(word in step for word in SEARCHED)] == []
