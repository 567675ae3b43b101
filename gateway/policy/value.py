"""Values of a policy: templates, JavaScript, and JSON that holds them. Rendered against a `Context`."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.policy import script
from gateway.policy.context import Context
from gateway.policy.model import Policy, Script
from gateway.policy.template import MissingValue, Path, Template, TemplateInvalid


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
