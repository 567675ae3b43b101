"""What an allowed-URL entry covers, as a value from which a page makes its words."""

from dataclasses import dataclass

from gateway.policy.checks.allow import suffix_fault
from gateway.policy.entry import EntryInvalid, EntryTemplate
from gateway.policy.template import Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What one entry covers, or what is `wrong` with it (then the rest says nothing).

    `itself` and `below`: the host, its subdomains. `port` None: every port; `port_written`: it isn't just the scheme's.
    `path` is "" for every path, else that path and what is below it. Fields stand in `host` and `path` as
    `{{ name }}`, and their names in `fields`.
    """

    entry: str
    wrong: str | None = None
    schemes: tuple[str, ...] = ()
    host: str = ""
    itself: bool = False
    below: bool = False
    port: int | None = None
    port_written: bool = False
    path: str = ""
    fields: tuple[str, ...] = ()


def covers(entry: str, *, deny: bool = False) -> Coverage:
    """Read an entry of `allow.urls`, or with `deny` of `allow.deny`. Whether its fields exist is not looked at."""
    try:
        template = EntryTemplate.parse(entry, deny=deny)
    except EntryInvalid as error:
        return Coverage(entry=entry, wrong=str(error))
    if not deny and (fault := suffix_fault(template)):
        return Coverage(entry=entry, wrong=fault)
    shape = template.shape()
    return Coverage(
        entry=entry,
        schemes=shape.schemes,
        host=_with_fields(template, shape.host),
        itself=shape.itself,
        below=shape.below,
        port=shape.port,
        port_written=shape.port_written,
        path=_with_fields(template, shape.path),
        fields=tuple(dict.fromkeys(path[-1] for path in template.url.paths)),
    )


def _with_fields(template: EntryTemplate, text: str) -> str:
    expressions = [part for part, _ in template.url.parts if isinstance(part, Expression)]
    for stand_in, expression in zip(template.url.stand_ins, expressions, strict=True):
        text = text.replace(stand_in, f"{{{{ {'.'.join(expression.paths[0])} }}}}")
    return text
