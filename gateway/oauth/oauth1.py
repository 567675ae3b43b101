"""The login of OAuth 1.0a (RFC 5849 §2): the requests for its two tokens, the URL between them, and what comes back.

What the requests leave with beside this, their signature, is made by whoever holds the consumer's secret.

The protocol has no `state`: ours goes into the query of the callback URL, which a provider keeps (§2.2). Its
`oauth_verifier` is a code's likeness, and worth nothing without the secret of the token that it was given for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from gateway.oauth.answer import TokenAnswer, TokenRefused, read_object
from gateway.oauth.authorize import NO_CODE, AuthorizationEndpoint, CallbackRefused, callback_error
from gateway.oauth.endpoint import Endpoint, build_request, with_query
from gateway.oauth.message import Answer, OutgoingRequest
from gateway.oauth.redact import redact
from gateway.secret import Secret

WRONG_TOKEN = "wrong_token"  # noqa: S105  an error's name
OURS = frozenset({"oauth_token", "oauth_verifier", "oauth_problem", "denied"})
"""What a callback is made of here, beside the state and OAuth 2.0's errors, which some send."""
_TOKEN, _SECRET = "oauth_token", "oauth_token_secret"
_PROBLEM = "oauth_problem"  # where many providers say what is wrong; an extension that was never a standard


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestToken:
    """What a login begins with: "temporary credentials" (§2.1). The token stands in the login URL, its secret never."""

    token: str
    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The callback brought what the access token is given for (§2.2)."""

    verifier: Secret = field(repr=False)


def unsigned(endpoint: Endpoint) -> OutgoingRequest:
    """Ask for either token (§2.1, §2.3): all that the protocol says itself is said in the signature's header."""
    return build_request(replace(endpoint, headers={"Accept": "*/*", **endpoint.headers}), {}, None)


def read_request_token(
    answer: Answer, endpoint: Endpoint, *, now: float, secrets: tuple[Secret, ...]
) -> RequestToken | TokenRefused:
    """Read what the login begins with. `secrets` are what was sent, and are in no refusal.

    "oauth_callback_confirmed: MUST be present and set to "true"", to tell servers apart that know no verifier (§2.1).
    Some that know it don't say so. We let these through, for a callback without a verifier is refused in any case, and
    refuse who says anything else.
    """
    data = _read(answer, endpoint, now=now, secrets=secrets)
    if isinstance(data, TokenRefused):
        return data
    if str(data.get("oauth_callback_confirmed", "true")).lower() != "true":
        return TokenRefused(error="not_confirmed", detail="It does not accept the redirect URL (RFC 5849 §2.1).")
    return RequestToken(token=data[_TOKEN], secret=Secret(data[_SECRET]))


def read_access_token(
    answer: Answer, endpoint: Endpoint, *, now: float, secrets: tuple[Secret, ...]
) -> TokenAnswer | TokenRefused:
    """Read the token that signs from now on, and its secret (§2.3). It has no end, and nothing renews it."""
    data = _read(answer, endpoint, now=now, secrets=secrets)
    return data if isinstance(data, TokenRefused) else TokenAnswer(raw=data, access_token=Secret(data[_TOKEN]))


def login_url(endpoint: AuthorizationEndpoint, token: RequestToken) -> str:
    """Return the URL to send the person to (§2.2); no parameter of the policy's takes the token's place."""
    own = {name: value for name, value in endpoint.params.items() if value}
    added = urlencode({**own, _TOKEN: token.token})
    if endpoint.fragment is not None:
        return f"{endpoint.url}#{endpoint.fragment}?{added}"
    return with_query(endpoint.url, added)


def read_signed_callback(params: Mapping[str, str], *, token: RequestToken) -> Verified | CallbackRefused:
    """Read a callback whose state was found right: a verifier, for the very token that this login began with.

    How a person's no is said isn't in the RFC: `denied`, `oauth_problem` and OAuth 2.0's `error` are what there is.
    """
    if refused := callback_error(params):
        return refused
    if problem := params.get(_PROBLEM):
        return CallbackRefused(error=redact(problem, ()), detail=redact(problem, ()))
    if "denied" in params:
        return CallbackRefused(error="access_denied", detail="access_denied")
    if params.get(_TOKEN) != token.token:
        return CallbackRefused(error=WRONG_TOKEN, detail="The answer is to another sign-in than the one begun here.")
    verifier = params.get("oauth_verifier", "")
    if not _is_visible(verifier):
        return CallbackRefused(error=NO_CODE, detail="The provider sent neither a verifier nor an error.")
    return Verified(verifier=Secret(verifier))


def _read(
    answer: Answer, endpoint: Endpoint, *, now: float, secrets: tuple[Secret, ...]
) -> Mapping[str, str] | TokenRefused:
    """Return an answer that has a token and its secret, as texts."""
    known = replace(endpoint, error=endpoint.error or _PROBLEM)
    data = read_object(answer, known, now=now, secrets=secrets)
    if isinstance(data, TokenRefused):
        return _in_words(answer, data, secrets)
    if problem := data.get(_PROBLEM):
        return TokenRefused(error="refused", detail=f"The provider answered: {redact(str(problem), secrets)}")
    for name in (_TOKEN, _SECRET):
        value = data.get(name)
        if not isinstance(value, str) or not _is_visible(value):
            return TokenRefused(error="no_token", detail=f"Its answer has no {name} that could be used.")
    return data


def _in_words(answer: Answer, refused: TokenRefused, secrets: tuple[Secret, ...]) -> TokenRefused:
    """Return a refusal with the plain text that it came with: most of these providers answer so."""
    words = redact(answer.body.decode(errors="replace"), secrets) if answer.media_type == "text/plain" else ""
    if refused.error != "unreadable" or not words:
        return refused
    return replace(refused, detail=f"The provider answered {answer.status}: {words}")


def _is_visible(text: str) -> bool:
    return bool(text) and all("!" <= char <= "~" for char in text)
