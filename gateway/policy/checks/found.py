"""Checks of fields that are found when connecting: what they may say, and that each is found before it is needed."""

from collections.abc import Iterator

from gateway.policy.context import field_of
from gateway.policy.draft import Draft
from gateway.policy.finding import Fault
from gateway.policy.found import Stage, stage_of
from gateway.policy.model import Field
from gateway.policy.template import Template, TemplateInvalid
from gateway.policy.url import UrlInvalid, UrlTemplate

_KNOWN = {
    "auth.authorize.url": None,
    "auth.device.url": None,
    "auth.token.url": Stage.CALLBACK,
    "auth.exchange.url": Stage.TOKEN,
    "lookup.url": Stage.TOKEN,
    "test.url": Stage.LOOKUP,
}
"""URLs that are needed while fields are being found, and the last answer that is there by then; None: not one."""
_ANSWERS = {
    Stage.CALLBACK: "the login's callback",
    Stage.TOKEN: "the token endpoint's answer",
    Stage.LOOKUP: "the look-up's answer",
    Stage.TEST: "the test API's answer",
}


def check(draft: Draft) -> Iterator[Fault]:
    """Yield the faults of found fields."""
    stages: dict[str, Stage] = {}
    for number, field in draft.fields:
        if field.source is None:
            continue
        yield from _field(draft, field, f"fields[{number}]")
        try:
            stages[field.name] = stage_of(field, draft.field_names)
        except TemplateInvalid:
            continue  # said with the templates
    for at, last in _KNOWN.items():
        for name in _names(_url(draft, at)):
            stage = stages.get(name)
            if stage is not None and (last is None or stage > last):
                yield at, f"needs the field {name}, which is found in {_ANSWERS[stage]}, and that comes later"


def _field(draft: Draft, field: Field, at: str) -> Iterator[Fault]:
    for name in ("once", "hidden"):
        if getattr(field, name):
            yield f"{at}.{name}", "makes no sense for a field that is found; leave it out"
    for name in ("prefix", "suffix", "example", "group"):
        if getattr(field, name):
            yield f"{at}.{name}", "is for a field that is asked for, and this one is found; leave it out"
    for name in _names(field.source if isinstance(field.source, str) else None):
        other = draft.by_name.get(name)
        if other is not None and other.source is not None:
            yield f"{at}.from", f"names the field {name}, which is found itself; name the answer that has it"


def _names(text: str | None) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(filter(None, map(field_of, Template.parse(text or "").paths))))
    except TemplateInvalid:
        return ()


def _url(draft: Draft, at: str) -> str | None:
    """Return a call's URL, with the base URL before it where it is relative."""
    *sections, _ = at.split(".")
    value: object = draft
    for section in sections:
        value = getattr(value, section, None)
    url = getattr(value, "url", None)
    try:
        if url is None or not UrlTemplate.parse(url, relative=True).is_relative:
            return url
    except UrlInvalid:
        return None  # said already
    return f"{draft.base_url or ''}{url}"
