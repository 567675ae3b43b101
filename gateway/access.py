"""Who is calling: clients by their tokens, and which connections each may use.

Every client is held in memory, so that a request costs one SHA-256 and one look-up. Tokens are 256 random bits: they
are stored as their plain SHA-256, and looking that up tells an attacker's clock nothing that guesses the next byte.
"""

import asyncio
import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote

from gateway.errors import ClientError, Refusal
from gateway.secret import Secret
from gateway.store import ClientRow, ConflictError, Store

TOKEN_PREFIX = "gwc_"  # noqa: S105 - what a token starts with, so that scanners find one that was committed somewhere
TOKEN_BYTES = 32  # 43 characters of base64url behind the prefix
LONGEST = 10 * 365 * 86_400.0
"""Seconds of the longest life of a token: the calendar ends somewhere, and every list shows the time."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PATTERN = re.compile(r"[A-Za-z0-9._~*-]{1,128}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern of connection ids: `*` stands for any characters, everything else for itself. Matching is linear."""

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the pattern; every text is one."""
        return cls(tuple(text.split("*")))

    def matches(self, connection_id: str) -> bool:
        """Whether the whole id is covered."""
        if len(self.parts) == 1:
            return connection_id == self.parts[0]
        first, *middle, last = self.parts
        if len(connection_id) < len(first) + len(last):
            return False
        if not (connection_id.startswith(first) and connection_id.endswith(last)):
            return False
        place, end = len(first), len(connection_id) - len(last)
        for part in middle:
            place = connection_id.find(part, place, end)
            if place < 0:
                return False
            place += len(part)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client that has shown its token."""

    name: str
    patterns: tuple[str, ...]
    expires_at: float | None
    _exact: frozenset[str] = field(repr=False)
    _open: tuple[Pattern, ...] = field(repr=False)

    @classmethod
    def of(cls, row: ClientRow) -> Self:
        """Return the client of a row, its patterns compiled."""
        return cls(
            name=row.name,
            patterns=row.patterns,
            expires_at=row.expires_at,
            _exact=frozenset(pattern for pattern in row.patterns if "*" not in pattern),
            _open=tuple(Pattern.parse(pattern) for pattern in row.patterns if "*" in pattern),
        )

    def is_expired(self, now: float) -> bool:
        """Whether its token is worth nothing any more at `now`, in epoch seconds."""
        return self.expires_at is not None and self.expires_at <= now

    def may_use(self, connection_id: str) -> bool:
        """Whether one of the patterns covers this connection."""
        return connection_id in self._exact or any(pattern.matches(connection_id) for pattern in self._open)


class Access:
    """The clients. `clock` gives epoch seconds, `random` that many random bytes."""

    def __init__(
        self, store: Store, clock: Callable[[], float], random: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._clients: dict[bytes, Client] = {}
        self._loading = asyncio.Lock()
        self.generation = 0
        """Raised at each reload: what was concluded from an older one is to be asked again."""

    async def load(self) -> None:
        """Read every client from the store: at the start, and at each change of kind `client`."""
        async with self._loading:  # whoever has read later is believed: one who was revoked meanwhile stays out
            rows = await self._store.clients.all()
            self._clients = {row.token_hash: Client.of(row) for row in rows if row.revoked_at is None}
            self.generation += 1

    reload = load

    def client_for(self, token: str) -> Client | None:
        """Return whose token this is, None if it is nobody's, revoked or expired."""
        client = self._clients.get(hash_token(token))
        if client is None or client.is_expired(self._clock()):
            return None
        return client

    async def create(self, name: str, patterns: Iterable[str], expires_at: float | None = None) -> Secret:
        """Add a client and return its token, which is nowhere else. Raises `ClientError` (invalid, conflict)."""
        wanted = tuple(dict.fromkeys(patterns))
        now = self._clock()
        _check(name, wanted, expires_at, now)
        token = Secret(TOKEN_PREFIX + _base64url(self._random(TOKEN_BYTES)))
        row = ClientRow(
            name=name,
            token_hash=hash_token(token.reveal()),
            patterns=wanted,
            created_at=now,
            expires_at=expires_at,
        )
        await self._insert(row)
        await self.load()
        return token

    async def revoke(self, name: str) -> bool:
        """Revoke a client's token at once; False: there is no such client, or it was revoked before."""
        revoked = await self._store.clients.revoke(name, now=self._clock())
        if revoked:
            await self.load()
        return revoked

    async def remove(self, name: str) -> bool:
        """Revoke a client and forget that it was; False: there is no such client. The audit trail still has it."""
        removed = await self._store.clients.remove(name)
        if removed:
            await self.load()
        return removed

    async def list(self) -> tuple[ClientRow, ...]:
        """Return every client by name, revoked and expired ones too."""
        return await self._store.clients.all()

    async def _insert(self, row: ClientRow) -> None:
        try:
            await self._store.clients.insert(row)
        except ConflictError as error:
            detail = f"There is a client {row.name} already."
            hint = "Revoke it first, or choose another name."
            raise ClientError(Refusal(code="conflict", detail=detail, hint=hint)) from error


def proxy_url(authority: str, connection: str, token: str) -> str:
    """Return the proxy's URL with the connection and the token in it, as every HTTP client reads it."""
    return f"http://{quote(connection, safe='')}:{quote(token, safe='')}@{authority}"


def hash_token(token: str) -> bytes:
    """Return what the store keeps of a token. Whatever a caller sends has one, surrogates too."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _check(name: str, patterns: tuple[str, ...], expires_at: float | None, now: float) -> None:
    errors = []
    if not _NAME.fullmatch(name):
        errors.append(("name", "1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"))
    if not patterns:
        errors.append(("connections", "at least one pattern of connection ids, such as crm-*"))
    errors += [
        (f"connections[{place}]", "1 to 128 letters, digits, '.', '_', '~', '-' and '*'")
        for place, pattern in enumerate(patterns)
        if not _PATTERN.fullmatch(pattern)
    ]
    if expires_at is not None and expires_at <= now:
        errors.append(("expires_in", "a time to come"))
    elif expires_at is not None and not expires_at <= now + LONGEST:
        errors.append(("expires_in", "at most ten years; leave it out for a token without an end"))
    if errors:
        listed = tuple({"path": path, "message": message} for path, message in errors)
        detail = "; ".join(f"{path}: {message}" for path, message in errors)
        raise ClientError(Refusal(code="invalid", detail=f"This is no client: {detail}.", errors=listed))
