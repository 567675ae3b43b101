"""OAuth 1.0a's signature (RFC 5849 §3.4), in Authorization. oauthlib makes it; what is signed is read here.

Not by oauthlib's `Client`: it takes no query with a bare `[`, and writes what it signs into the log.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import unquote_plus

from gateway.http.fields import Fields
from gateway.policy.header import InjectionInvalid
from gateway.policy.merge import is_form
from gateway.policy.request import RequestValues

WRITES = frozenset({b"authorization"})
"""The field that the signature is in."""
_MOST = 2_000
"""Parameters of a request: each is encoded and sorted, and a million bytes of them would hold up everybody else."""


class _Secrets(NamedTuple):
    """What the key is made of, by the names that oauthlib reads them by."""

    client_secret: str
    resource_owner_secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth1:
    """Signs with one consumer's secret and one token's. `fields` returns what is added to a request.

    `said` are protocol parameters beside the usual ones: a login has some (§2.1, §2.3).
    """

    algorithm: Literal["sha1", "sha256"]
    consumer_key: str
    consumer_secret: str = field(repr=False)
    token: str | None = field(repr=False)
    token_secret: str | None = field(repr=False)
    realm: str | None = None
    said: Mapping[str, str] = field(default_factory=dict, repr=False)

    def fields(self, request: RequestValues, fields: Fields) -> tuple[Fields, str]:
        """Return the field to add, and the signature. `fields` are those that leave beside it."""
        from oauthlib.oauth1.rfc5849 import parameters, signature  # noqa: PLC0415  only who signs so pays for it

        protocol = [
            ("oauth_consumer_key", self.consumer_key),
            *([("oauth_token", self.token)] if self.token else []),
            ("oauth_signature_method", f"HMAC-{self.algorithm.upper()}"),
            ("oauth_timestamp", str(int(request.now))),
            ("oauth_nonce", request.random[:16].hex()),
            ("oauth_version", "1.0"),
            *self.said.items(),
        ]
        kind = next((value for name, value in fields if name.lower() == b"content-type"), None)
        form = request.body.decode("latin-1") if request.body and is_form(kind) else ""
        query = request.target.query or ""
        if query.count("&") + form.count("&") >= _MOST:
            raise InjectionInvalid(f"sign: at most {_MOST} parameters can be signed, and the request has more")
        normalized = signature.normalize_parameters([*protocol, *_pairs(query), *_pairs(form)])
        uri = signature.base_string_uri(request.target.origin.serialized + request.target.path)
        base = signature.signature_base_string(request.method, uri, normalized)
        secrets = _Secrets(self.consumer_secret, self.token_secret or "")
        sha1, sha256 = signature.sign_hmac_sha1_with_client, signature.sign_hmac_sha256_with_client
        made: str = (sha1 if self.algorithm == "sha1" else sha256)(base, secrets)
        ours = parameters.prepare_headers([*protocol, ("oauth_signature", made)], realm=self.realm)
        return [(b"Authorization", ours["Authorization"].encode())], made


def _pairs(text: str) -> list[tuple[str, str]]:
    """Read a query or a form (§3.4.1.3.1): what has no value has an empty one."""
    pieces = [piece.partition("=") for piece in text.split("&") if piece]
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pieces]
