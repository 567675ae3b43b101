"""Makes a provider's own words fit to be shown: no secret, no control characters, no endless text."""

import base64
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from gateway.secret import MASK, Secret

SHOWN_LENGTH = 300  # characters of a provider's text that a person is shown
MIN_SECRET = 4  # a shorter "secret" (such as "1") would blank out ordinary words and protects nothing


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """Return `text` with each secret masked, be it plain, percent-encoded or Base64, in one line of bounded length."""
    spellings = {form for secret in secrets if len(secret.reveal()) >= MIN_SECRET for form in _spellings(secret)}
    for form in sorted(spellings, key=len, reverse=True):
        text = text.replace(form, MASK)
    text = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…"


def _spellings(secret: Secret) -> tuple[str, ...]:
    value = secret.reveal()
    encoded = base64.b64encode(value.encode()).decode()
    url_safe = base64.urlsafe_b64encode(value.encode()).decode()
    return (value, quote(value, safe=""), quote_plus(value), encoded, encoded.rstrip("="), url_safe.rstrip("="))
