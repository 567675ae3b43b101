"""A policy from an API's own description, where what comes of it passes `gateway check` as it is."""

from gateway.authoring.openapi import DocumentInvalid, Scheme, from_openapi
from gateway.importing.data import line
from gateway.importing.outcome import Imported, Lack
from gateway.policy.load import load

_SOURCE = "OpenAPI"
_MOST_NAMED = 10  # schemes in a note


def from_description(document: str, scheme: str | None = None, name: str | None = None, place: str = "") -> Imported:
    """Return what comes of a document; `name`: the app's, else the title's; `place`: the URL that it is from, if any.

    Raises `DocumentInvalid`.
    """
    draft = from_openapi(document, scheme, place)
    app = name or draft.app
    chosen = next((one for one in draft.schemes if one.chosen), None)
    findings = load(draft.text, app=app, file=f"{app}.toml").findings
    lacks = tuple(Lack("the description doesn't say it", f"{one.path}: {one.message}") for one in findings)
    return Imported(
        name=app,
        kind=chosen.what if chosen else _SOURCE,
        text=None if findings else draft.text,
        lacks=lacks,
        notes=(*_others(chosen, draft.schemes, scheme), *draft.notes),
    )


def _others(chosen: Scheme | None, schemes: tuple[Scheme, ...], asked: str | None) -> tuple[str, ...]:
    """Say which scheme was taken of those that the asking left open."""
    open_ones = [one for one in schemes if one.grant is not None and asked in (None, one.key)]
    if chosen is None or len(open_ones) < 2:  # noqa: PLR2004
        return ()
    names = [f'"{line(one.name, 60)}"' for one in open_ones if one is not chosen]
    rest = ", …" if len(names) > _MOST_NAMED else ""
    return (f'Made for "{line(chosen.name, 60)}". --scheme takes another: {", ".join(names[:_MOST_NAMED])}{rest}.',)


__all__ = ["DocumentInvalid", "from_description"]
