"""The list of connections: searched and narrowed by a form whose answer has an address, a page at a time."""

from collections.abc import Mapping
from urllib.parse import urlencode

from aiohttp import web
from multidict import MultiDict

from gateway.admin.dispatch import SERVICES, read_query
from gateway.admin.models import ConnectionsQuery
from gateway.errors import ClientError
from gateway.policy.model import Policy
from gateway.store.rows import Status
from gateway.web.admin import for_admins
from gateway.web.render import page
from gateway.web.standing import chip_of
from gateway.web.text import plain

PATH = "/connections"
SHOWN = 50
"""Connections on a page."""
_NARROWING = ("search", "app", "status", "cursor")


@for_admins
async def show(request: web.Request) -> web.StreamResponse:
    """Show the connections that fit, and how many there are in each status."""
    services = request.app[SERVICES]
    given = {name: text for name in _NARROWING if (text := request.query.get(name, "").strip())}
    wanted, problem = {}, None
    try:
        query = read_query(ConnectionsQuery, MultiDict(given))
        wanted = {} if query is None else query.model_dump(exclude={"limit"})
    except ClientError as error:  # an address written by hand: the page says what is wrong with it, and shows them all
        problem = error.refusal
    connections = services.store.connections
    found = await connections.list(limit=SHOWN, **wanted)
    counts = await connections.count_by_status(app=wanted.get("app"))
    ended = [row.id for row in found.items if row.status is Status.DISCONNECTED]
    names = _names(services.catalog.policies, given.get("app"))
    return page(
        request,
        "connections.html",
        status=200 if problem is None else problem.status,
        problem=problem,
        given=given,
        connections=found.items,
        left=await services.store.revocations.of(ended) if ended else {},
        names=names,
        tokenless={app for app, policy in services.catalog.policies.items() if not policy.auth.grant.has_token},
        chips=chip_of,
        choices=[(str(status), plain(f"status.{status}")) for status in Status],
        apps=sorted(names.items(), key=lambda item: (item[1].casefold(), item[0])),
        total=sum(counts.values()),
        all=_path(given, status="", search=""),
        counts=[(status, counts[status], _path(given, status=status, search="")) for status in Status],
        first=_path(given) if "cursor" in given else "",
        next=_path(given, cursor=found.next) if found.next else "",
    )


def _names(policies: Mapping[str, Policy], chosen: str | None) -> dict[str, str]:
    """Return the apps' names by their ids; the chosen one too where its policy isn't there any more."""
    names = {app: policy.name for app, policy in policies.items()}
    return names if chosen is None else {chosen: chosen} | names


def _path(given: Mapping[str, str], **others: str) -> str:
    """Return the address of the list with other values; a page further on only where `others` says so."""
    values = {**given, "cursor": "", **others}
    query = urlencode({name: text for name, text in values.items() if text})
    return f"{PATH}?{query}" if query else PATH
