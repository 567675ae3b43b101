"""What happened: the audit trail and the request log, newest first."""

from datetime import UTC, datetime
from typing import Any

from gateway.admin.models import Event, EventsQuery, ListOf, LoggedRequest, RequestsQuery, time_of
from gateway.admin.operation import Answer, Call
from gateway.store.rows import EventRow, RequestRow


async def list_events(call: Call) -> Answer:
    """Return the audit trail's entries that fit."""
    query: EventsQuery = call.query
    page = await call.services.store.events.list(**query.model_dump())
    return Answer(body=ListOf[Event](items=[_event(row) for row in page.items], next=page.next))


async def list_requests(call: Call) -> Answer:
    """Return the request log's entries that fit."""
    query: RequestsQuery = call.query
    page = await call.services.store.requests.list(**query.model_dump())
    return Answer(body=ListOf[LoggedRequest](items=[_request(row) for row in page.items], next=page.next))


def _event(row: EventRow) -> Event:
    return Event(
        id=row.id,
        at=datetime.fromtimestamp(row.at, UTC),
        kind=row.kind,
        actor=row.actor,
        app=row.app,
        connection=row.connection,
        client=row.client,
        detail={name: _readable(name, value) for name, value in row.detail.items()},
    )


def _readable(name: str, value: Any) -> Any:
    """Return a value of an event's detail; times, which the trail keeps as seconds since the epoch, as everywhere."""
    return time_of(value) if name.endswith("_at") and isinstance(value, int | float) else value


def _request(row: RequestRow) -> LoggedRequest:
    return LoggedRequest(
        id=row.id,
        at=datetime.fromtimestamp(row.at, UTC),
        request_id=row.request_id,
        entrance=row.entrance,
        method=row.method,
        url=row.url,
        status=row.status,
        code=row.code,
        seconds=row.seconds,
        app=row.app,
        connection=row.connection,
        client=row.client,
        sent=row.sent,
        received=row.received,
        refreshed=row.refreshed,
    )
