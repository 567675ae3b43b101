"""Checks that run the matcher: [[examples]] hold, and the test API and base_url are allowed themselves.

A field that may be anything is tried with what the URL itself has in its place: an example is allowed if some value
allows it.
"""

import itertools
from collections.abc import Iterator, Mapping

from gateway.http.target import Target, TargetInvalid, parse_target
from gateway.policy.checks import urls
from gateway.policy.context import Context
from gateway.policy.draft import Draft
from gateway.policy.entry import EntryInvalid, EntryTemplate
from gateway.policy.finding import Fault
from gateway.policy.match import Allowed, Decision, Denied, Matcher
from gateway.policy.model import Allow
from gateway.policy.pattern import PatternInvalid, matches
from gateway.policy.template import Path
from gateway.policy.url import UrlInvalid, UrlTemplate, join

_MAX_TRIED = 200  # combinations of field values
_SAMPLE = "sample"


def check(draft: Draft) -> Iterator[Fault]:
    """Yield examples that don't hold, and calls of the policy's own that it doesn't allow."""
    base = _base(draft)
    yield from base[1]
    allow = draft.allow
    if allow is None or not _readable(allow):
        return
    for number, example in draft.examples:
        decision = decide(draft, allow, example.method, example.url)
        if isinstance(decision, Allowed) and not example.allowed:
            yield f"examples[{number}]", f"does not hold: it should be denied and is allowed by {decision.rule!r}"
        elif isinstance(decision, Denied) and example.allowed:
            yield f"examples[{number}]", f"does not hold: {' '.join(filter(None, [decision.reason, decision.hint]))}"
    yield from _own_calls(draft, allow, base[0])


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


def decide(draft: Draft, allow: Allow, method: str, url: str) -> Decision:
    """Decide on a request by a draft whose entries can be read: allowed if some value of its fields allows it."""
    try:
        target = parse_target(url)
    except TargetInvalid as error:
        return Denied(f"It is no clean URL: {error}.")
    decision: Decision = Denied("No value of its fields allows it.")
    for values in _field_values(draft, target):
        try:
            decision = Matcher.compile(allow, values).decide(method, target)
        except ValueError:  # this value can't stand in a host, so it allows nothing
            continue
        if isinstance(decision, Allowed):
            break
    return decision


def _field_values(draft: Draft, target: Target | None) -> Iterator[Mapping[str, str]]:
    """Yield combinations of values for the fields that stand in allowed URLs."""
    used = _used(draft)
    places = [*target.host.split("."), *target.path.split("/")] if target else []
    names = [field for name, field in draft.by_name.items() if name in used]
    options = [
        field.choices
        or tuple(
            dict.fromkeys(
                [*filter(None, [field.default]), *(place for place in places if _fits(field.pattern, place)), _SAMPLE]
            )
        )
        for field in names
    ]
    for combination in itertools.islice(itertools.product(*options), _MAX_TRIED):
        yield {field.name: value for field, value in zip(names, combination, strict=True)}


def _used(draft: Draft) -> set[str]:
    allow = draft.allow
    texts = [(text, False) for text in allow.urls] + [(text, True) for text in allow.deny] if allow else []
    paths = {path[-1] for text, deny in texts for path in EntryTemplate.parse(text, deny=deny).url.paths}
    if draft.base_url:
        paths |= {name[-1] for name in UrlTemplate.parse(draft.base_url).paths} if _is_url(draft.base_url) else set()
    return paths


def _is_url(text: str) -> bool:
    try:
        UrlTemplate.parse(text)
    except UrlInvalid:
        return False
    return True


def _fits(pattern: str | None, place: str) -> bool:
    if not place or pattern is None:
        return bool(place)
    try:
        return matches(pattern, place)
    except PatternInvalid:
        return True


class _Samples(Context):
    """A context that has something for every path, as the token's or the test's answer would."""

    def value(self, path: Path) -> object:
        return super().value(path) or _SAMPLE


def _own_calls(draft: Draft, allow: Allow, base: UrlTemplate | None) -> Iterator[Fault]:
    """The test call carries the credentials too, so it must be allowed; a base URL must be on an allowed host."""
    for values in _field_values(draft, None):
        context = _Samples(fields=values)
        try:
            matcher = Matcher.compile(allow, values)
            root = base.render(context) if base else None
            whole = _test_url(draft, context, root)
            decision = matcher.decide(draft.test.method, parse_target(whole)) if draft.test and whole else None
        except (ValueError, TargetInvalid):
            continue  # said already, or a sample that can't stand in a host
        if root and not matcher.covers_host(parse_target(root).host):
            yield "base_url", f"{root} is on no allowed host; add it to allow.urls"
            return
        if isinstance(decision, Denied):
            yield (
                "test.url",
                f"is not allowed by the policy itself: {' '.join(filter(None, [decision.reason, decision.hint]))}",
            )
            return


def _test_url(draft: Draft, context: Context, root: str | None) -> str | None:
    if draft.test is None:
        return None
    url = UrlTemplate.parse(draft.test.url, relative=True)
    if not url.is_relative:
        return url.render(context)
    return join(root, url.render(context)) if root else None
