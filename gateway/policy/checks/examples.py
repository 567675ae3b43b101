"""Checks that run the matcher: [[examples]] hold, and the test API and base_url are allowed themselves.

A field that may be anything is tried with what the URL itself has in its place: an example is allowed if some value
allows it.
"""

from collections.abc import Iterator, Mapping

from gateway.http.target import TargetInvalid, parse_target
from gateway.policy.checks import urls
from gateway.policy.checks.candidates import SAMPLE, field_values, spots_of
from gateway.policy.context import Context
from gateway.policy.draft import Draft
from gateway.policy.entry import EntryInvalid, EntryTemplate
from gateway.policy.fields import error_of
from gateway.policy.finding import Fault
from gateway.policy.match import Allowed, Decision, Denied, Matcher
from gateway.policy.model import Allow, Lookup
from gateway.policy.template import Path
from gateway.policy.url import UrlTemplate, join


def check(draft: Draft) -> Iterator[Fault]:
    """Yield examples that don't hold, and calls of the policy's own that it doesn't allow."""
    base = _base(draft)
    yield from base[1]
    allow = draft.allow
    if allow is None or not _readable(allow):
        return
    for number, example in draft.examples:
        if wrong := sorted(example.fields.keys() - draft.field_names):
            yield f"examples[{number}].fields.{wrong[0]}", urls.unknown_field(draft, wrong[0])
            continue
        if faults := list(_values(draft, example.fields, f"examples[{number}].fields")):
            yield from faults
            continue
        decision = decide(draft, allow, example.method, example.url, example.fields)
        if isinstance(decision, Allowed) and not example.allowed:
            yield f"examples[{number}]", f"does not hold: it should be denied and is allowed by {decision.rule!r}"
        elif isinstance(decision, Denied) and example.allowed:
            yield f"examples[{number}]", f"does not hold: {' '.join(filter(None, [decision.reason, decision.hint]))}"
    yield from _own_calls(draft, allow, base[0])


def _values(draft: Draft, given: Mapping[str, str], at: str) -> Iterator[Fault]:
    """What an example says of a field must be right for it."""
    spots = spots_of(draft)
    for name, value in given.items():
        field = draft.by_name.get(name)
        standing = frozenset({spots[name]}) if name in spots else frozenset()
        if field is not None and (wrong := error_of(field, value, standing)):
            yield f"{at}.{name}", wrong


def _base(draft: Draft) -> tuple[UrlTemplate | None, list[Fault]]:
    if draft.base_url is None:
        return None, []
    url, faults = urls.read(draft.base_url, "base_url")
    if url is not None:
        faults += urls.host_fields(draft, url, "base_url")
        if url.sample.query is not None:
            faults.append(("base_url", "has a query; end it with its path"))
    return url, faults


def _readable(allow: Allow) -> bool:
    try:
        for text in allow.urls:
            EntryTemplate.parse(text)
        for text in allow.deny:
            EntryTemplate.parse(text, deny=True)
    except EntryInvalid:
        return False  # said already
    return bool(allow.urls)


def decide(draft: Draft, allow: Allow, method: str, url: str, fields: Mapping[str, str] | None = None) -> Decision:
    """Decide on a request by a draft whose entries can be read: allowed if some value of its fields allows it.

    `fields` are values that are given.
    """
    try:
        target = parse_target(url)
    except TargetInvalid as error:
        return Denied(f"It is no clean URL: {error}.")
    decision: Decision = Denied("No value of its fields allows it.")
    for values in field_values(draft, target, fields or {}):
        try:
            decision = Matcher.compile(allow, values).decide(method, target)
        except ValueError:  # this value can't stand in a host, so it allows nothing
            continue
        if isinstance(decision, Allowed):
            break
    return decision


class _Samples(Context):
    """A context that has something for every path, as the token's or the test's answer would."""

    def value(self, path: Path) -> object:
        return super().value(path) or SAMPLE


def _own_calls(draft: Draft, allow: Allow, base: UrlTemplate | None) -> Iterator[Fault]:
    """What the policy calls itself carries the credentials too, so it must be allowed, and so must the base URL."""
    found = {field.name for _, field in draft.fields if field.source is not None}
    urls_of_lookup = tuple(text for text in allow.urls if found.isdisjoint(EntryTemplate.parse(text).url.host_fields))
    early = allow.model_copy(update={"urls": urls_of_lookup})
    for values in field_values(draft, None):
        context = _Samples(fields=values)
        try:
            root = base.render(context) if base else None
            matcher = Matcher.compile(allow, values)
            decisions = {
                "test.url": _decision(draft.test, matcher, context, root) if draft.test else None,
                "lookup.url": _decision(draft.lookup, Matcher.compile(early, values), context, root)
                if draft.lookup
                else None,
            }
        except (ValueError, TargetInvalid):
            continue  # said already, or a sample that can't stand in a host
        if root and not matcher.covers_host(parse_target(root).host):
            yield "base_url", f"{root} is on no allowed host; add it to allow.urls"
            return
        denied = {at: one for at, one in decisions.items() if isinstance(one, Denied)}
        for at, why in denied.items():
            yield at, f"is not allowed by the policy itself: {' '.join(filter(None, [why.reason, why.hint]))}"
        if denied:
            return


def _decision(call: Lookup, matcher: Matcher, context: Context, root: str | None) -> Decision | None:
    """Decide on a call of the policy's own; None: its URL can't be told."""
    url = UrlTemplate.parse(call.url, relative=True)
    if url.is_relative and not root:
        return None
    whole = join(root or "", url.render(context)) if url.is_relative else url.render(context)
    return matcher.decide(call.method, parse_target(whole))
