"""Who is calling, and may they use that connection: asked of every request and every tunnel, from memory."""

from gateway.access import Client
from gateway.errors import Refusal
from gateway.proxy.entrances import PATH, PATH_TAG_HINT, TAG_HINT, Tag
from gateway.proxy.services import Services

ANONYMOUS = "anonymous"


class Admission:
    """What one caller's connection is let in for.

    A caller shows the same tag in every request, so the last one that was admitted is remembered: it holds until the
    clients change (`Access.generation`) or the token expires, which is asked every time.

    Wrong tokens are counted for each address. A right one is never held up by them: it can't be guessed, and a program
    that has a wrong one must not stop its neighbours behind the same address.
    """

    __slots__ = ("_address", "_client", "_generation", "_is_loopback", "_services", "_tag")

    def __init__(self, services: Services, *, address: str, is_loopback: bool) -> None:
        self._services, self._address, self._is_loopback = services, address, is_loopback
        self._tag: Tag | None = None
        self._client: Client | None = None
        self._generation = 0

    @property
    def tag(self) -> Tag | None:
        """The last one that was admitted."""
        return self._tag

    def admit(self, tag: Tag, entrance: str) -> str | Refusal:
        """Return the client's name, or why the tag doesn't admit it."""
        services, client = self._services, self._client
        if (
            tag is self._tag
            and client is not None
            and services.access.generation == self._generation
            and not client.is_expired(services.clock())
        ):
            return client.name
        return self._look_up(tag, entrance)

    def _look_up(self, tag: Tag, entrance: str) -> str | Refusal:
        if tag.token is None:
            if self._services.settings.access.anonymous and self._is_loopback:
                return ANONYMOUS
            return _unauthenticated(entrance, "no client token is given")
        access = self._services.access
        client = access.client_for(tag.token)
        if client is None:
            return self._wrong(entrance)
        if not client.may_use(tag.connection_id):
            return not_permitted(tag)
        self._tag, self._client, self._generation = tag, client, access.generation
        return client.name

    def is_news(self) -> bool:
        """Whether the log is told of one more refusal of a caller that nobody knows. Whoever floods is counted."""
        strangers = self._services.strangers
        if strangers.wait(self._address):
            return False
        strangers.failed(self._address)
        return True

    def _wrong(self, entrance: str) -> Refusal:
        guesses, why = self._services.guesses, "the client token is wrong, expired or revoked"
        if wait := guesses.wait(self._address):
            detail = f"The caller is unknown: {why}, as too many were that came from its address."
            return Refusal(code="rate_limited", detail=detail, hint=_hint(entrance), retry_after=wait)
        guesses.failed(self._address)
        return _unauthenticated(entrance, why)


def client_name(services: Services, tag: Tag) -> str:
    """Return whose token a tag shows, for the log; empty where it is nobody's."""
    client = services.access.client_for(tag.token) if tag.token is not None else None
    return client.name if client is not None else ""


def not_permitted(tag: Tag) -> Refusal:
    """One answer for a connection that isn't there and one that isn't this client's."""
    return Refusal(
        code="connection_not_permitted",
        detail=f"There is no connection {tag.connection_id!r} that this client may use.",
        hint="`gateway connections list` and `gateway clients list` show what there is.",
    )


def _unauthenticated(entrance: str, why: str) -> Refusal:
    detail = f"The caller is unknown: {why}."
    return Refusal(code="proxy_authentication_required", detail=detail, hint=_hint(entrance))


def _hint(entrance: str) -> str:
    return PATH_TAG_HINT if entrance == PATH else TAG_HINT
