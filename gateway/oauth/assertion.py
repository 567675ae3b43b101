"""Signed statements, which are JWTs (RFC 7519): who the client is, or a grant by themselves (RFC 7523). PyJWT signs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.pasted import KeyEncoding, blocks, shared_secret
from gateway.secret import Secret

BEHIND = 30.0
"""Seconds that a statement is dated back: a provider whose clock is behind ours refuses what comes from its future."""
SHORTEST = 2 * BEHIND
"""Seconds that one must hold, so that it is good for a while with that."""
STANDARD = ("iss", "sub", "aud", "iat", "exp", "jti")  # RFC 7519 §4.1
_SYMMETRIC = "HS"


class KeyUnusable(ValueError):
    """The key can't sign. The message holds nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is to be signed. `lifetime` is in seconds; a standard claim that is None, or False in `claims`, is left out.

    `claims` and `headers` are added to the standard ones.
    """

    algorithm: str
    key_encoding: KeyEncoding = "text"
    key_id: str | None = None
    issuer: str | None = None
    subject: str | None = None
    audience: str | None = None
    lifetime: float
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A statement that is signed, and until when it holds (epoch seconds)."""

    token: Secret
    expires_at: float


def is_symmetric(algorithm: str) -> bool:
    """Whether both sides hold the same key (RFC 7518 §3.2), and not a private and a public one."""
    return algorithm.startswith(_SYMMETRIC)


def sign(statement: Statement, key: Secret, *, now: float, unique: str) -> Signed:
    """Sign a statement. `now` is in epoch seconds, `unique` never the same twice. Raises `KeyUnusable`."""
    import jwt  # noqa: PLC0415  few policies sign anything, and every process would load it
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  as above

    issued_at = int(now - BEHIND)
    expires_at = issued_at + int(statement.lifetime)
    claims: dict[str, Any] = {
        "iss": statement.issuer,
        "sub": statement.subject,
        "aud": statement.audience,
        "iat": issued_at,
        "exp": expires_at,
        "jti": unique,
    }
    claims |= statement.claims
    left_out = {name for name in STANDARD if claims[name] is None or claims[name] is False}
    headers = dict(statement.headers) | ({} if statement.key_id is None else {"kid": statement.key_id})
    try:
        token = jwt.encode(
            {name: value for name, value in claims.items() if name not in left_out},
            _key(statement, key.reveal()),
            algorithm=statement.algorithm,
            headers=headers,
        )
    except KeyUnusable:
        raise
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, NotImplementedError):
        # What they say may quote the key.
        raise KeyUnusable(f"the key of [auth.assertion] can't sign with {statement.algorithm}") from None
    return Signed(token=Secret(token), expires_at=float(expires_at))


def _key(statement: Statement, text: str) -> str | bytes:
    if not is_symmetric(statement.algorithm):
        return _private(statement, text)
    try:
        return shared_secret(text, statement.key_encoding)
    except ValueError:
        raise KeyUnusable(f"the key of [auth.assertion] is not {statement.key_encoding}") from None


def _private(statement: Statement, text: str) -> str:
    for label, block in blocks(text):
        if label.endswith("PRIVATE KEY"):
            return block
    raise KeyUnusable(
        f"the key of [auth.assertion] is no private key for {statement.algorithm}: "
        "it begins with -----BEGIN PRIVATE KEY----- or the like"
    )
