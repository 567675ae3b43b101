"""The request log and the audit trail as one list: which entries are wanted, and where in both a reader stands.

Each log keeps its own order, by its numbers; beside each other their entries stand by time. So a place is one number in
each, and nothing is shown twice or left out, whatever the clocks of several servers say.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from heapq import merge
from typing import Self

from gateway.store.events import Events
from gateway.store.log_pages import LIMIT_MAX
from gateway.store.requests import Requests
from gateway.store.rows import EventRow, RequestRow
from gateway.store.store import Store

Entry = RequestRow | EventRow

REQUESTS, EVENTS = "requests", "events"
CLASSES = {"2xx": 2, "4xx": 4, "5xx": 5}
"""The classes of status that can be asked for."""
_LONGEST = 128
"""Characters of a name: longer than any app's, connection's or client's."""
_PLACE = re.compile(r"(\d{1,18})\.(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A number in each log, as text `12.5`."""

    requests: int
    events: int

    def __str__(self) -> str:
        return f"{self.requests}.{self.events}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the place that a text names; None where it names none."""
        match = _PLACE.fullmatch(text)
        return None if match is None else cls(requests=int(match[1]), events=int(match[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries are wanted. What is empty is not asked for."""

    kind: str = ""
    app: str = ""
    connection: str = ""
    client: str = ""
    status: str = ""
    code: str = ""
    refused: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        """Read an address' query; what can't be asked for counts as not asked for."""
        given = {field.name: _name(query.get(field.name, "")) for field in fields(cls)}
        if given["kind"] not in {REQUESTS, EVENTS}:
            given["kind"] = ""
        if given["status"] not in CLASSES:
            given["status"] = ""
        return cls(**given)

    @property
    def given(self) -> dict[str, str]:
        """What is asked for, as a query has it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value}

    @property
    def has_requests(self) -> bool:
        """Whether requests may be among them."""
        return self.kind != EVENTS

    @property
    def has_events(self) -> bool:
        """Whether events may be: they have no status."""
        return self.kind != REQUESTS and not (self.status or self.code or self.refused)

    def takes(self, entry: Entry) -> bool:
        """Whether an entry is one of them: what `page` asks the store."""
        for wanted, has in (
            (self.app, entry.app),
            (self.connection, entry.connection),
            (self.client, entry.client),
        ):
            if wanted and wanted != has:
                return False
        if isinstance(entry, EventRow):
            return self.has_events
        return (
            self.has_requests
            and self.code in {"", entry.code}
            and (not self.status or CLASSES[self.status] == entry.status // 100)
            and (not self.refused or entry.code is not None)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A page of both logs, newest first. `top` is where both stand by now, `next` what is behind; None: no more."""

    entries: tuple[Entry, ...]
    top: Place
    next: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is behind a place, oldest first, up to `place`. `skipped` entries were too many to be read."""

    entries: tuple[Entry, ...]
    place: Place
    skipped: int = 0


async def page(store: Store, wanted: Wanted, *, before: Place | None, limit: int) -> Listed:
    """Return the newest entries that are wanted, from before a place, where one is given."""
    top = before or await latest(store)
    below = before or Place(requests=top.requests + 1, events=top.events + 1)
    requests: tuple[Entry, ...] = ()
    events: tuple[Entry, ...] = ()
    if wanted.has_requests:
        requests = (
            await store.requests.list(
                app=wanted.app or None,
                connection=wanted.connection or None,
                client=wanted.client or None,
                code=wanted.code or None,
                status_class=CLASSES.get(wanted.status),
                refused=bool(wanted.refused),
                limit=limit + 1,
                cursor=str(below.requests),
            )
        ).items
    if wanted.has_events:
        events = (
            await store.events.list(
                app=wanted.app or None,
                connection=wanted.connection or None,
                client=wanted.client or None,
                limit=limit + 1,
                cursor=str(below.events),
            )
        ).items
    entries = tuple(merge(requests, events, key=lambda entry: -entry.at))
    shown = entries[:limit]
    return Listed(entries=shown, top=top, next=_below(shown, below) if len(entries) > limit else None)


async def newer(store: Store, after: Place, *, most: int = LIMIT_MAX) -> News:
    """Return what both logs have behind a place: all of it, or the newest `most` of each."""
    requests, lost_requests = await _behind(store.requests, after.requests, most)
    events, lost_events = await _behind(store.events, after.events, most)
    return News(
        entries=tuple(merge(requests, events, key=lambda entry: entry.at)),
        place=Place(
            requests=requests[-1].id if requests else after.requests, events=events[-1].id if events else after.events
        ),
        skipped=lost_requests + lost_events,
    )


async def latest(store: Store) -> Place:
    """Return the place of the newest entry of each log."""
    return Place(requests=await store.requests.latest(), events=await store.events.latest())


async def _behind(log: Requests | Events, number: int, most: int) -> tuple[tuple[Entry, ...], int]:
    """Return the entries behind a number, oldest first, and how many more there are than are read."""
    found = await log.list(after=number, limit=most)
    if found.next is None:
        return found.items, 0
    newest = (await log.list(limit=most)).items[::-1]
    return newest, newest[0].id - number - 1


def _below(shown: Sequence[Entry], below: Place) -> Place:
    """Return the place behind these, where each log goes on."""
    requests, events = below.requests, below.events
    for entry in shown:
        if isinstance(entry, EventRow):
            events = entry.id
        else:
            requests = entry.id
    return Place(requests=requests, events=events)


def _name(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _LONGEST and "\x00" not in text else ""
