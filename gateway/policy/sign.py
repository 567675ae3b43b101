"""[sign] of a policy with a connection's values in it: what signs each request."""

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, assert_never

from gateway.pasted import KeyEncoding, shared_secret
from gateway.policy import aws4, oauth1
from gateway.policy.aws4 import Aws4
from gateway.policy.context import Context
from gateway.policy.model import Grant, Policy, Sign
from gateway.policy.oauth1 import OAuth1
from gateway.policy.request import RequestValues
from gateway.policy.template import MissingValue
from gateway.policy.value import Bound, bind, is_left_out, render_text

_ENCODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "hex": binascii.hexlify,
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
}


class SignInvalid(ValueError):
    """A value of [sign] can't be used. The message names its key path and never holds a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hmac:
    """A keyed hash over a text (RFC 2104): `{{ signature }}` in [inject]."""

    algorithm: str
    key: bytes = field(repr=False)
    text: Bound
    encoding: str

    def signature(self, request: RequestValues) -> str:
        """Return the signature of a request."""
        text = self.text.render(request).encode("utf-8", "surrogateescape")
        return _ENCODINGS[self.encoding](hmac.digest(self.key, text, self.algorithm)).decode("ascii")


Signer = Hmac | Aws4 | OAuth1


def written(sign: Sign | None) -> frozenset[bytes]:
    """Return the fields that the scheme writes itself, folded: the caller's own copies are replaced."""
    match sign.scheme if sign else "hmac":
        case "aws4":
            return aws4.WRITES
        case "oauth1":
            return oauth1.WRITES
        case "hmac":
            return frozenset()
        case other:
            assert_never(other)


def signer(policy: Policy, sign: Sign, context: Context) -> Signer:
    """Return what signs the requests of a connection. Raises `MissingValue`, `ScriptInvalid`, `SignInvalid`."""

    def optional(key: str) -> str | None:
        return _text_of(policy, sign, key, context)

    def text(key: str) -> str:
        found = optional(key)
        if found is None:
            raise MissingValue(f"sign.{key}")
        return found

    match sign.scheme:
        case "hmac":
            key = _key(text("key"), sign.key_encoding)
            algorithm = sign.algorithm or "sha256"
            return Hmac(algorithm=algorithm, key=key, text=_text(sign, context), encoding=sign.encoding)
        case "aws4":
            return Aws4(
                service=text("service"),
                region=text("region"),
                access_key_id=text("access_key_id"),
                secret_access_key=text("secret_access_key"),
                session_token=optional("session_token"),
            )
        case "oauth1":
            own = _own(policy, sign, context)
            return OAuth1(
                algorithm=algorithm_of(policy),
                consumer_key=own.get("consumer_key") or text("consumer_key"),
                consumer_secret=own.get("consumer_secret") or text("consumer_secret"),
                token=own.get("token") or optional("token"),
                token_secret=own.get("token_secret") or optional("token_secret"),
                realm=optional("realm"),
            )
    assert_never(sign.scheme)


def _text_of(policy: Policy, sign: Sign, key: str, context: Context) -> str | None:
    """Return a value of [sign], None: it isn't there, or what it needs may be left out and is."""
    value = getattr(sign, key)
    try:
        found = None if value is None else render_text(value, context)
    except MissingValue as error:
        if is_left_out(policy, error):
            return None
        raise MissingValue(error.path, f"is missing or empty; sign.{key} needs it") from None
    if found is not None and sign.scheme != "hmac" and not found.isprintable():
        raise SignInvalid(f"sign.{key} has control characters in its value")
    if found is not None and key == "realm" and ('"' in found or "\\" in found):
        raise SignInvalid("sign.realm has a quotation mark or a backslash in its value")
    return found


def algorithm_of(policy: Policy) -> Literal["sha1", "sha256"]:
    """Return what OAuth 1.0a signs with: also the requests of its own login."""
    return "sha256" if policy.sign is not None and policy.sign.algorithm == "sha256" else "sha1"


def signs_as_consumer(policy: Policy) -> bool:
    """Whether requests are signed with what is the app's own."""
    sign = policy.sign
    if policy.auth.grant is not Grant.OAUTH1 or sign is None or sign.scheme != "oauth1":
        return False
    return sign.consumer_key is None or sign.consumer_secret is None


def _own(policy: Policy, sign: Sign, context: Context) -> dict[str, str]:
    """Return what [sign] leaves out and the grant oauth1 brings: the client's own, and the token that it got.

    What is secret of it is noted as a template would note it. Raises `MissingValue`.
    """
    own: dict[str, str] = {}
    if policy.auth.grant is not Grant.OAUTH1:
        return own
    if sign.consumer_key is None and context.consumer is not None:
        own["consumer_key"] = context.consumer.key
    if sign.consumer_secret is None and context.consumer is not None:
        context.used.append(context.consumer.secret)
        own["consumer_secret"] = context.consumer.secret.reveal()
    if sign.token is None:
        own["token"] = context.text(("token", "oauth_token"))
    if sign.token_secret is None:
        own["token_secret"] = context.text(("token", "oauth_token_secret"))
    return own


def _text(sign: Sign, context: Context) -> Bound:
    if sign.text is None:
        raise MissingValue("sign.text")
    bound = bind(sign.text, context)
    return bound if isinstance(bound, Bound) else Bound((str(bound),))


def _key(text: str, encoding: KeyEncoding) -> bytes:
    try:
        return shared_secret(text, encoding)
    except ValueError:
        raise SignInvalid(f"sign.key is not {encoding}") from None
