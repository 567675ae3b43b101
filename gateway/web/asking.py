"""What a connect page says beforehand, and what it asks for: scopes, hosts, the policy's fields by their headings."""

import re
from collections.abc import Mapping
from typing import Any

from gateway.policy.model import Field, Policy

_TYPES = {"email": "email", "url": "url"}
_KEYBOARDS = {"email": "email", "url": "url", "host": "url"}
_FILLED_BY = {"email": "email", "url": "url"}
"""By a field's kind: what its input is, which keys a phone shows, and what browsers may fill in."""
_VALUE = re.compile(r"\{\{.*?\}\}")
_NAME = re.compile(r"\w+")


def asked_of(
    policy: Policy, preset: Mapping[str, str], typed: Mapping[str, str], errors: Mapping[str, str]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the fields that are still asked for, by their headings: those without one first."""
    fields = [field for field in policy.fields if field.is_asked and field.name not in preset]
    groups: dict[str, list[dict[str, Any]]] = {"": []}
    for number, field in enumerate(fields, start=1):
        groups.setdefault(field.group, []).append(_shown(field, typed, errors) | {"id": f"field-{number}"})
    return [(heading, some) for heading, some in groups.items() if some]


def preset_of(policy: Policy, preset: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Return the labels and values of what is filled in already; None for a secret."""
    return [
        (field.label, None if field.secret else f"{field.prefix}{preset[field.name]}{field.suffix}")
        for field in policy.fields
        if field.is_asked and field.name in preset
    ]


def scopes_of(policy: Policy) -> list[tuple[str, str | None]]:
    """Return what the person will be asked to allow, each with its words where the policy has them."""
    login_page, auth = policy.auth.authorize, policy.auth
    if login_page is not None:
        return [(one, login_page.scope_words.get(one)) for one in login_page.scopes]
    return [(one, None) for one in auth.device.scopes] if auth.device else []


def host_of(url: str, policy: Policy) -> str:
    """Return the host of a policy's URL or bare host, as people read it, with `…` for what they choose themselves.

    Where that is the whole host, it is what they know it by: the domains that it is below, else the field's label.
    """
    host = _VALUE.sub("…", url).rpartition("://")[2].partition("/")[0]
    if host != "…":
        return host
    named = set(_NAME.findall(url))
    field = next((one for one in policy.fields if one.name in named), None)
    if field is None:
        return host
    return ", ".join(f"….{domain}" for domain in field.domains) or field.label


def _shown(field: Field, typed: Mapping[str, str], errors: Mapping[str, str]) -> dict[str, Any]:
    """Return a field as the form shows it: a secret always empty."""
    kept = "" if field.secret or field.once else typed.get(field.name, field.default or "")
    return {
        "name": field.name,
        "label": field.label,
        "help": field.help,
        "choices": field.choices,
        "required": field.required and not (field.secret and field.default),
        "secret": field.secret,
        "once": field.once,
        "type": "password" if field.secret else _TYPES.get(field.kind, "text"),
        "inputmode": _KEYBOARDS.get(field.kind, ""),
        "autocomplete": "one-time-code" if field.once else "off" if field.secret else _FILLED_BY.get(field.kind, "off"),
        "example": field.example,
        "docs": field.docs,
        "prefix": field.prefix,
        "suffix": field.suffix,
        "value": kept,
        "error": errors.get(field.name, ""),
    }
