"""What happens: requests and events as one list, newest first, with a live tail in front."""

from urllib.parse import urlencode

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.errors import PROBLEMS
from gateway.web.admin import for_admins
from gateway.web.entries import PARTS, parts
from gateway.web.logs import CLASSES, EVENTS, REQUESTS, Place, Wanted
from gateway.web.logs import page as read_page
from gateway.web.render import page
from gateway.web.text import plain

A_PAGE = 50
BLANK = dict.fromkeys(PARTS, "") | {"href": "/activity"}
"""A row without content, from which the script makes each of its own."""


@for_admins
async def show(request: web.Request) -> web.StreamResponse:
    """Show the entries that are asked for; on the first page, what happens from then on is put on top."""
    services = request.app[SERVICES]
    wanted, before = Wanted.of(request.query), Place.parse(request.query.get("before", ""))
    listed = await read_page(services.store, wanted, before=before, limit=A_PAGE)
    now = services.clock()
    first = _path(wanted)
    return page(
        request,
        "activity.html",
        script="" if before else "tail.js",
        entries=[parts(entry, now) for entry in listed.entries],
        blank=BLANK,
        wanted=wanted,
        apps=sorted({*services.catalog.policies, *filter(None, [wanted.app])}),
        kinds=[
            ("", plain("activity.both")),
            (REQUESTS, plain("activity.requests")),
            (EVENTS, plain("activity.events")),
        ],
        classes=[("", plain("activity.any")), *((name, name) for name in CLASSES)],
        codes=sorted(PROBLEMS),
        first=first,
        is_first=before is None,
        next=_path(wanted, before=str(listed.next)) if listed.next else "",
        stream=f"/activity/stream?{urlencode({**wanted.given, 'after': str(listed.top)})}",
    )


def _path(wanted: Wanted, **more: str) -> str:
    query = urlencode({**wanted.given, **more})
    return f"/activity?{query}" if query else "/activity"
