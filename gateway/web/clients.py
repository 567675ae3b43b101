"""The clients' pages: who may use connections, what each may do and did, and taking its token back."""

from dataclasses import dataclass

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.admin.granting import end_client
from gateway.errors import ClientError, Refusal
from gateway.secret import Secret
from gateway.store.rows import ClientRow
from gateway.store.tallies import COARSE, KEPT
from gateway.web.admin import ACTOR, for_admins, read_admin_form
from gateway.web.coverage import Coverage
from gateway.web.entries import actor_words, event_words
from gateway.web.panel import panel
from gateway.web.recipes import PLACEHOLDER
from gateway.web.render import page, see_other

SHOWN = 100
RECENT = 10
FEW = 8
"""Connections named beside a pattern."""
SOON = 7 * 86_400.0
"""Seconds before its end at which a token is said to end soon: time to make another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A client as the list shows it."""

    row: ClientRow
    state: str
    reaches: int
    used: int | None
    """When its last hour with a request began; None: in none that is still counted."""


def state_of(row: ClientRow, now: float) -> str:
    """Return where a client is in its life: active, ending, expired or revoked."""
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is None or row.expires_at > now + SOON:
        return "active"
    return "ending" if row.expires_at > now else "expired"


@for_admins
async def show_all(request: web.Request) -> web.StreamResponse:
    """List the clients that may call, or, with `?revoked=1`, those that may no longer."""
    services, now = request.app[SERVICES], request.app[SERVICES].clock()
    revoked, after = request.query.get("revoked") == "1", request.query.get("after", "")
    rows = await services.store.clients.all()
    wanted = [row for row in rows if (row.revoked_at is not None) == revoked]
    behind = [row for row in wanted if row.name > after]
    shown = behind[:SHOWN]
    coverage = Coverage(await services.store.connections.ids())
    used = await services.store.tallies.last("client", [row.name for row in shown])
    return page(
        request,
        "clients.html",
        clients=[
            Listed(
                row=row,
                state=state_of(row, now),
                reaches=len(coverage.of(row.patterns)),
                used=used.get(row.name),
            )
            for row in shown
        ],
        hour=COARSE,
        days=KEPT[COARSE] // 86_400,
        revoked=revoked,
        number=len(wanted),
        number_revoked=sum(row.revoked_at is not None for row in rows),
        anybody=bool(rows),
        first=_path(revoked=revoked) if after else "",
        next=_path(revoked=revoked, after=shown[-1].name) if len(behind) > SHOWN else "",
    )


@for_admins
async def show(request: web.Request) -> web.StreamResponse:
    """Show one client: what it may use, what it did, and how a runner uses it."""
    services, row = request.app[SERVICES], await _client(request)
    coverage = Coverage(await services.store.connections.ids())
    covered = coverage.of(row.patterns)
    may_call = state_of(row, services.clock()) in {"active", "ending"}
    chosen = request.query.get("connection", "")
    shown = await panel(request, covered=covered, chosen=chosen, token=PLACEHOLDER) if may_call else {}
    return page(
        request,
        "client.html",
        row=row,
        state=state_of(row, services.clock()),
        reaches=[(pattern, coverage.of([pattern])) for pattern in row.patterns],
        few=FEW,
        may_call=may_call,
        requests=(await services.store.requests.list(client=row.name, limit=RECENT)).items,
        events=[
            (event.at, event_words(event), actor_words(event.actor))
            for event in (await services.store.events.list(client=row.name, limit=RECENT)).items
        ],
        token="",
        **shown,
    )


async def show_recipes(request: web.Request) -> web.StreamResponse:
    """Show a client that was just made with the recipes for another of its connections; the form brings the token."""
    _, values = await read_admin_form(request)
    services, row = request.app[SERVICES], await _client(request)
    known = services.access.client_for(values.get("token", ""))
    if known is None or known.name != row.name:
        return see_other(f"/clients/{row.name}")
    return await made(request, row, Secret(values["token"]), chosen=values.get("connection", ""))


@for_admins
async def ask_to_revoke(request: web.Request) -> web.StreamResponse:
    """Say what ends when a client's token is taken back, and ask."""
    row = await _client(request)
    if row.revoked_at is not None:
        return see_other(f"/clients/{row.name}")
    coverage = Coverage(await request.app[SERVICES].store.connections.ids())
    last = (await request.app[SERVICES].store.requests.list(client=row.name, limit=1)).items
    return page(
        request, "client_revoke.html", row=row, reaches=len(coverage.of(row.patterns)), last=next(iter(last), None)
    )


async def revoke(request: web.Request) -> web.StreamResponse:
    """Take the token back."""
    await read_admin_form(request)
    row = await _client(request)
    await end_client(request.app[SERVICES], row.name, actor=ACTOR)
    return see_other(f"/clients/{row.name}?done=client_revoked")


async def made(request: web.Request, row: ClientRow, token: Secret, *, chosen: str) -> web.Response:
    """Return the one page that shows a token: never at an address, always as the answer to a form."""
    coverage = Coverage(await request.app[SERVICES].store.connections.ids())
    shown = await panel(request, covered=coverage.of(row.patterns), chosen=chosen, token=token)
    return page(request, "client_made.html", row=row, token=token.reveal(), **shown)


async def _client(request: web.Request) -> ClientRow:
    row = await request.app[SERVICES].store.clients.get(request.match_info["name"])
    if row is None:
        raise ClientError(Refusal(code="not_found", detail="There is no such client.", hint="All of them: /clients"))
    return row


def _path(*, revoked: bool, after: str = "") -> str:
    query = [*(["revoked=1"] if revoked else []), *([f"after={after}"] if after else [])]
    return "/clients" + (f"?{'&'.join(query)}" if query else "")
