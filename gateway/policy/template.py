"""Templates: literal text with `{{ path | filter }}` in it.

Jinja2 parses, so that quoting and blanks are what everyone knows; nothing of Jinja2 runs. Its tree is read into our own
parts: texts, paths (`token.items` is always the key, never a method), filters, and `~` to join paths and quoted
texts, as in `{{ (fields.username ~ ":" ~ fields.password) | b64encode }}`. What a person types is data and is never
parsed here.
"""

import base64
import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

Path = tuple[str, ...]


class TemplateInvalid(ValueError):
    """The text is not a template of ours; the message says what would be right."""


class MissingValue(ValueError):
    """A value that a template names is not there, or is empty. `path` is the name as written."""

    def __init__(self, path: str, why: str = "is missing") -> None:
        super().__init__(f"the value {path} {why}")
        self.path = path


class Lookup(Protocol):
    """Where values come from."""

    def text(self, path: Path) -> str:
        """Return the value as text, never empty. Raises `MissingValue`."""


def _b64encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _urlencode(text: str) -> str:
    return quote(text, safe="-._~")


FILTERS: dict[str, Callable[[str], str]] = {"b64encode": _b64encode, "urlencode": _urlencode, "lower": str.lower}
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Expression:
    """One `{{ … }}`: texts and paths joined, a default for when one is missing, then filters."""

    operands: tuple[str | Path, ...]
    default: str | None
    filters: tuple[str, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths it names, in order."""
        return tuple(operand for operand in self.operands if not isinstance(operand, str))

    def evaluate(self, lookup: Lookup) -> str:
        """Return the text. Raises `MissingValue`."""
        try:
            text = "".join(item if isinstance(item, str) else lookup.text(item) for item in self.operands)
        except MissingValue:
            if self.default is None:
                raise
            text = self.default
        return self._filtered(text)

    def bind(self, lookup: Lookup, later: frozenset[str]) -> "str | Expression":
        """Return it with every value filled in whose path doesn't begin with one of `later`. Raises `MissingValue`."""
        try:
            operands = tuple(
                item if isinstance(item, str) or item[0] in later else lookup.text(item) for item in self.operands
            )
        except MissingValue:
            if self.default is None:
                raise
            return self._filtered(self.default)
        bound = Expression(operands, self.default, self.filters)
        return bound if bound.paths else bound.evaluate(lookup)

    def _filtered(self, text: str) -> str:
        for name in self.filters:
            text = FILTERS[name](text)
        return text


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: `parts` are literal texts and expressions, in order."""

    text: str
    parts: tuple[str | Expression, ...]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Read a template. Raises `TemplateInvalid`. Parsed once for each text: policies are few and immutable."""
        return _parse(text)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The parts in `{{ }}`."""
        return tuple(part for part in self.parts if isinstance(part, Expression))

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every path that is looked up, in order."""
        return tuple(path for expression in self.expressions for path in expression.paths)

    def render(self, lookup: Lookup) -> str:
        """Return the text. Raises `MissingValue`, naming the path."""
        return "".join(part if isinstance(part, str) else part.evaluate(lookup) for part in self.parts)


_ENVIRONMENT = ImmutableSandboxedEnvironment(autoescape=False, keep_trailing_newline=True)


@lru_cache(maxsize=2048)
def _parse(text: str) -> Template:
    if "{" not in text:
        return Template(text, (text,) if text else ())
    try:
        return Template(text, tuple(_parts(_ENVIRONMENT.parse(text))))
    except TemplateSyntaxError as error:
        raise TemplateInvalid(f"is not a valid template: {error.message}") from None
    except RecursionError:
        raise TemplateInvalid("is nested too deeply") from None


def _parts(tree: nodes.Template) -> Iterator[str | Expression]:
    for statement in tree.body:
        if not isinstance(statement, nodes.Output):
            raise TemplateInvalid(
                f"has a {{% {type(statement).__name__.lower()} %}}; only {{{{ path | filter }}}} is known"
            )
        for node in statement.nodes:
            yield node.data if isinstance(node, nodes.TemplateData) else _expression(node)


def _expression(node: nodes.Expr) -> Expression:
    filters: list[str] = []
    default: str | None = None
    while isinstance(node, nodes.Filter):
        if node.name == DEFAULT:
            default = _default(node)
            if isinstance(node.node, nodes.Filter):
                raise TemplateInvalid("has a filter before default; write default first")
        elif node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise TemplateInvalid(f"gives the filter {node.name} an argument; it takes none")
        elif node.name in FILTERS:
            filters.insert(0, node.name)
        else:
            raise TemplateInvalid(f"has the unknown filter {node.name!r}; {_nearest_filter(node.name)}")
        if node.node is None:
            raise TemplateInvalid("has a filter with nothing before it")
        node = node.node
    operands = node.nodes if isinstance(node, nodes.Concat) else [node]
    expression = Expression(tuple(_operand(operand) for operand in operands), default, tuple(filters))
    if not expression.paths:
        raise TemplateInvalid("has {{ }} with no path in it; write the text itself")
    return expression


def _default(node: nodes.Filter) -> str:
    match node.args:
        case [nodes.Const(value=str() as text)] if text and not (node.kwargs or node.dyn_args or node.dyn_kwargs):
            return text
    raise TemplateInvalid("gives default something else than one text; write default('us')")


def _nearest_filter(name: str) -> str:
    known = [*FILTERS, DEFAULT]
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def _operand(node: nodes.Node) -> str | Path:
    match node:
        case nodes.Const(value=str() as text):
            return text
        case nodes.Filter():
            raise TemplateInvalid(
                "has a filter on one part of a ~ chain; put the chain in parentheses before the filter"
            )
        case nodes.Concat():
            raise TemplateInvalid("has parentheses inside a ~ chain; leave them out")
    return _path(node)


def _path(node: nodes.Node) -> Path:
    match node:
        case nodes.Name(name=str() as name):
            return (name,)
        case nodes.Getattr(node=parent, attr=str() as name):
            return (*_path(parent), name)
        case nodes.Getitem(node=parent, arg=nodes.Const(value=str() | int() as key)) if not isinstance(key, bool):
            return (*_path(parent), str(key))
    raise TemplateInvalid(
        "has something else than a path in {{ }}; write {{ path | filter }}, as in {{ token.team.id }}"
    )


_MAX_DIGITS = 10  # int() stays cheap


def read_path(value: Any, path: Path) -> Any:
    """Walk plain mappings by key and lists by number; None where it leads nowhere."""
    for step in path:
        match value:
            case Mapping():
                value = value.get(step)
            case list() | tuple() if step.isdecimal() and len(step) < _MAX_DIGITS and int(step) < len(value):
                value = value[int(step)]
            case _:
                return None
    return value
