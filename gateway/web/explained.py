"""One entry of a log, with the decision explained: what came, what the gateway made of it and why, what came back.

The log has no query, header or body. So what an allowed request was given is what it would be given now: the page says
so, and it says where the policy has changed its mind.
"""

from dataclasses import dataclass

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.admin.services import Services
from gateway.errors import ClientError, GatewayError, PolicyError, Refusal
from gateway.store.rows import EventRow, RequestRow
from gateway.web.admin import for_admins
from gateway.web.entries import actor_words, code_words, entrance_words, event_words, parts, readable, status_words
from gateway.web.render import page
from gateway.web.text import has, plain
from gateway.web.times import second

CALLER_GONE = "caller_gone"
"""The log's code, beside those of `errors.PROBLEMS`, for a request whose caller left."""
_DIGITS = 18
_CUT_SHORT = 1_024
"""Characters of a path from which on the log cuts it short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What the policy of now says to a request. `why_not`: it can't be asked, and why."""

    allowed: bool = False
    reason: str = ""
    hint: str = ""
    inject: tuple[tuple[str, str, str], ...] = ()
    why_not: str = ""


@for_admins
async def show_request(request: web.Request) -> web.StreamResponse:
    """Show one request."""
    services = request.app[SERVICES]
    row = await services.store.requests.get(_number(request))
    if row is None:
        raise _gone()
    return page(
        request,
        "activity_request.html",
        row=row,
        parts=parts(row, services.clock()),
        entrance=entrance_words(row.entrance),
        meaning=code_words(row.code) if row.code else "",
        next_step=_next_step(row.code),
        by=plain(f"explained.by_{_by(row.code)}"),
        phrase=status_words(row.status),
        explained=await explain(services, row),
        links=await _links(services, row),
    )


@for_admins
async def show_event(request: web.Request) -> web.StreamResponse:
    """Show one event."""
    services = request.app[SERVICES]
    row = await services.store.events.get(_number(request))
    if row is None:
        raise _gone()
    return page(
        request,
        "activity_event.html",
        row=row,
        words=event_words(row),
        actor=actor_words(row.actor),
        at=second(row.at),
        detail=[(name, readable(name, value)) for name, value in row.detail.items()],
        links=await _links(services, row),
    )


async def explain(services: Services, row: RequestRow) -> Explained:
    """Ask the policy of now about a request that was let in. Raises `StoreError`."""
    if not row.app or not row.connection or not row.url:
        return Explained(why_not=plain("explained.not_admitted"))
    if len(row.url) > _CUT_SHORT and row.url.endswith("..."):
        return Explained(why_not=plain("explained.cut_short"))
    try:
        found = await services.vault.explain(row.connection, row.method, row.url)
    except (ClientError, PolicyError) as error:
        return Explained(why_not=error.refusal.detail)
    return Explained(
        allowed=found["allowed"],
        reason=found["reason"],
        hint=found.get("hint") or "",
        inject=tuple(
            (plain(f"explained.{where}"), name, str(value))
            for where, values in found["inject"].items()
            for name, value in values.items()
        ),
    )


async def _links(services: Services, row: RequestRow | EventRow) -> dict[str, str]:
    """Return where what an entry names can be looked at, as far as it is there: anybody can name what isn't."""
    links = {"app": "", "connection": "", "client": ""}
    if row.connection and await services.store.connections.get(row.connection) is not None:
        links["connection"] = f"/connections/{row.connection}"
    if row.client and await services.store.clients.get(row.client) is not None:
        links["client"] = f"/clients/{row.client}"
    if row.app and services.catalog.get(row.app) is not None:
        links["app"] = f"/apps/{row.app}"
    return links


def _next_step(code: str | None) -> str:
    key = f"next.{code}"
    return plain(key) if code and has(key) else ""


def _by(code: str | None) -> str:
    """Return whose answer it was."""
    return {None: "upstream", CALLER_GONE: "nobody"}.get(code, "gateway")


def _number(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise _gone()
    return int(text)


def _gone() -> GatewayError:
    return ClientError(
        Refusal(
            code="not_found",
            detail=plain("explained.gone"),
            hint=plain("explained.gone_hint"),
        )
    )
