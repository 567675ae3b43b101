"""The form: a policy as a flat mapping from names to texts, as an HTML form posts it.

A name is the policy's key path, with numbers for what is listed: `auth.token.url`, `allow.urls.0`, `fields.1.label`.
What stands as `key = value` in the file is a row of name, value and kind: `inject.headers.0.name`. A name that isn't
there is as one that is empty, as a browser leaves out a box that isn't ticked; an empty text is no value, and a row
that is wholly empty is no row. Names that the form doesn't have are passed over, as is what the file has beside it.

Nothing is refused: what is no JSON stays a text, and the checks say what is wrong with it where it stands.

    fields.N         each key of a field; choices and domains are one a line, from is a template or {"js": …}
    boxes            "on", or empty
    auth.client_id   .kind is secret, env, file, field or text, and .value what it names; auth.client_secret is no text
    rows             .kind is text, js (.value is the source), json, or off (a parameter that is false, without a value)
    test.body        JSON
    expect.status    numbers with commas between them
"""

from collections.abc import Mapping

from gateway.authoring.edited import edited
from gateway.authoring.patch import patched
from gateway.authoring.posted import merged, repeated, tidy
from gateway.authoring.shown import shown
from gateway.policy.load import Unreadable, read

__all__ = ["Unreadable", "apply", "merged", "repeated", "tidy", "values_of"]


def values_of(text: str) -> dict[str, str]:
    """Return what stands in a policy's text, right or wrong; rows have the file's numbers. Raises `Unreadable`."""
    return shown(read(text))


def apply(text: str, values: Mapping[str, str]) -> str:
    """Return the text with these values: all of the form's, not only the changed ones. Raises `Unreadable`.

    Only what differs is touched. What the form would read out of the new text is `tidy(values)`.
    """
    return patched(text, edited(read(text), values))
