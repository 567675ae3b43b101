"""JavaScript values, run in QuickJS: 8 MiB, 50 ms, no I/O.

The input is `context.authData` and `context.fields`, and each answer by itself: `context.test`, `.lookup`, `.callback`.

The input is watched while the script runs: what it reads tells which secrets went into its result, and a result with
"undefined" in it, after something missing was read, is a missing value and not the text "undefined".
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.policy.context import ALIAS, Context
from gateway.policy.template import MissingValue, Path
from gateway.secret import Secret

MEMORY = 8 * 1024 * 1024  # bytes
TIME = 0.05  # seconds
_STACK = 128 * 1024  # bytes; musl gives a thread 128 KiB, and no value needs deep recursion
_MAX_MESSAGE = 200
_HOLE = re.compile(r"\b(?:undefined|null|NaN)\b|\[object Object\]")
_KINDS = frozenset({"Error", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError", "InternalError"})
_RUN = """
(function (source, input) {
  const read = [], missing = [];
  const watch = (value, path) => value === null || typeof value !== 'object' ? value : new Proxy(value, {
    get(target, key) {
      if (typeof key !== 'string' || (!Object.hasOwn(target, key) && (Array.isArray(target) || key in target || key
      === 'toJSON'))) return target[key];
      const at = path.concat([key]);
      (Object.hasOwn(target, key) && target[key] !== null ? read : missing).push(at);
      return watch(target[key], at);
    },
  });
  const result = new Function('context', source)(watch(JSON.parse(input), []));
  return JSON.stringify({ result: result === undefined ? null : result, read, missing });
})
"""


class ScriptInvalid(ValueError):
    """The script does not parse, failed, or ran out of its time or memory. Never holds a value."""


def check(source: str) -> None:
    """Parse the script without running it. Raises `ScriptInvalid`."""
    _evaluate(f"new Function('context', {json.dumps(source)})", _why_not_parsed)


def run(source: str, context: Context) -> Any:
    """Run the script; return its result as JSON has it. Raises `MissingValue`, `ScriptInvalid`."""
    answer = json.loads(_evaluate(f"({_RUN})({json.dumps(source)}, {json.dumps(json.dumps(_input(context)))})", _why))
    for path in answer["read"]:
        _note_secret(context, tuple(path))
    result = answer["result"]
    if result is None or result == "":
        raise MissingValue(_first(answer["missing"]) or "that the script returns")
    if answer["missing"] and isinstance(result, str) and _HOLE.search(result):
        raise MissingValue(_first(answer["missing"]))
    return result


def _first(missing: list[list[str]]) -> str:
    return ".".join(missing[0]) if missing else ""


def _evaluate(code: str, why: Callable[[str], str]) -> Any:
    from quickjs import Context as Machine  # noqa: PLC0415  importing it starts a thread; only JavaScript pays for that
    from quickjs import JSException  # noqa: PLC0415  as above

    machine = Machine()
    machine.set_memory_limit(MEMORY)
    machine.set_time_limit(TIME)
    machine.set_max_stack_size(_STACK)
    try:
        return machine.eval(code)
    except JSException as error:
        raise ScriptInvalid(why(str(error))) from None


def _why_not_parsed(message: str) -> str:
    """The parser's own words and the line; nothing has run yet, so there is no value to show."""
    line = re.search(r":(\d+):\d+", message)
    text = message.partition("\n")[0].removeprefix("SyntaxError: ")[:_MAX_MESSAGE]
    return f"the script does not parse: {text}" + (f" (line {line[1]})" if line else "")


def _why(message: str) -> str:
    """The kind of the error. Its text could carry a value, for instance `throw` with one: it is left out."""
    kind, _, text = message.partition("\n")[0].partition(": ")
    if text == "interrupted":
        return f"the script ran longer than {TIME * 1000:.0f} ms"
    if text == "out of memory":
        return f"the script used more than {MEMORY >> 20} MiB"
    return f"the script failed with {kind if kind in _KINDS else 'an error'}"


def _input(context: Context) -> dict[str, Any]:
    fields, token = _revealed(context.fields), _revealed(context.token)
    test = _revealed(context.test)
    answers = {"test": test, "lookup": _revealed(context.lookup), "callback": dict(context.callback)}
    own = {"app": _revealed(context.app), "assertion": _revealed(context.assertion), "request": dict(context.request)}
    return {"authData": {**fields, **token, ALIAS: test}, "fields": fields, **answers, **own}


def _revealed(value: Any) -> Any:
    match value:
        case Secret():
            return value.reveal()
        case Mapping():
            return {str(key): _revealed(item) for key, item in value.items()}
        case list() | tuple():
            return [_revealed(item) for item in value]
    return value


def _note_secret(context: Context, path: Path) -> None:
    value = context.value(path)
    if isinstance(value, Secret):
        context.used.append(value)
