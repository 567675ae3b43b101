"""Who is at the other end: a session in a signed cookie, and the token that each of its forms carries.

A session is an id, whether it is an admin's, and its end. The cookie holds those and a MAC under a key made from the
admin token and a random seed of the store: nothing is kept for a visitor, several processes understand the same cookie,
a new admin token ends every session, and nobody can try tokens against a cookie without the seed. Signing in begins a
new session, so that one planted beforehand is worth nothing (session fixation).
"""

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.errors import Refusal, StartError
from gateway.keyring import Keyring, KeyringError
from gateway.secret import Secret
from gateway.store.store import Store

SEED = "web_sessions"
"""Where the store has the seed, sealed."""
LIFETIME = 12 * 3_600
"""Seconds: a working day. A visitor's, who only fills in a connect page, is as long."""
_ENDED = 10_000
"""Ended sessions of admins that this process remembers; the store has all of them (`ended`)."""
_FORM = re.compile(r"([av])\.([A-Za-z0-9_-]{22})\.(\d{1,12})\.([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that we know again. `id` has 128 random bits; `expires_at` is seconds since the epoch."""

    id: str
    admin: bool
    expires_at: int


async def load_seed(store: Store, keyring: Keyring) -> Secret:
    """Return the store's seed; the first process to ask makes it. Raises `StartError`: it doesn't open."""
    place = {"table": "meta", "column": "value", "row": SEED}
    sealed = await store.meta.get(SEED)
    if sealed is None:
        made = {SEED: keyring.seal(secrets.token_hex(32).encode(), **place)}
        sealed = (await store.meta.establish(made))[SEED]
    try:
        return Secret(keyring.open(sealed, **place).decode())
    except KeyringError as error:
        detail = f"The seed of the gateway's sessions can't be opened: {error}."
        raise StartError(Refusal(code="internal", detail=detail, hint="Restore the store's backup.")) from error


class Sessions:
    """Begins, recognises and ends sessions."""

    def __init__(self, token: Secret, *, seed: Secret, clock: Callable[[], float], secure: bool) -> None:
        self._key = hmac.digest(
            seed.reveal().encode(), b"gateway web sessions 2\0" + token.reveal().encode(), hashlib.sha256
        )
        self._clock = clock
        self._secure = secure
        self._ended: OrderedDict[str, None] = OrderedDict()
        # The prefix makes browsers refuse the cookie from a subdomain or over plain HTTP (RFC 6265bis §4.1.3.2).
        self.cookie = "__Host-gateway" if secure else "gateway"

    def begin(self, *, admin: bool) -> Session:
        """Return a new session."""
        return Session(id=secrets.token_urlsafe(16), admin=admin, expires_at=int(self._clock()) + LIFETIME)

    def read(self, request: web.Request) -> Session | None:
        """Return the session of the request's cookie; None where it has none, or one that isn't good any more."""
        match = _FORM.fullmatch(request.cookies.get(self.cookie, ""))
        if match is None:
            return None
        session = Session(id=match[2], admin=match[1] == "a", expires_at=int(match[3]))
        if not hmac.compare_digest(self._mac(session, b"cookie"), match[4]):
            return None
        return session if session.expires_at > self._clock() and session.id not in self._ended else None

    def write(self, response: web.StreamResponse, session: Session) -> None:
        """Give the browser this session's cookie."""
        kind = "a" if session.admin else "v"
        value = f"{kind}.{session.id}.{session.expires_at}.{self._mac(session, b'cookie')}"
        response.set_cookie(self.cookie, value, path="/", httponly=True, samesite="Lax", secure=self._secure)

    def end(self, response: web.StreamResponse, session: Session) -> None:
        """End the session: here, whoever has its cookie, and in the browser."""
        self.forget(session)
        response.del_cookie(self.cookie, path="/", httponly=True, samesite="Lax", secure=self._secure)

    def forget(self, session: Session) -> None:
        """Know a session no more. Only an admin's are remembered as ended: visitors can't crowd them out."""
        if session.admin:
            self._ended[session.id] = None
        while len(self._ended) > _ENDED:
            self._ended.popitem(last=False)

    def form_token(self, session: Session) -> str:
        """Return what each form of this session carries (CSRF)."""
        return self._mac(session, b"form")

    def is_form_token(self, session: Session, given: str) -> bool:
        """Whether a form that came back was one of this session's."""
        return hmac.compare_digest(self.form_token(session).encode(), given.encode("utf-8", "surrogateescape"))

    def keepsake(self, path: str) -> str:
        """Return what a page of an admin carries so that its form is known again after the session has ended.

        It lets nobody in. It says that whoever sends the form had the page from us, which no other site can say.
        """
        return hmac.new(self._key, b"keepsake\0" + path.encode(), hashlib.sha256).hexdigest()

    def is_keepsake(self, path: str, given: str) -> bool:
        """Whether a form that came without its session was on a page of this path."""
        return hmac.compare_digest(self.keepsake(path).encode(), given.encode("utf-8", "surrogateescape"))

    def _mac(self, session: Session, purpose: bytes) -> str:
        text = f"{session.id}.{session.admin}.{session.expires_at}".encode()
        return hmac.new(self._key, purpose + b"\0" + text, hashlib.sha256).hexdigest()
