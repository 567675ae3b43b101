"""An entry of either log in words: the parts of its row, which a page and the tail show alike."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from gateway.errors import PROBLEMS
from gateway.store.rows import EventRow, RequestRow
from gateway.web.logs import Entry
from gateway.web.text import has, plain
from gateway.web.times import clock, machine, moment, second, span

PARTS = (
    *("href", "at", "moment", "clock", "tone", "status", "method", "what", "took"),
    *("connection", "client", "app", "entrance", "actor", "refreshed", "code", "meaning"),
)
"""What a row is made of. A part that an entry hasn't is empty, and isn't on the row."""
_TONES = {
    "connection.created": "good",
    "connection.updated": "good",
    "token.refresh_recovered": "good",
    "connection.needs_reauthorization": "bad",
    "connection.revocation_failed": "warn",
    "connection.revocation_given_up": "bad",
    "connection.test_failed": "bad",
    "token.refresh_failed": "warn",
    "webhook.given_up": "warn",
}
_ERRORS, _FAULTS = 400, 500


def parts(entry: Entry, now: float) -> dict[str, str]:
    """Return the parts of an entry's row, each a text."""
    found = dict.fromkeys(PARTS, "") | {
        "at": machine(entry.at),
        "moment": second(entry.at),
        "clock": clock(entry.at, now),
        "connection": entry.connection or "",
        "client": entry.client or "",
        "app": "" if entry.connection else entry.app or "",
    }
    return found | (_of_event(entry) if isinstance(entry, EventRow) else _of_request(entry))


def event_words(entry: EventRow) -> str:
    """Return what happened, as a sentence; one that has no words yet by its kind."""
    key = f"event.{kind_of(entry)}"
    return plain(key) if has(key) else entry.kind


def kind_of(entry: EventRow) -> str:
    """Return the kind, told apart where one kind says two things."""
    match entry.kind, entry.detail:
        case "connection.tested", {"ok": True}:
            return entry.kind
        case "connection.tested", _:
            return "connection.test_failed"
        case "connection.revocation_failed", {"given_up": True}:
            return "connection.revocation_given_up"
    return entry.kind


def readable(name: str, value: Any) -> str:
    """Return a value of the detail as text; times, which the trail keeps as seconds since the epoch, as moments."""
    match value:
        case None:
            return plain("history.nothing")
        case bool():
            return plain("history.yes" if value else "history.no")
        case int() | float() if name.endswith("_at"):
            return moment(value)
        case Mapping():
            return ", ".join(f"{key} {readable(key, item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(readable(name, item) for item in value)
    return str(value)


def actor_words(actor: str) -> str:
    """Return who did it."""
    key = f"actor.{actor}"
    return plain(key) if has(key) else actor


def entrance_words(entrance: str) -> str:
    """Return by which entrance it came."""
    key = f"entrance.{entrance}"
    return plain(key) if has(key) else entrance


def code_words(code: str) -> str:
    """Return what a code of ours means."""
    if code in PROBLEMS:
        return PROBLEMS[code].title
    key = f"code.{code}"
    return plain(key) if has(key) else ""


def status_words(status: int) -> str:
    """Return a status' reason phrase (RFC 9110 §15), empty where it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def status_tone(status: int, code: str | None) -> str:
    """Return how a status is coloured."""
    if status >= _FAULTS or code:
        return "bad"
    return "warn" if status >= _ERRORS else "good"


def _of_request(entry: RequestRow) -> dict[str, str]:
    return {
        "href": f"/activity/requests/{entry.id}",
        "tone": status_tone(entry.status, entry.code),
        "status": str(entry.status),
        "method": entry.method,
        "what": entry.url or plain("activity.no_target"),
        "took": span(entry.seconds),
        "entrance": entrance_words(entry.entrance),
        "refreshed": plain("activity.refreshed") if entry.refreshed else "",
        "code": entry.code or "",
        "meaning": code_words(entry.code) if entry.code else "",
    }


def _of_event(entry: EventRow) -> dict[str, str]:
    return {
        "href": f"/activity/events/{entry.id}",
        "tone": _TONES.get(kind_of(entry), "plain"),
        "status": plain("activity.event"),
        "what": event_words(entry),
        "actor": actor_words(entry.actor),
    }
