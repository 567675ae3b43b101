"""The login URL, PKCE, and what the provider's callback brings."""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

from gateway.http.target import TargetInvalid, parse_target
from gateway.oauth.endpoint import ParamValue, as_named, with_query
from gateway.oauth.grants import join_scopes
from gateway.oauth.redact import redact
from gateway.secret import Secret

Pkce = Literal["S256", "plain", "off"]
WRONG_ISSUER = "wrong_issuer"
NO_CODE = "no_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationEndpoint:
    """Where a person signs in, with every template of the policy already rendered.

    `names` maps a standard parameter to what this provider calls it; `fragment` is a route of the provider's page.
    """

    url: str
    response_type: Literal["code", "token"] = "code"
    scopes: Sequence[str] = ()
    scope_separator: str = " "
    pkce: Pkce = "S256"
    params: Mapping[str, str | Literal[False]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    fragment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReceived:
    """The callback brought a code."""

    code: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRefused:
    """The callback brought an error, or nothing that we can use. `detail` is the provider's own text, cleaned."""

    error: str
    detail: str


def code_challenge(verifier: Secret, method: Pkce) -> str:
    """Return the challenge for a verifier (RFC 7636 §4.2)."""
    if method == "plain":
        return verifier.reveal()
    digest = hashlib.sha256(verifier.reveal().encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def authorization_url(
    endpoint: AuthorizationEndpoint, *, client_id: str, redirect_uri: str, state: Secret, verifier: Secret
) -> str:
    """Return the URL to send the person to (RFC 6749 §4.1.1, §4.2.1; RFC 7636 §4.3).

    The policy's `params` win; one of `False` takes a standard parameter out. A query in the URL is kept (§3.1). With a
    `fragment`, the parameters stand behind that.
    """
    params: dict[str, ParamValue | None] = {
        "response_type": endpoint.response_type,
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": join_scopes(endpoint.scopes, endpoint.scope_separator),
        "state": state.reveal(),
    }
    if endpoint.pkce != "off" and endpoint.response_type == "code":
        params["code_challenge"] = code_challenge(verifier, endpoint.pkce)
        params["code_challenge_method"] = endpoint.pkce
    standard = {name: value for name, value in params.items() if value is not None}
    # `state` is what stops a forged callback: no policy can take it out or fix its value.
    ours = {"state", endpoint.names.get("state", "state")}
    own = {name: value for name, value in endpoint.params.items() if name not in ours}
    sent = as_named(standard, endpoint.names, own)
    added = urlencode([(name, value) for name, value in sent.items() if value])
    if endpoint.fragment is not None:
        return f"{endpoint.url}#{endpoint.fragment}?{added}"
    return with_query(endpoint.url, added)


def as_standard(pairs: Iterable[tuple[str, str]], response: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield a callback's parameters by their standard names; `response` maps these to the provider's own.

    What comes by a standard name that the provider calls otherwise is something else, and left out.
    """
    standard = {own: name for name, own in response.items()}
    for name, value in pairs:
        if name in standard:
            yield standard[name], value
        elif name not in response:
            yield name, value


def read_callback(params: Mapping[str, str], *, issuer: str | None = None) -> CodeReceived | CallbackRefused:
    """Read a callback's query whose state was found right (RFC 6749 §4.1.2).

    `issuer` is the expected one: where it is known and the provider sends `iss`, both must be the same (RFC 9207 §2.4).
    """
    error = wrong_issuer(params, issuer) or callback_error(params)
    if error is not None:
        return error
    code = params.get("code", "")
    if not code or not all(" " <= char <= "~" for char in code):
        return CallbackRefused(error=NO_CODE, detail="The provider sent neither a code nor an error.")
    return CodeReceived(code=Secret(code))


def expected_issuer(issuer: str | None, *, login_url: str, sent: str | None) -> str:
    """Return what `iss` must be: the policy's issuer; without one, whatever is at the origin of the login URL.

    RFC 9207 §2.4 compares with the issuer "to which the authorization request was sent". Most issuers share the origin
    of their login page, so even where nobody wrote the issuer down an answer from somewhere else is told apart.
    """
    if issuer is not None:
        return issuer
    origin = _origin(login_url)
    return sent if sent is not None and _origin(sent) == origin else origin


def _origin(url: str) -> str:
    try:
        target = parse_target(url)
    except TargetInvalid:
        return ""
    return target.origin.serialized


def wrong_issuer(params: Mapping[str, str], issuer: str | None) -> CallbackRefused | None:
    """Refuse an answer that says it comes from another authorization server; None: it doesn't say so.

    RFC 9207 §2.4: clients "MUST reject the authorization response if the expected value is not equal to the received".
    """
    sent = params.get("iss")
    if issuer is None or sent is None or sent == issuer:
        return None
    detail = f"The answer says that it comes from {redact(sent, ())}, and {issuer} was asked."
    return CallbackRefused(error=WRONG_ISSUER, detail=detail)


def callback_error(params: Mapping[str, str]) -> CallbackRefused | None:
    """Return the error of a callback or of an implicit grant's fragment, in the provider's own words, or None."""
    error = params.get("error")
    if not error:
        return None
    said = params.get("error_description") or error
    return CallbackRefused(error=redact(error, ()), detail=redact(said, ()))
