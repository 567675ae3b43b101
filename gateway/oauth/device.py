"""Device codes (RFC 8628): the request for one, what comes with it, and what the token endpoint says until it is used.

What a person is shown of it are the provider's own words: a code, and a URL of any host. The URL is a link only where
it is https (or this machine), and its host is there to be shown beside it.
"""

from dataclasses import dataclass, field

from gateway.http.target import Target, TargetInvalid, parse_target
from gateway.oauth.answer import TokenAnswer, TokenRefused, dig, read_object, read_token
from gateway.oauth.endpoint import ClientCredentials, Endpoint, ParamValue, build_request
from gateway.oauth.expiry import lifetime
from gateway.oauth.message import Answer, OutgoingRequest
from gateway.oauth.redact import redact
from gateway.secret import Secret

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
INTERVAL = 5.0
"""Seconds between polls: "If no value is provided, clients MUST use 5 as the default" (§3.2)."""
SLOWER = 5.0
"""Seconds by which a `slow_down` lengthens the interval, for this and all later polls (§3.5)."""
LONGEST_INTERVAL = 60.0
LIFETIME = 600.0
"""Seconds that a code is good for where the provider doesn't say, though §3.2 requires it."""
_LONGEST_CODE = 64  # characters of a user code; §6.1 has eight
_LONGEST_URI = 2_000
_PENDING = "authorization_pending"
_SLOW_DOWN = "slow_down"
_TOO_MANY = 429
_SERVER_ERROR = 500
_URIS = ("verification_uri", "verification_url")  # the second is what it was in drafts, and is still at some
_HERE = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """A code to be typed in (§3.2). `expires_in` and `interval` are in seconds.

    `link` is where a click leads, with the code in it where the provider has such a URL, and `host` whose it is; both
    are empty where the URI is nothing to be clicked on.
    """

    device_code: Secret
    user_code: str
    verification_uri: str
    link: str = ""
    host: str = ""
    expires_in: float = LIFETIME
    interval: float = INTERVAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Nobody has decided yet. `interval` is how many seconds to wait before the next poll; `detail` a trouble."""

    interval: float
    detail: str = field(default="")


def device_request(endpoint: Endpoint, client: ClientCredentials, *, scope: str | None) -> OutgoingRequest:
    """Ask for a code (§3.1). The client shows who it is as at the token endpoint, and names itself in any case."""
    return build_request(endpoint, {"client_id": client.client_id, "scope": scope}, client)


def poll_request(endpoint: Endpoint, client: ClientCredentials, *, device_code: Secret) -> OutgoingRequest:
    """Ask whether the code was used (§3.4)."""
    standard: dict[str, ParamValue | None] = {"grant_type": GRANT_TYPE, "device_code": device_code}
    return build_request(endpoint, standard, client)


def read_device_code(
    answer: Answer, endpoint: Endpoint, *, now: float, secrets: tuple[Secret, ...] = ()
) -> DeviceCode | TokenRefused:
    """Read the answer to the request for a code."""
    data = read_object(answer, endpoint, now=now, secrets=secrets)
    if isinstance(data, TokenRefused):
        return data
    device_code, user_code = data.get("device_code"), _text(data.get("user_code"))
    uri = next((value for name in _URIS if isinstance(value := data.get(name), str) and value.strip()), "")
    if not isinstance(device_code, str) or not device_code.isascii() or not device_code.isprintable():
        return _unusable("has no device_code")
    if not user_code or len(user_code) > _LONGEST_CODE or not user_code.isprintable():
        return _unusable("has no user_code that could be typed in")
    if not uri or len(uri) > _LONGEST_URI:
        return _unusable("has no verification_uri")
    known = (*secrets, Secret(device_code))
    link = _link(uri, data.get(f"{_URIS[0]}_complete"))
    interval = lifetime(data.get("interval")) or INTERVAL
    return DeviceCode(
        device_code=Secret(device_code),
        user_code=user_code,
        verification_uri=redact(uri, known),
        link=link.url if link else "",
        host=link.authority if link else "",
        expires_in=lifetime(dig(data, "expires_in")) or LIFETIME,
        interval=min(max(interval, 1.0), LONGEST_INTERVAL),
    )


def read_poll(
    answer: Answer, endpoint: Endpoint, *, interval: float, now: float, secrets: tuple[Secret, ...] = ()
) -> TokenAnswer | Pending | TokenRefused:
    """Read what the token endpoint says (§3.5): tokens, that nobody has decided yet, or how it has ended."""
    came = read_token(answer, endpoint, now=now, secrets=secrets)
    if isinstance(came, TokenAnswer):
        return came
    if came.error == _PENDING:
        return Pending(interval=interval)
    if came.error == _SLOW_DOWN:
        return Pending(interval=min(interval + SLOWER, LONGEST_INTERVAL))
    if answer.status >= _SERVER_ERROR or answer.status == _TOO_MANY:
        return slower(interval, came.detail)
    return came


def slower(interval: float, detail: str) -> Pending:
    """Return how to go on after a poll that nothing was learnt from: twice as seldom, as §3.5 recommends."""
    return Pending(interval=min(interval * 2, LONGEST_INTERVAL), detail=detail)


def _text(value: object) -> str:
    """Return a user code as text: some providers' are numbers."""
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _link(uri: str, complete: object) -> Target | None:
    """Return where a click may lead; a URL that has the code in it only where it is on the same origin."""
    plain = _openable(uri)
    if plain is None or not isinstance(complete, str) or len(complete) > _LONGEST_URI:
        return plain
    whole = _openable(complete)
    return whole if whole is not None and whole.origin == plain.origin else plain


def _openable(uri: str) -> Target | None:
    try:
        target = parse_target(uri.strip())
    except TargetInvalid:
        return None
    return target if target.scheme == "https" or target.host in _HERE else None


def _unusable(why: str) -> TokenRefused:
    return TokenRefused(error="no_code", detail=f"Its answer to the request for a code {why}.")
