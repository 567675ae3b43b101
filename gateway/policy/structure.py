"""The structure of a policy file: unknown keys, missing keys, wrong types, said in TOML's words.

What is wrong is taken out, so that the rest can still be checked and every fault of a file is shown at once.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gateway.policy.finding import Fault, did_you_mean, key_path
from gateway.policy.model import Policy

HOLE = "\0"  # stands in a list where a wrong item was taken out, so that the others keep their numbers
_TYPES = {
    "missing": "is required",
    "string_type": "must be a text, in quotes",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a duration such as 60s, or a number of seconds",
    "finite_number": "must be a finite number",
    "tuple_type": 'must be a list, as in ["…"]',
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "mapping_type": "must be a table",
    "dict_type": "must be a table",
}
_TABLES = {"fields", "examples"}  # lists of tables, at the top


def check(data: Mapping[str, Any]) -> tuple[list[Fault], dict[str, Any]]:
    """Return the faults of the structure, and the data without what is wrong."""
    pruned = copy.deepcopy(dict(data))
    try:
        Policy.model_validate(pruned)
    except ValidationError as error:
        details = error.errors(include_url=False)
        faults = [(key_path(detail["loc"]), _message(detail, data)) for detail in details]
        for detail in details:
            _take_out(pruned, detail)
        return faults, pruned
    return [], pruned


def _take_out(data: Any, detail: ErrorDetails) -> None:
    if detail["type"] == "missing":
        return
    *way, last = detail["loc"]
    for step in way:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(data, list) and isinstance(last, int) and last < len(data):
        data[last] = HOLE
    elif isinstance(data, dict):
        data.pop(last, None)


def _message(detail: ErrorDetails, data: Mapping[str, Any]) -> str:
    kind, loc = detail["type"], detail["loc"]
    if kind == "extra_forbidden":
        return _unknown(loc)
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind == "literal_error":
        return f"must be {detail['ctx']['expected']}"
    if len(loc) == 1 and loc[0] in _TABLES and isinstance(data.get(str(loc[0])), dict):
        return f"must be a list of tables; write [[{loc[0]}]]"
    return _TYPES.get(kind, detail["msg"][:1].lower() + detail["msg"][1:])


def _unknown(loc: tuple[str | int, ...]) -> str:
    name = str(loc[-1])
    model = _model_at(loc[:-1])
    known = list(_keys(model)) if model else []
    if near := did_you_mean(name, known):
        return f"is an unknown key; did you mean {near}?"
    here = tuple(step for step in loc[:-1] if isinstance(step, str))
    homes = sorted(key_path(way) for way in _homes(Policy, name) if way != here)
    if homes:
        return f"is an unknown key here; it belongs in [{homes[0] or 'the top of the file'}]"
    return f"is an unknown key; known here are {', '.join(known)}"


def _homes(model: type[BaseModel], name: str, way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where a key of this name is known."""
    keys = _keys(model)
    if name in keys:
        yield way
    for key, info in keys.items():
        if inner := _inner(info.annotation):
            yield from _homes(inner, name, (*way, key))


def _model_at(loc: tuple[str | int, ...]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Policy
    for step in loc:
        if isinstance(step, str):
            info = _keys(model).get(step) if model else None
            model = _inner(info.annotation) if info else None
    return model


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a table as the file has them."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as `Auth | None` or `tuple[Field, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner(part))), None)
