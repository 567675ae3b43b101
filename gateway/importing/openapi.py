"""A policy from an API's own description, where what comes of it passes `gateway check` as it is."""

from gateway.authoring.openapi import DocumentInvalid, from_openapi
from gateway.importing.outcome import Imported, Lack
from gateway.policy.load import load

_SOURCE = "OpenAPI"


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
        notes=draft.notes,
    )


__all__ = ["DocumentInvalid", "from_description"]
