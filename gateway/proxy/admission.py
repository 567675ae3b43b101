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
    """

    __slots__ = ("_client", "_generation", "_is_loopback", "_services", "_tag")

    def __init__(self, services: Services, *, is_loopback: bool) -> None:
        self._services, self._is_loopback = services, is_loopback
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
            return _unauthenticated(entrance, "the client token is wrong, expired or revoked")
        if not client.may_use(tag.connection_id):
            return not_permitted(tag)
        self._tag, self._client, self._generation = tag, client, access.generation
        return client.name


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
    hint = PATH_TAG_HINT if entrance == PATH else TAG_HINT
    return Refusal(code="proxy_authentication_required", detail=f"The caller is unknown: {why}.", hint=hint)
