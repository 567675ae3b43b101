"""Kinds of values in a policy file, and how each is read: templates, JavaScript, parameters, sources of credentials."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict


class StrictModel(BaseModel):
    """A frozen table of the file: unknown keys are errors, nothing is converted, errors don't show what was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Script(StrictModel):
    """A value that JavaScript computes: `{ js = "…" }`."""

    js: str


class EnvSource(StrictModel):
    """A credential that stands in an environment variable of the gateway."""

    env: str


class FileSource(StrictModel):
    """A credential that stands in a file beside the gateway."""

    file: str


class FieldSource(StrictModel):
    """A credential that the connecting person types in: the field's name."""

    field: str


class SecretSource(StrictModel):
    """A credential that was set in the pages or by the API and is sealed in the store: its name."""

    secret: str


SOURCES: Mapping[str, type[EnvSource | FileSource | FieldSource | SecretSource]] = {
    "env": EnvSource,
    "file": FileSource,
    "field": FieldSource,
    "secret": SecretSource,
}


def _as_source(value: Any) -> Any:
    if isinstance(value, (str, EnvSource, FileSource, FieldSource, SecretSource)):
        return value
    match value:
        case dict() if len(value) == 1:
            ((key, name),) = value.items()
            if key in SOURCES and isinstance(name, str) and name:
                return SOURCES[key](**{key: name})
    raise ValueError('must be a text or one of { env = "…" }, { file = "…" }, { field = "…" }, { secret = "…" }')


def _as_value(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"js"} and isinstance(value["js"], str):
            return Script(js=value["js"])
    elif isinstance(value, (str, Script)):
        return value
    raise ValueError('must be a text, or JavaScript as { js = "…" }')


def _as_param(value: Any) -> Any:
    if value is False:
        return value
    if isinstance(value, (str, dict, Script)):
        return _as_value(value)
    if value is True or not isinstance(value, (int, float)):
        raise ValueError('must be a text, a number, { js = "…" }, or false to leave a standard parameter out')
    return str(value)


def _as_token_param(value: Any) -> Any:
    if (isinstance(value, dict) and set(value) != {"js"}) or isinstance(value, list):
        return _as_body_value(value)
    return _as_param(value)


def _as_body_value(value: Any) -> Any:
    match value:
        case dict() if set(value) == {"js"} and isinstance(value["js"], str):
            return Script(js=value["js"])
        case dict():
            return {key: _as_body_value(item) for key, item in value.items()}
        case list():
            return [_as_body_value(item) for item in value]
        case str() | bool() | int() | float() | Script():
            return value
    raise ValueError("must be a text, a number, true, false, a list or a table; write dates as texts")


CredentialSource = Annotated[str | EnvSource | FileSource | FieldSource | SecretSource, BeforeValidator(_as_source)]
"""Where a credential of the app comes from; a literal text only for what is public."""
Value = Annotated[str | Script, BeforeValidator(_as_value)]
"""A template, or JavaScript."""
Param = Annotated[str | Script | Literal[False], BeforeValidator(_as_param)]
"""A value, or False: the standard parameter of this name is left out."""
TokenParam = Annotated[Any, BeforeValidator(_as_token_param)]
"""A `Param`, or where the request is JSON a table or a list of them."""
BodyValue = Annotated[Any, BeforeValidator(_as_body_value)]
"""JSON whose texts are templates and whose tables `{ js = "…" }` are `Script`s."""
