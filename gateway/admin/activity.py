"""What happened: the audit trail and the request log, newest first."""

from datetime import UTC, datetime

from gateway.admin.models import Event, EventsQuery, ListOf, LoggedRequest, RequestsQuery
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
        detail=dict(row.detail),
    )


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
        connection=row.connection,
        client=row.client,
        sent=row.sent,
        received=row.received,
    )
