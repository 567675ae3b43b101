"""Field values: what a person typed, checked against the policy, and the URLs that are made of them."""

import re
from collections.abc import Mapping

from gateway.policy import pattern
from gateway.policy.context import Context
from gateway.policy.entry import EntryInvalid, EntryTemplate
from gateway.policy.model import Field, Lookup, Policy
from gateway.policy.url import Spot, UrlInvalid, UrlTemplate, base_of, host_of, is_within, join, why_not

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
MAX_LENGTH = 16_384  # characters; the longest real ones are private keys and JWTs


def validate_fields(policy: Policy, given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the values with defaults filled in, and an error for each wrong field. No value is in an error."""
    values: dict[str, str] = {}
    errors = dict.fromkeys(given.keys() - {field.name for field in policy.fields}, "is no field of this app")
    spots = host_spots(policy)
    for field in policy.fields:
        if field.source is not None:
            if field.name in given:
                errors[field.name] = "is found when connecting; leave it out"
            continue
        value = given.get(field.name) or field.default
        if not value:
            if field.required:
                errors[field.name] = "is required"
            continue
        if error := error_of(field, value, spots.get(field.name, frozenset())):
            errors[field.name] = error
        else:
            values[field.name] = value
    return values, errors


def with_defaults(policy: Policy, values: Mapping[str, str]) -> dict[str, str]:
    """Stored values, and the defaults of fields that the policy has gained since.

    A value that names a host and isn't right any more counts as none: the policy may have pinned its domains since.
    """
    spots = host_spots(policy)
    wrong = {
        field.name
        for field in policy.fields
        if field.name in spots and field.name in values and error_of(field, values[field.name], spots[field.name])
    }
    defaults = {field.name: field.default for field in policy.fields if field.default}
    return defaults | {name: value for name, value in values.items() if name not in wrong}


def host_spots(policy: Policy) -> Mapping[str, frozenset[Spot]]:
    """The fields that stand in the host of any URL of the policy, and where they do."""
    found: dict[str, set[Spot]] = {}
    for url in urls(policy):
        for name, spot in url.spots.items():
            found.setdefault(name, set()).add(spot)
    return {name: frozenset(spots) for name, spots in found.items()}


def urls(policy: Policy) -> list[UrlTemplate]:
    """Every URL of the policy that can be read."""
    auth = policy.auth
    sections = (
        *(auth.authorize, auth.device, auth.token, auth.exchange, auth.refresh, auth.revoke),
        *(policy.lookup, policy.test),
    )
    texts = [policy.base_url, *(section.url for section in sections if section)]
    found: list[UrlTemplate] = []
    for text in texts:
        try:
            found += [UrlTemplate.parse(text, relative=True)] if text else []
        except UrlInvalid:
            continue
    for text, deny in [*((text, False) for text in policy.allow.urls), *((text, True) for text in policy.allow.deny)]:
        try:
            found.append(EntryTemplate.parse(text, deny=deny).url)
        except EntryInvalid:
            continue
    return found


def base_url(policy: Policy, fields: Mapping[str, str]) -> str | None:
    """The base URL with its fields; None where the policy has none. Raises `MissingValue`, `UrlInvalid`."""
    return None if policy.base_url is None else UrlTemplate.parse(policy.base_url).render(Context(fields=fields))


def call_url(policy: Policy, call: Lookup, context: Context) -> str:
    """A call's whole URL: of the test API, or of the look-up. Raises `MissingValue`, `UrlInvalid`."""
    url = UrlTemplate.parse(call.url, relative=True)
    if not url.is_relative:
        return url.render(context)
    if policy.base_url is None:
        raise UrlInvalid("its URL is relative and the policy has no base_url")
    return join(UrlTemplate.parse(policy.base_url).render(context), url.render(context))


def test_url(policy: Policy, context: Context) -> str | None:
    """The test API's whole URL; None where the policy has none. Raises `MissingValue`, `UrlInvalid`."""
    return None if policy.test is None else call_url(policy, policy.test, context)


test_url.__test__ = False  # type: ignore[attr-defined]  # not one of pytest's


def error_of(field: Field, value: str, spots: frozenset[Spot] = frozenset()) -> str | None:
    """Say what is wrong with a value, or None. `spots` is where in a host the field stands. No value is in it."""
    if len(value) > MAX_LENGTH:
        return "is too long"
    if field.choices is not None and value not in field.choices:
        return f"must be one of {', '.join(field.choices)}"
    if field.pattern is not None and not pattern.matches(field.pattern, value):
        return f"must match {field.pattern}"
    return kind_error(field, value) or next(filter(None, (why_not(spot, value) for spot in sorted(spots))), None)


def kind_error(field: Field, value: str) -> str | None:
    """Say why a value isn't of the field's kind, or not on its domains; None: it is."""
    try:
        match field.kind:
            case "host":
                host = host_of(value).host
            case "url":
                host = base_of(value).host
            case "email" if not _EMAIL.fullmatch(value):
                return "must be an e-mail address"
            case "uuid" if not _UUID.fullmatch(value):
                return "must be a UUID, such as 123e4567-e89b-12d3-a456-426614174000"
            case _:
                return None
    except UrlInvalid as error:
        return str(error)
    if field.domains and not is_within(host, field.domains):
        return f"must be on {' or '.join(field.domains)}"
    return None
