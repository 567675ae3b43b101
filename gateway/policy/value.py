"""Values of a policy: templates, JavaScript, and JSON that holds them. Rendered against a `Context`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.policy import script
from gateway.policy.context import Context
from gateway.policy.model import Policy, Script
from gateway.policy.template import Expression, Lookup, MissingValue, Path, Template, TemplateInvalid

SIGNATURE = "signature"
"""What [sign] comes to."""
ANEW = frozenset({"request", SIGNATURE})
"""Roots of what belongs to one request, and is made anew for each."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A template in which all is filled in but what is made anew. It may hold secrets."""

    parts: tuple[str | Expression, ...] = field(repr=False)

    def render(self, lookup: Lookup) -> str:
        """Return the text; empty where all that it has is."""
        return "".join([part if isinstance(part, str) else part.evaluate(lookup) for part in self.parts])


def is_anew(value: Any, roots: frozenset[str] = ANEW) -> bool:
    """Whether a value names something of one request."""
    return any(path[0] in roots for path in paths(value))


def bind(value: Any, context: Context) -> Any:
    """Return a value with a `Bound` for each text that is made anew, all else rendered. Raises as `render_json`."""
    match value:
        case str() if is_anew(value):
            parts = Template.parse(value).parts
            return Bound(tuple(part if isinstance(part, str) else part.bind(context, ANEW) for part in parts))
        case Mapping():
            return {key: bind(item, context) for key, item in value.items()}
        case list() | tuple():
            return [bind(item, context) for item in value]
    return render_json(value, context)


def fill(value: Any, lookup: Lookup) -> Any:
    """Return what `bind` has made of a value, with what is of this request in it."""
    match value:
        case Bound():
            return value.render(lookup)
        case dict():
            return {key: fill(item, lookup) for key, item in value.items()}
        case list():
            return [fill(item, lookup) for item in value]
    return value


def is_left_out(policy: Policy, missing: MissingValue) -> bool:
    """Whether what needs this value goes without it: a field that may stay empty, or that is used once."""
    name = missing.path.removeprefix("authData.").removeprefix("fields.")
    return any(field.name == name and (field.once or not field.required) for field in policy.fields)


def paths(value: Any) -> Iterator[Path]:
    """Yield every path that the templates in a value name; scripts are not looked into."""
    for _, leaf in leaves(value, ""):
        if isinstance(leaf, str):
            try:
                yield from Template.parse(leaf).paths
            except TemplateInvalid:
                continue  # said by its check


def render_text(value: str | Script, context: Context) -> str:
    """Return the text of one value. Raises `MissingValue`, `ScriptInvalid`."""
    if isinstance(value, str):
        return Template.parse(value).render(context)
    result = script.run(value.js, context)
    match result:
        case bool():
            return "true" if result else "false"
        case str() | int() | float():
            return str(result)
    raise script.ScriptInvalid("the script returned a list or a table where a text is needed")


def render_json(value: Any, context: Context) -> Any:
    """Return JSON in which each text is rendered and each script has run. Raises `MissingValue`, `ScriptInvalid`."""
    match value:
        case Script():
            return script.run(value.js, context)
        case str():
            return Template.parse(value).render(context)
        case Mapping():
            return {key: render_json(item, context) for key, item in value.items()}
        case list() | tuple():
            return [render_json(item, context) for item in value]
    return value


def leaves(value: Any, path: str) -> Iterator[tuple[str, str | Script]]:
    """Yield each text and script in a value with its key path, for checks."""
    match value:
        case str() | Script():
            yield path, value
        case Mapping():
            for key, item in value.items():
                yield from leaves(item, f"{path}.{key}")
        case list() | tuple():
            for index, item in enumerate(value):
                yield from leaves(item, f"{path}[{index}]")
