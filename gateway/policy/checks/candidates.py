"""What fields may be, to try an example with: the values that a target itself has in their places, or samples."""

import itertools
from collections.abc import Iterator, Mapping

from gateway.http.target import Target
from gateway.policy.draft import Draft
from gateway.policy.entry import EntryTemplate
from gateway.policy.fields import error_of
from gateway.policy.model import Field
from gateway.policy.pattern import PatternInvalid, matches
from gateway.policy.template import Expression
from gateway.policy.url import Spot, UrlInvalid, UrlTemplate

_MAX_TRIED = 200  # combinations of field values
SAMPLE = "sample"


def field_values(
    draft: Draft, target: Target | None, given: Mapping[str, str] | None = None
) -> Iterator[Mapping[str, str]]:
    """Yield combinations of values for the fields that stand in allowed URLs."""
    used = _used(draft)
    spots = spots_of(draft)
    fields = [field for name, field in draft.by_name.items() if name in used]
    options = [_options(field, target, spots.get(field.name), (given or {}).get(field.name), draft) for field in fields]
    for combination in itertools.islice(itertools.product(*options), _MAX_TRIED):
        yield {field.name: value for field, value in zip(fields, combination, strict=True)}


def _options(
    field: Field, target: Target | None, spot: Spot | None, given: str | None, draft: Draft
) -> tuple[str, ...]:
    """Return what the field may be: the value that is given, its choices, or what the target itself has there."""
    if given is not None:
        return (given,)
    if field.choices:
        return field.choices
    places = _places(target, spot, field, draft) if target else ()
    kept = [place for place in places if _fits(field.pattern, place) and not error_of(field, place, _set(spot))]
    return tuple(dict.fromkeys([*filter(None, [field.default]), *kept, _sample(field, spot)]))


def _set(spot: Spot | None) -> frozenset[Spot]:
    return frozenset() if spot is None else frozenset({spot})


def _places(target: Target, spot: Spot | None, field: Field, draft: Draft) -> Iterator[str]:
    """Yield the parts of a target that could stand where the field does."""
    match spot:
        case Spot.HOST:
            yield target.origin.authority
        case Spot.URL:
            steps = target.path.split("/")
            yield from (f"{target.origin}{'/'.join(steps[:end])}" for end in range(1, len(steps) + 1))
        case Spot.PART:
            yield from _parts(target, field, draft)
        case _:
            yield from (*target.host.split("."), *target.path.split("/"))


def _parts(target: Target, field: Field, draft: Draft) -> Iterator[str]:
    """Yield what is left of a label without the letters that an entry has around the field."""
    for text in draft.allow.urls if draft.allow else ():
        url = EntryTemplate.parse(text).url
        names = [path[-1] for part, _ in url.parts if isinstance(part, Expression) for path in part.paths]
        for name, stand_in in zip(names, url.stand_ins, strict=False):
            for label in url.sample.host.split("."):
                if name == field.name and stand_in in label:
                    before, _, after = label.partition(stand_in)
                    fitting = (one for one in target.host.split(".") if one.startswith(before) and one.endswith(after))
                    yield from (one[len(before) : len(one) - len(after)] for one in fitting)


def _sample(field: Field, spot: Spot | None) -> str:
    host = f"{SAMPLE}.{field.domains[0] if field.domains else 'example.com'}"
    return {Spot.HOST: host, Spot.URL: f"https://{host}"}.get(spot or Spot.BEHIND, SAMPLE)


def spots_of(draft: Draft) -> dict[str, Spot]:
    """Where in a host the fields stand."""
    allow = draft.allow
    spots: dict[str, Spot] = {}
    for text in allow.urls if allow else ():
        spots |= EntryTemplate.parse(text).url.spots
    if draft.base_url and _is_url(draft.base_url):
        spots |= UrlTemplate.parse(draft.base_url).spots
    return spots


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
