"""What a connection is called, and what tells its account from another."""

import hashlib
import re
import unicodedata

from gateway.oauth.redact import redact
from gateway.policy.context import Context
from gateway.policy.model import Policy
from gateway.policy.template import MissingValue
from gateway.policy.value import render_text

DOTS = "••"
LONGEST_ID = 200  # characters; a longer identifier is told apart by its hash
HASHED = "sha256:"
_EMAIL = re.compile(r"([^@\s]+)@([^@\s]+)")


def label_of(policy: Policy, context: Context) -> str:
    """Return the label; empty where the policy has none or its values are missing: a name is no reason to fail.

    Raises `ValueError` for a script that fails.
    """
    if policy.connection.label is None:
        return ""
    seen = len(context.used)
    try:
        text = render_text(policy.connection.label, context)
    except MissingValue:
        return ""
    text = redact(text, context.used[seen:])
    return mask(text) if policy.connection.mask else text


def unique_id_of(policy: Policy, context: Context) -> str | None:
    """Return the account's identifier; None where the policy has none.

    Raises `MissingValue`: without it a second connection could not be told from the first. One that is made from a
    secret (an API key is all that some services have) is kept as a hash, for the store's identifiers are not sealed.
    """
    if policy.connection.unique_id is None:
        return None
    seen = len(context.used)
    text = unicodedata.normalize("NFC", render_text(policy.connection.unique_id, context))
    # What begins as a hash of ours is hashed as well: nobody names their account so that it is another's hash.
    if len(context.used) > seen or len(text) > LONGEST_ID or not text.isprintable() or text.startswith(HASHED):
        return HASHED + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return text


def mask(text: str) -> str:
    """Return a label that its owner knows and nobody else: `j••@e••.com`, `J•• D••`."""
    address = _EMAIL.fullmatch(text.strip())
    if address is not None:
        suffix = address[2].rpartition(".")
        return f"{address[1][0]}{DOTS}@{address[2][0]}{DOTS}" + (f".{suffix[2]}" if suffix[0] else "")
    return " ".join(word[0] + DOTS for word in text.split())
