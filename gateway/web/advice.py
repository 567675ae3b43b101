"""What to do about a token endpoint's refusal, by its own word for it (RFC 6749 §5.2).

The word is looked for in what the provider said: it is all that comes with a refusal, and all that is kept of one.
"""

from gateway.web.text import plain

_WORDS = ("invalid_client", "invalid_scope", "invalid_grant", "unsupported_grant_type", "unauthorized_client")


def word_in(said: str) -> str | None:
    """Return which of the standard's words a provider said; None: it said something else."""
    return next((word for word in _WORDS if word in said), None)


def for_the_admin(word: str | None) -> str:
    """Say how to mend it in the app's set-up."""
    return plain(f"setup.try.token.{word or 'other'}")


def for_the_visitor(word: str) -> str:
    """Say who can mend it: most of it is none of the doing of whoever connects."""
    return plain("setup.try.token.invalid_grant" if word == "invalid_grant" else "connect.tell")
