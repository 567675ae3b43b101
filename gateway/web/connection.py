"""One connection: how it stands, what it may reach and who with, what happened to it, and what can be done.

What is done there comes back to the page's own address, so that looking again is only looking.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.access import Client, Pattern
from gateway.admin.dispatch import SERVICES
from gateway.errors import ClientError, Refusal
from gateway.keyring import KeyringError
from gateway.policy.context import Context
from gateway.policy.entry import EntryTemplate
from gateway.policy.fields import with_defaults
from gateway.policy.model import Policy
from gateway.store.rows import ClientRow, ConnectionRow, Status
from gateway.vault.connecting import CONNECTION_ID
from gateway.web.admin import for_admins
from gateway.web.connections import PATH
from gateway.web.entries import actor_words
from gateway.web.history import told
from gateway.web.render import page
from gateway.web.standing import chip_of, left_of, standing_of

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
"""What a person may ask about."""
EVENTS = 20
REQUESTS = 10


@for_admins
async def show(request: web.Request) -> web.StreamResponse:
    """Show it."""
    return await shown(request, await connection_of(request))


async def connection_of(request: web.Request) -> ConnectionRow:
    """Return the connection that the path names. Raises `ClientError`: there is none."""
    name = request.match_info["id"]
    row = await request.app[SERVICES].store.connections.get(name) if CONNECTION_ID.fullmatch(name) else None
    if row is None:
        detail = f"There is no connection {name}." if CONNECTION_ID.fullmatch(name) else "There is no such connection."
        raise ClientError(Refusal(code="not_found", detail=detail, hint=f"All that there are are at {PATH}."))
    return row


def path_of(row: ConnectionRow) -> str:
    """Return the path of a connection's page: an id has nothing that would have to be encoded."""
    return f"{PATH}/{row.id}"


async def shown(
    request: web.Request, row: ConnectionRow, *, problem: Refusal | None = None, tried: str = "", **done: Any
) -> web.Response:
    """Return its page, with what came of something that was `tried` there, or the problem that it met."""
    services = request.app[SERVICES]
    policy = services.catalog.get(row.app)
    fields = await _fields(request, row)
    live = await services.vault.live(row.id) if row.status is Status.ACTIVE else None
    left = (await services.store.revocations.of([row.id])).get(row.id)
    events = await services.store.events.list(connection=row.id, limit=EVENTS)
    requests = await services.store.requests.list(connection=row.id, limit=REQUESTS)
    now = services.clock()
    values: dict[str, Any] = {
        "label": row.label,
        "errors": {},
        "tested": None,
        "link": None,
        "asked": {"method": "GET", "url": ""},
        "answer": None,
    }
    response = page(
        request,
        "connection.html",
        status=200 if problem is None else problem.status,
        row=row,
        path=path_of(row),
        policy=policy,
        name=row.app if policy is None else policy.name,
        chip=chip_of(row),
        standing=standing_of(row, live, now),
        refusal=None if live is None else live.refusal,
        left=left,
        leaves=left_of(row, left, policy),
        fields=[] if fields is None else _named(policy, fields, ended=row.status is Status.DISCONNECTED),
        unreadable=fields is None,
        creator=actor_words(row.created_by),
        clients=users_of(await services.store.clients.all(), row.id, now),
        anonymous=services.settings.access.anonymous,
        reach=_reach(policy, fields or {}),
        history=[told(event) for event in events.items],
        more_history=events.next is not None,
        requests=requests.items,
        methods=[(one, one) for one in METHODS],
        problem=problem,
        tried=tried,
        **values | done,
    )
    if problem is not None and problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def users_of(clients: tuple[ClientRow, ...], connection: str, now: float) -> list[dict[str, Any]]:
    """Return the clients that may use a connection, or could while their token was good, with the patterns for it."""
    return [
        {
            "name": row.name,
            "patterns": [one for one in row.patterns if Pattern.parse(one).matches(connection)],
            "expires_at": row.expires_at,
            "expired": Client.of(row).is_expired(now),
        }
        for row in clients
        if row.revoked_at is None and Client.of(row).may_use(connection)
    ]


async def _fields(request: web.Request, row: ConnectionRow) -> Mapping[str, str] | None:
    """Return what was filled in, without secrets; None: it can't be opened."""
    try:
        return await request.app[SERVICES].vault.open_fields(row.id)
    except KeyringError:
        return None


def _named(policy: Policy | None, fields: Mapping[str, str], *, ended: bool) -> list[tuple[str, str | None]]:
    """Return each field's label and value, in the policy's order; None for a secret, which nobody is shown."""
    known = () if policy is None else policy.fields
    found: list[tuple[str, str | None]] = []
    for field in known:
        hidden = field.secret or (field.name == "password" and field.name not in fields)
        if hidden and not field.once and not ended:
            found.append((field.label, None))
        elif field.name in fields and not hidden:
            found.append((field.label, fields[field.name]))
    return found + [(name, value) for name, value in fields.items() if name not in {field.name for field in known}]


def _reach(policy: Policy | None, fields: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the policy's entries, those that are allowed and those that are denied, with the connection's values."""
    if policy is None:
        return {"urls": [], "deny": []}
    context = Context(fields=with_defaults(policy, fields))
    return {
        "urls": [_entry(text, context, deny=False) for text in policy.allow.urls],
        "deny": [_entry(text, context, deny=True) for text in policy.allow.deny],
    }


def _entry(text: str, context: Context, *, deny: bool) -> str:
    try:
        return EntryTemplate.parse(text, deny=deny).render(context).shown
    except ValueError:  # a value is missing: as it is written
        return text
