"""Fields that nobody fills in: each is found when connecting, in what an answer said (`from` in the file).

They are found in stages, as the answers come: in the callback's query, the token endpoint's answer, the look-up's, the
test API's. What was found is a field like any other from then on, and is under the same rules.
"""

import re
from collections.abc import Collection
from enum import IntEnum
from typing import Any

from gateway.http.scrub import Scrubber
from gateway.policy.context import ALIAS, Context, field_of
from gateway.policy.fields import error_of, host_spots
from gateway.policy.model import Field, Policy, Script
from gateway.policy.template import MissingValue, Path, Template
from gateway.policy.value import SIGNATURE, paths, render_text
from gateway.secret import Secret


class Stage(IntEnum):
    """After which answer a field can be found."""

    CALLBACK = 0
    TOKEN = 1
    LOOKUP = 2
    TEST = 3


class FoundInvalid(ValueError):
    """An answer holds something else than the policy wants there. The message holds no value."""


_ROOTS = {"callback": Stage.CALLBACK, "fields": Stage.CALLBACK, "lookup": Stage.LOOKUP, "test": Stage.TEST}
_NAMES = re.compile(rf"\b(?:(?P<test>{ALIAS}|context\.test)|(?P<lookup>context\.lookup)|(?P<token>authData))\b")


def stage_of(field: Field, known: Collection[str]) -> Stage:
    """After which answer the field's value can be told; `known` are the names of all fields."""
    source = field.source
    if isinstance(source, Script):
        names = {found.lastgroup for found in _NAMES.finditer(source.js)}
        return max((Stage[str(name).upper()] for name in names), default=Stage.CALLBACK)
    return max((_stage(path, known) for path in Template.parse(source or "").paths), default=Stage.CALLBACK)


def _stage(path: Path, fields: Collection[str]) -> Stage:
    if path[:2] == ("authData", ALIAS):
        return Stage.TEST
    return Stage.CALLBACK if path[0] in fields else _ROOTS.get(path[0], Stage.TOKEN)


def found_at(policy: Policy, context: Context, stage: Stage) -> dict[str, str | Secret]:
    """Return the fields that this answer tells, a secret field's as a `Secret`.

    Raises `MissingValue` where a required one isn't in it, `FoundInvalid` where it isn't what the policy wants,
    `ScriptInvalid`.
    """
    spots, known = host_spots(policy), {field.name for field in policy.fields}
    found: dict[str, str | Secret] = {}
    for field in policy.fields:
        if field.source is None or stage_of(field, known) is not stage:
            continue
        seen = len(context.used)
        try:
            value = render_text(field.source, context)
        except MissingValue as error:
            if field.required and not field.default:
                raise MissingValue(error.path, f"is missing or empty; the field {field.name} is found there") from None
            continue
        if wrong := error_of(field, value, spots.get(field.name, frozenset())):
            raise FoundInvalid(f"the field {field.name}, which an answer named, {wrong}")
        if not field.secret and _holds(value, context.used[seen:]):
            raise FoundInvalid(f"the field {field.name}, which is shown, would hold a secret; say secret = true")
        found[field.name] = Secret(value) if field.secret else value
    return found


def _holds(value: str, read: list[Secret]) -> bool:
    """Whether a secret stands in the value: a script may have read one for something in it that is none."""
    plain = value.encode("utf-8", "replace")
    return Scrubber(read).text(plain) != plain


def without_unfound(policy: Policy, context: Context) -> Policy:
    """Return the policy without the allowed URLs and injected values that need a field which isn't found yet.

    It is for calls that are made while fields are being found: these go to what is known by then, with what is known.
    """
    unfound = {field.name for field in policy.fields if field.source is not None and field.name not in context.fields}
    if not unfound:
        return policy

    def is_known(value: Any) -> bool:
        return not any(field_of(path) in unfound for path in paths(value))

    sign = policy.sign
    if sign is not None and not is_known(dict(sign)):
        sign, unfound = None, unfound | {SIGNATURE}
    inject = policy.inject.model_copy(
        update={
            name: {key: value for key, value in getattr(policy.inject, name).items() if is_known(value)}
            for name in ("headers", "defaults", "query", "body")
        }
    )
    allow = policy.allow.model_copy(update={"urls": tuple(filter(is_known, policy.allow.urls))})
    return policy.model_copy(update={"inject": inject, "allow": allow, "sign": sign})
