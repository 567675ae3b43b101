"""Field values: what a person typed, checked against the policy, and the URLs that are made of them."""

from collections.abc import Mapping

from gateway.policy import pattern
from gateway.policy.context import Context
from gateway.policy.entry import EntryInvalid, EntryTemplate
from gateway.policy.model import Field, Policy
from gateway.policy.url import UrlInvalid, UrlTemplate, is_label, join

MAX_LENGTH = 16_384  # characters; the longest real ones are private keys and JWTs


def validate_fields(policy: Policy, given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the values with defaults filled in, and an error for each wrong field. No value is in an error."""
    values: dict[str, str] = {}
    errors = dict.fromkeys(given.keys() - {field.name for field in policy.fields}, "is no field of this app")
    labels = host_fields(policy)
    for field in policy.fields:
        value = given.get(field.name) or field.default
        if not value:
            if field.required:
                errors[field.name] = "is required"
            continue
        if error := _error(field, value, in_host=field.name in labels):
            errors[field.name] = error
        else:
            values[field.name] = value
    return values, errors


def with_defaults(policy: Policy, values: Mapping[str, str]) -> dict[str, str]:
    """Stored values, and the defaults of fields that the policy has gained since."""
    return {field.name: field.default for field in policy.fields if field.default} | dict(values)


def host_fields(policy: Policy) -> frozenset[str]:
    """The fields that stand in the host of any URL of the policy."""
    return frozenset(name for url in urls(policy) for name in url.host_fields)


def urls(policy: Policy) -> list[UrlTemplate]:
    """Every URL of the policy that can be read."""
    auth = policy.auth
    sections = (auth.authorize, auth.token, auth.refresh, auth.revoke, policy.test)
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


def test_url(policy: Policy, context: Context) -> str | None:
    """The test API's whole URL; None where the policy has none. Raises `MissingValue`, `UrlInvalid`."""
    if policy.test is None:
        return None
    url = UrlTemplate.parse(policy.test.url, relative=True)
    if not url.is_relative:
        return url.render(context)
    if policy.base_url is None:
        raise UrlInvalid("the test URL is relative and the policy has no base_url")
    return join(UrlTemplate.parse(policy.base_url).render(context), url.render(context))


test_url.__test__ = False  # type: ignore[attr-defined]  # not one of pytest's


def _error(field: Field, value: str, *, in_host: bool) -> str | None:
    if len(value) > MAX_LENGTH:
        return "is too long"
    if field.choices is not None and value not in field.choices:
        return f"must be one of {', '.join(field.choices)}"
    if field.pattern is not None and not pattern.matches(field.pattern, value):
        return f"must match {field.pattern}"
    if in_host and not is_label(value):
        return "must be one label of a host name: letters, digits and hyphens, at most 63"
    return None
