"""A policy's first draft, from an API's own description: OpenAPI 3.0, 3.1, and Swagger 2.0, as JSON or YAML."""

from dataclasses import dataclass


class DocumentInvalid(ValueError):
    """The text is no description of an API; the message says what it is and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A security scheme that the document names. `grant` None: none of ours; `chosen`: the draft is made for it."""

    name: str
    what: str
    grant: str | None
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What came of a document. `notes`: what couldn't be taken over, and what to do."""

    name: str
    text: str
    notes: tuple[str, ...] = ()
    schemes: tuple[Scheme, ...] = ()


def from_openapi(document: str, scheme: str | None = None) -> Draft:
    """Return a draft for one of the document's security schemes; None: the likeliest. Raises `DocumentInvalid`."""
    raise NotImplementedError
