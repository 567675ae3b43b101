"""AWS Signature Version 4, in the header's form: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html.

Signed are the method, the path, the query, the content, Host, Content-Type and every X-Amz- field that leaves. The path
is read as AWS reads it: S3's encoded once, that of all other services encoded again and without doubled slashes.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from gateway.http.fields import Fields
from gateway.policy.moment import iso
from gateway.policy.request import RequestValues

ALGORITHM = "AWS4-HMAC-SHA256"
WRITES = frozenset({b"authorization", b"x-amz-date", b"x-amz-content-sha256", b"x-amz-security-token"})
"""Fields that the signature is in, or that it is made with; folded names."""
_PREFIX = b"x-amz-"
_SLASHES = re.compile("/+")
_BLANKS = re.compile(rb"[ \t]+")


def is_signed(folded: bytes) -> bool:
    """Whether a field of the caller's must be signed, if it is one of these."""
    return folded == b"content-type" or folded.startswith(_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aws4:
    """Signs with one key. `fields` returns what is added to a request."""

    service: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(repr=False)

    def fields(self, request: RequestValues, fields: Fields) -> tuple[Fields, str]:
        """Return the fields to add, and the signature. `fields` are those that leave beside these."""
        time = iso(request.now)
        content = hashlib.sha256(request.body).hexdigest()
        ours = [(b"X-Amz-Date", time.encode()), (b"X-Amz-Content-Sha256", content.encode())]
        if self.session_token:
            ours.append((b"X-Amz-Security-Token", self.session_token.encode()))
        signed = _signed_fields(request.target.authority, [*fields, *ours])
        names = ";".join(signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
        target = request.target
        asked = f"{request.method}\n{self._path(target.path)}\n{_query(target.query)}\n{lines}\n{names}\n{content}"
        scope = f"{time[:8]}/{self.region}/{self.service}/aws4_request"
        text = f"{ALGORITHM}\n{time}\n{scope}\n{hashlib.sha256(asked.encode('utf-8', 'surrogateescape')).hexdigest()}"
        signature = hmac.digest(self._key(time[:8]), text.encode(), "sha256").hex()
        said = f"{ALGORITHM} Credential={self.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        return [(b"Authorization", said.encode()), *ours], signature

    def _key(self, day: str) -> bytes:
        key = b"AWS4" + self.secret_access_key.encode()
        for step in (day, self.region, self.service, "aws4_request"):
            key = hmac.digest(key, step.encode(), "sha256")
        return key

    def _path(self, path: str) -> str:
        if self.service.startswith("s3"):
            return quote(unquote_to_bytes(path), safe="/-._~")
        return quote(_SLASHES.sub("/", path), safe="/-._~")


def _query(query: str | None) -> str:
    """Return the parameters, decoded and encoded anew, in the order of their names and then of their values."""
    if not query:
        return ""
    pieces = [piece.partition("=") for piece in query.split("&") if piece]
    pairs = sorted((_again(name), _again(value)) for name, _, value in pieces)
    return "&".join(f"{name}={value}" for name, value in pairs)


def _again(text: str) -> str:
    return quote(unquote_plus(text, errors="surrogateescape"), safe="-._~", errors="surrogateescape")


def _signed_fields(authority: str, fields: Fields) -> dict[str, str]:
    """Return the fields that are signed: by lower-case names and in their order, those of one name together."""
    found: dict[str, list[str]] = {"host": [authority]}
    for raw, value in fields:
        name = raw.lower()
        if is_signed(name):
            trimmed = _BLANKS.sub(b" ", value.strip(b" \t")).decode("utf-8", "surrogateescape")
            found.setdefault(name.decode("ascii"), []).append(trimmed)
    return {name: ",".join(found[name]) for name in sorted(found)}
