"""Checks of [[fields]]."""

import re
from collections import Counter
from collections.abc import Iterator

from gateway.policy import pattern
from gateway.policy.context import ALIAS, ROOTS
from gateway.policy.draft import Draft
from gateway.policy.fields import kind_error
from gateway.policy.finding import Fault
from gateway.policy.model import Field
from gateway.policy.suffix import is_public_suffix
from gateway.policy.url import is_label
from gateway.policy.value import SIGNATURE

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_RESERVED = frozenset({*ROOTS, ALIAS, SIGNATURE})


def check(draft: Draft) -> Iterator[Fault]:
    """Yield the faults of all fields."""
    count = Counter(field.name for _, field in draft.fields)
    seen: set[str] = set()
    for number, field in draft.fields:
        at = f"fields[{number}]"
        if count[field.name] > 1 and field.name in seen:
            yield f"{at}.name", f"{field.name!r} is the name of an earlier field; each needs its own"
        seen.add(field.name)
        yield from _name(field, at)
        yield from _choices(field, at)
        yield from _pattern(field, at)
        yield from _default(field, at)
        yield from _kind(field, at)
        yield from _shown(field, at)


def _name(field: Field, at: str) -> Iterator[Fault]:
    if not _NAME.fullmatch(field.name):
        yield f"{at}.name", "must be letters, digits and _, and not start with a digit, so that {{ name }} can name it"
    elif field.name in _RESERVED:
        yield f"{at}.name", f"{field.name!r} has a meaning of its own in {{{{ }}}}; take another name"


def _choices(field: Field, at: str) -> Iterator[Fault]:
    if field.choices is None:
        return
    if field.pattern is not None:
        yield f"{at}.pattern", "is of no use beside choices; leave one of them out"
    if not field.choices:
        yield f"{at}.choices", "is empty, so nothing could be chosen; leave it out or list the choices"
    for number, choice in enumerate(field.choices):
        if not choice.strip():
            yield f"{at}.choices[{number}]", "is empty; a field that may stay empty has required = false"
        elif choice in field.choices[:number]:
            yield f"{at}.choices[{number}]", f"{choice!r} is there twice"


def _pattern(field: Field, at: str) -> Iterator[Fault]:
    if field.pattern is None:
        return
    try:
        pattern.check(field.pattern)
    except pattern.PatternInvalid as error:
        yield f"{at}.pattern", str(error)


def _default(field: Field, at: str) -> Iterator[Fault]:
    if field.default is None:
        return
    if field.secret:
        yield (
            f"{at}.default",
            "is a secret written into the file; a secret field has no default, the person fills it in",
        )
    elif field.once:
        yield f"{at}.default", "makes no sense for a value that is used once; leave it out"
    elif field.choices and field.default not in field.choices:
        yield f"{at}.default", f"{field.default!r} is none of the choices"
    elif field.pattern is not None and not _matches(field.pattern, field.default):
        yield f"{at}.default", f"{field.default!r} does not match the pattern"
    elif field.default and (wrong := kind_error(field, field.default)):
        yield f"{at}.default", wrong
    elif not field.default:
        yield f"{at}.default", "is empty; leave it out, and say required = false if the field may stay empty"


def _kind(field: Field, at: str) -> Iterator[Fault]:
    if field.kind != "text" and field.choices is not None:
        yield f"{at}.kind", "is of no use beside choices; leave it out"
    if field.domains and field.kind not in ("host", "url"):
        yield f"{at}.domains", 'says where a host may be; add kind = "host" or kind = "url"'
    for number, domain in enumerate(field.domains):
        where = f"{at}.domains[{number}]"
        if not all(map(is_label, domain.split("."))):
            yield where, f"{domain!r} is no domain; write it as in service-now.com, which covers every host below it"
        elif is_public_suffix(domain.lower()):
            yield where, f"{domain!r} is a public suffix, under which anyone can have a host; write a host below it"


def _shown(field: Field, at: str) -> Iterator[Fault]:
    if field.hidden and field.required and field.default is None:
        yield f"{at}.hidden", "leaves the field empty; give it a default, or say required = false"
    if field.docs and not field.docs.startswith("https://"):
        yield f"{at}.docs", "must be a link that begins with https://"


def _matches(text: str, default: str) -> bool:
    try:
        return pattern.matches(text, default)
    except pattern.PatternInvalid:
        return True  # said already
