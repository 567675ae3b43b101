"""Who is calling, and may they use that connection: asked of every request and every tunnel, from memory."""

from gateway.errors import Refusal
from gateway.proxy.entrances import PATH_TAG_HINT, TAG_HINT, Entrance, Tag
from gateway.proxy.services import Services

ANONYMOUS = "anonymous"


def admit(services: Services, tag: Tag, entrance: Entrance, *, is_loopback: bool) -> str | Refusal:
    """Return the client's name, or why the tag doesn't admit it."""
    if tag.token is None:
        if services.settings.access.anonymous and is_loopback:
            return ANONYMOUS
        return _unauthenticated(entrance, "no client token is given")
    client = services.access.client_for(tag.token)
    if client is None:
        return _unauthenticated(entrance, "the client token is wrong, expired or revoked")
    if not client.may_use(tag.connection_id):
        return not_permitted(tag)
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


def _unauthenticated(entrance: Entrance, why: str) -> Refusal:
    hint = PATH_TAG_HINT if entrance is Entrance.PATH else TAG_HINT
    return Refusal(code="proxy_authentication_required", detail=f"The caller is unknown: {why}.", hint=hint)
