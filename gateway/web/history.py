"""The audit trail's entries in words: the texts under `told`, by the kind; a kind that has none is shown as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from gateway.store.rows import EventRow
from gateway.web.entries import actor_words
from gateway.web.text import plain, t
from gateway.web.times import moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One entry: when, what happened in words, and who did it."""

    at: float
    words: Markup
    actor: str


def told(event: EventRow) -> Told:
    """Return an entry in words. All that it says is data from elsewhere, and escaped."""
    return Told(at=event.at, words=_words(event), actor=actor_words(event.actor))


def _words(event: EventRow) -> Markup:
    key = f"told.{_kind(event)}"
    detail = {name: _readable(name, value) for name, value in event.detail.items()}
    about = {name: getattr(event, name) or "" for name in ("app", "connection", "client")}
    try:
        return t(key, **about | detail)
    except KeyError:  # a kind without words, or an entry that says less than its kind does today
        listed = ", ".join(f"{name} {value}" for name, value in detail.items())
        return t("history.unknown_with" if listed else "history.unknown", kind=event.kind, listed=listed)


def _kind(event: EventRow) -> str:
    """Return the kind, told apart where one kind says two things."""
    match event.kind, event.detail:
        case "connection.tested", {"ok": False}:
            return "connection.test_failed"
        case "connection.revocation_failed", {"given_up": True}:
            return "connection.revocation_given_up"
    return event.kind


def _readable(name: str, value: Any) -> str:
    """Return a value of the detail as text; times, which the trail keeps as seconds since the epoch, as moments."""
    match value:
        case None:
            return plain("history.nothing")
        case bool():
            return plain("history.yes" if value else "history.no")
        case int() | float() if name.endswith("_at"):
            return moment(value)
        case Mapping():
            return ", ".join(f"{key} {_readable(key, item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(_readable(name, item) for item in value)
    return str(value)
