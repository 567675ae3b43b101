"""Buttons that change the form and nothing else: a row more or less, an example, an entry, a value from an answer."""

from collections.abc import Callable, Mapping, Sequence

from gateway.authoring.rows import ALL, added, moved, removed, rows_of
from gateway.web.setup.sheet import Sheet

EXAMPLES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "bearer": ("inject.headers", {"name": "Authorization", "value": "Bearer {{ access_token }}", "kind": "text"}),
    "key-header": ("inject.headers", {"name": "Authorization", "value": "Bearer {{ api_key }}", "kind": "text"}),
    "key-query": ("inject.query", {"name": "api_key", "value": "{{ api_key }}", "kind": "text"}),
    "version": ("inject.body", {"name": "version", "value": "v2", "kind": "text"}),
    "basic": (
        "inject.headers",
        {
            "name": "Authorization",
            "value": "Basic {{ (fields.username ~ ':' ~ fields.password) | b64encode }}",
            "kind": "text",
        },
    ),
    "script": (
        "inject.headers",
        {
            "name": "Authorization",
            "value": "function bearer() {\n  return `Bearer ${context.authData.access_token}`;\n}\nreturn bearer();\n",
            "kind": "js",
        },
    ),
    "region": (
        "fields",
        {"name": "region", "label": "Region", "choices": "us\neu", "default": "us"},
    ),
    "environment": (
        "fields",
        {"name": "environment", "label": "Environment", "choices": "production\nsandbox", "default": "production"},
    ),
    "api-key": ("fields", {"name": "api_key", "label": "API key", "required": "on", "secret": "on"}),
    "username": ("fields", {"name": "username", "label": "User name", "required": "on"}),
    "password": ("fields", {"name": "password", "label": "Password", "required": "on", "secret": "on"}),
}
"""What stands one click away: where it goes, and the row."""
PICKED = {"label": "connection.label", "unique_id": "connection.unique_id"}


def edited(sheet: Sheet, action: str, what: str) -> Sheet | None:
    """Return the sheet after one of these buttons; None: it was another one. Raises `ValueError`: there is no such."""
    edit = _EDITS.get(action)
    return None if edit is None else sheet.with_values(edit(sheet, what))


def _add(sheet: Sheet, table: str) -> dict[str, str]:
    if table not in ALL:
        raise ValueError("has no rows")
    return added(sheet.values, table)


def _remove(sheet: Sheet, name: str) -> dict[str, str]:
    return removed(sheet.values, name)


def _up(sheet: Sheet, name: str) -> dict[str, str]:
    return moved(sheet.values, name, -1)


def _down(sheet: Sheet, name: str) -> dict[str, str]:
    return moved(sheet.values, name, 1)


def _example(sheet: Sheet, name: str) -> dict[str, str]:
    """Add the example; a row of its name is written over."""
    table, row = EXAMPLES[name]
    rows = rows_of(sheet.values, table)
    standing = next((number for number, one in enumerate(rows) if _same(one.get("name", ""), row["name"])), None)
    if standing is None:
        return added(sheet.values, table, row)
    if table == "fields":
        return dict(sheet.values)
    return dict(sheet.values) | {f"{table}.{standing}.{key}": value for key, value in row.items()}


def _allow(sheet: Sheet, entry: str) -> dict[str, str]:
    standing = [row.get("", "") for row in rows_of(sheet.values, "allow.urls")]
    return dict(sheet.values) if entry in standing else added(sheet.values, "allow.urls", {"": entry})


def _pick(sheet: Sheet, path: str) -> dict[str, str]:
    """Put a value of the test's answer into the label or the identifier, whichever was chosen beside the answer."""
    into = PICKED.get(sheet.own.get("pick.into", ""), PICKED["label"])
    return dict(sheet.values) | {into: f"{{{{ {path} }}}}"}


def path_of(steps: Sequence[str | int]) -> str:
    """Return the path to a value of the test's answer, as a template names it."""
    text = "test"
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier() and step.isascii():
            text += f".{step}"
        else:
            escaped = step.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{escaped}"]'
    return text


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


_EDITS: Mapping[str, Callable[[Sheet, str], dict[str, str]]] = {
    "add": _add,
    "remove": _remove,
    "up": _up,
    "down": _down,
    "example": _example,
    "allow": _allow,
    "pick": _pick,
}
