"""Makes a provider's own words fit to be shown: no secret, no control characters, no endless text."""

import unicodedata
from collections.abc import Iterable

from gateway.http.scrub import Scrubber
from gateway.secret import MASK, Secret

SHOWN_LENGTH = 300  # characters of a provider's text that a person is shown


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """Return `text` with each secret masked, in every spelling that is taken out of answers too (`http.scrub`).

    It is one line of bounded length.
    """
    masked = Scrubber(secrets).masked(text.encode("utf-8", "surrogatepass"), MASK.encode())
    text = masked.decode("utf-8", "surrogatepass")
    text = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…"
