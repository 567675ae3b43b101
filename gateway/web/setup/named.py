"""What a try's answer makes of a connection: what it would be called, and what would tell its account from others.

Said while the answer is there to be looked at. A slip in a path would otherwise be met by whoever connects; of a name,
which is no reason to fail, by nobody.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.policy.context import ALIAS, Context
from gateway.policy.model import Policy
from gateway.policy.template import MissingValue, Path, Template
from gateway.policy.value import render_text
from gateway.vault.label import mask

OPEN = "…"
"""Stands for the connection's id: there is none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One of the two, `label` or `unique_id`: the text that it comes to, or the path that the answer doesn't have."""

    name: str
    text: str = ""
    missing: str = ""


def named(policy: Policy, data: Any, *, is_whole: bool) -> Iterator[Named]:
    """Yield what the answer decides. Of a part of an answer it isn't said that something is missing."""
    context = Context(test=data, connection_id=OPEN)
    for name in ("label", "unique_id"):
        value = getattr(policy.connection, name)
        if not isinstance(value, str) or not any(_is_answers(path) for path in Template.parse(value).paths):
            continue  # it is the same whatever the answer is, or only a script could say
        try:
            text = render_text(value, context)
        except MissingValue as error:
            if is_whole and _is_answers(tuple(error.path.split("."))):
                yield Named(name=name, missing=error.path)
            continue
        yield Named(name=name, text=mask(text) if name == "label" and policy.connection.mask else text)


def _is_answers(path: Path) -> bool:
    """Whether a path leads into the test API's answer."""
    return path[0] == "test" or path[:2] == ("authData", ALIAS)
