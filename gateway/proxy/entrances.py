"""The three entrances: where a request wants to go, and with which tag.

Pure: a request's head in, a `Route` or a `Refusal` out.
"""

import binascii
import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.errors import Refusal
from gateway.http.request import RequestHead
from gateway.http.target import (
    Origin,
    Target,
    TargetInvalid,
    canonical_host,
    origin_of,
    parse_authority,
    parse_origin_form,
    parse_target,
)

_CONNECTION_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_CONNECTION = re.compile(_CONNECTION_ID, re.ASCII)
_PATH_STYLE = re.compile(rf"/c/({_CONNECTION_ID})(/[^?]*)?(?:\?(.*))?", re.ASCII)
_ABSOLUTE_INSIDE = re.compile(r"/(https?):/{1,2}(.*)", re.ASCII | re.IGNORECASE)
_LOCAL = re.compile(
    r"(?:127(?:\.[0-9]{1,3}){3}|\[::1\]|(?:[a-z0-9-]+\.)*localhost)(?::[0-9]+)?", re.ASCII | re.IGNORECASE
)
_NOTHING: frozenset[bytes] = frozenset()
_OF_A_BROWSER = frozenset({b"origin", b"sec-fetch-site"})

TAG_HINT = (
    "Set HTTP_PROXY to http://<connection>:<client token>@<gateway>, or send Proxy-Authorization: Bearer "
    "<client token> with X-Connection-Id: <connection>. `gateway clients create` makes a token."
)
PAGE_HINT = "Show a client token: web pages can reach this machine too, and could use its connections without one."
PATH_TAG_HINT = "Send the client token as Authorization: Bearer <client token>, as X-Api-Key, or as a Basic password."


ABSOLUTE: Final = "absolute"
CONNECT: Final = "connect"
PATH: Final = "path"
"""The entrances: how a request came in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """Which connection a request names, and the client token it shows (None: it shows none).

    `source` is what it was read from, so that the next request of a caller, which shows the same, has the same tag.
    """

    connection_id: str
    token: str | None = field(repr=False)
    source: tuple[bytes, bytes | None] | None = field(default=None, repr=False, compare=False)


class Inside(NamedTuple):
    """What holds for all requests inside a tunnel: the tag of its CONNECT, and the one origin they may name."""

    tag: Tag
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """What a CONNECT settled: its authority and its tag."""

    host: str
    port: int
    tag: Tag

    def inside(self, *, secure: bool) -> Inside:
        """Return what holds for the requests inside; `secure` is whether they come through TLS."""
        return Inside(self.tag, origin_of("https" if secure else "http", self.host, self.port))


class Route:
    """What a request asks for. `target` is whole, or `relative` is what to put behind the connection's base URL.

    `drop` are the folded names of fields that show the client token.
    """

    __slots__ = ("drop", "entrance", "relative", "tag", "target")

    def __init__(
        self,
        entrance: str,
        tag: Tag,
        target: Target | None,
        relative: str | None = None,
        drop: frozenset[bytes] = _NOTHING,
    ) -> None:
        self.entrance, self.tag, self.target, self.relative, self.drop = entrance, tag, target, relative, drop


def route_request(head: RequestHead, tunnel: Inside | None, known: Tag | None) -> Route | Refusal:
    """Read a request that isn't a CONNECT. `known` is the tag of the caller's request before."""
    try:
        text = head.raw_target.decode("ascii")
    except UnicodeDecodeError:
        return _invalid("it has non-ASCII characters; percent-encode them")
    try:
        if tunnel is not None:
            return _inside(text, head, tunnel)
        if text.startswith("/"):
            return _path_style(text, head, known)
        tag = proxy_tag(head, known)
        if isinstance(tag, Refusal):
            return tag
        return Route(ABSOLUTE, tag, parse_target(text))
    except TargetInvalid as reason:
        return _invalid(str(reason))


def may_be_a_page(head: RequestHead) -> bool:
    """Whether a web page may have made a browser send this: any page can, to a listener on its reader's machine.

    Browsers send Origin (RFC 6454 §7) or Sec-Fetch-Site with what a page asks for; a page whose own name has come to
    mean 127.0.0.1 sends neither, but that name as Host. `Sec-Fetch-Site: none` says that a person has opened an
    address, and stays so when the site that is there redirects here: it tells of a page, too.
    """
    if not _OF_A_BROWSER.isdisjoint(head.shape.folded):
        return True
    return _LOCAL.fullmatch((head.host or b"").decode("latin-1")) is None


def _inside(text: str, head: RequestHead, tunnel: Inside) -> Route | Refusal:
    """http-rules.md 3: inside a tunnel the target is the CONNECT's authority, and Host must equal it."""
    tag, origin = tunnel
    target = parse_origin_form(text, origin) if text.startswith("/") else parse_target(text)
    if target.origin != origin:
        return _invalid(f"it names another origin than the tunnel to {origin.host}:{origin.port}")
    if other := _other_connection(head, tag.connection_id):
        return other
    host = head.host
    if host is None or not _names(host, origin):
        return Refusal(
            code="request_rejected",
            detail=f"Host does not name {origin.authority}, which the tunnel goes to.",
            hint="Open a tunnel for each host.",
        )
    return Route(CONNECT, tag, target)


def _names(host: bytes, origin: Origin) -> bool:
    """Whether a Host field names the authority. Its port may be left out: the tunnel's is what counts."""
    text = host.decode("latin-1")
    if text == origin.authority:
        return True
    try:
        if text.endswith("]") or ":" not in text:
            return canonical_host(text) == origin.host
        return parse_authority(text) == (origin.host, origin.port)
    except TargetInvalid:
        return False


def _path_style(text: str, head: RequestHead, known: Tag | None) -> Route | Refusal:
    match = _PATH_STYLE.fullmatch(text)
    if match is None:
        return Refusal(
            code="target_invalid",
            detail="This is a proxy: it has no pages of its own.",
            hint="Use it as HTTP_PROXY, or call /c/<connection>/https://host/path.",
        )
    connection_id, rest, query = match.groups()
    if other := _other_connection(head, connection_id):
        return other
    token, drop = _path_token(head)
    if token is not None and token in text[match.end(1) :]:
        return _shown_to_target("URL")
    if b"upgrade" in drop:
        return _shown_to_target("Upgrade field")
    tag = known
    if tag is None or tag.connection_id != connection_id or tag.token != token:
        tag = Tag(connection_id=connection_id, token=token)
    suffix = "" if query is None else f"?{query}"
    inside = _ABSOLUTE_INSIDE.fullmatch(rest or "")
    if inside is None:
        return Route(PATH, tag, None, relative=(rest or "") + suffix, drop=drop)
    target = parse_target(f"{inside[1]}://{inside[2]}{suffix}")
    return Route(PATH, tag, target, drop=drop)


def _shown_to_target(where: str) -> Refusal:
    detail = f"The client token stands in the {where}, which goes on to the target."
    return Refusal(code="request_rejected", detail=detail, hint=PATH_TAG_HINT)


def _path_token(head: RequestHead) -> tuple[str | None, frozenset[bytes]]:
    """Find the client token in what an SDK sends as its key; every field that carries it ends here."""
    found = _token_of(head.authorization) or _text(head.api_key)
    if not found:
        return None, _NOTHING
    drop = head.names_with(found.encode("latin-1", "replace"))
    if b"authorization" not in drop and _token_of(head.authorization) == found:
        drop |= {b"authorization"}  # as a Basic password it does not stand there plainly
    return found, drop


def _token_of(authorization: bytes | None) -> str | None:
    if authorization is None:
        return None
    scheme, _, rest = authorization.strip(b" \t").partition(b" ")
    if scheme.lower() == b"bearer":
        return _text(rest)
    if scheme.lower() == b"basic":
        user, password = _basic(rest)
        return password or user  # some SDKs send their key as the user name
    return None


def proxy_tag(head: RequestHead, known: Tag | None = None) -> Tag | Refusal:
    """Read the tag of a request in absolute-form or of a CONNECT. `known` is returned where the request shows it."""
    raw = head.proxy_authorization
    source = (raw or b"", head.connection_id)
    if known is not None and known.source == source:
        return known
    named = _text(head.connection_id)
    if raw is None:
        raw = b"bearer"  # without a token
    scheme, _, rest = raw.partition(b" ")
    match scheme.lower():
        case b"basic":
            user, token = _basic(rest)
            connection_id = user or named
            if connection_id and (other := _other_connection(head, connection_id)):
                return other
        case b"bearer":
            connection_id, token = named, _text(rest)
        case _:
            return _untagged("Proxy-Authorization is neither Basic nor Bearer")
    if not connection_id:
        return _untagged("no connection is named")
    if not _CONNECTION.fullmatch(connection_id):
        return _untagged("what it names is no connection's id")
    return Tag(connection_id=connection_id, token=token or None, source=source)


def _other_connection(head: RequestHead, connection_id: str) -> Refusal | None:
    """Refuse two names: the caller must not get one account's credentials where it meant another's."""
    if head.connection_id is None or _text(head.connection_id) == connection_id:
        return None
    detail = f"X-Connection-Id names another connection than {connection_id}, which the request is tagged with."
    return Refusal(code="request_rejected", detail=detail, hint="Name one connection.")


def _basic(encoded: bytes) -> tuple[str | None, str | None]:
    try:
        user, _, password = binascii.a2b_base64(encoded.strip(b" \t"), strict_mode=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None, None
    return user or None, password or None


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    return value.strip(b" \t").decode("latin-1") or None


def _untagged(why: str) -> Refusal:
    return Refusal(code="proxy_authentication_required", detail=f"The request is not tagged: {why}.", hint=TAG_HINT)


def _invalid(why: str) -> Refusal:
    return Refusal(
        code="target_invalid", detail=f"The target can't be used: {why}.", hint="Send one plain http(s) URL."
    )
