"""The audit trail's entries in words: the texts under `told`, by the kind; a kind that has none is shown as it is."""

from dataclasses import dataclass

from markupsafe import Markup

from gateway.store.rows import EventRow
from gateway.web.entries import actor_words, kind_of, readable
from gateway.web.text import t


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
    key = f"told.{kind_of(event)}"
    detail = {name: readable(name, value) for name, value in event.detail.items()}
    about = {name: getattr(event, name) or "" for name in ("app", "connection", "client")}
    try:
        return t(key, **about | detail)
    except KeyError:  # a kind without words, or an entry that says less than its kind does today
        listed = ", ".join(f"{name} {value}" for name, value in detail.items())
        return t("history.unknown_with" if listed else "history.unknown", kind=event.kind, listed=listed)
