"""Services that check a request's signature by themselves, from the bytes that arrived: each a quirk of a provider.

Written from the standards and from AWS's description, and not from the gateway's own code.
"""

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from urllib.parse import parse_qsl, quote, unquote

from tests.proxy.harness import OK, Service

SECRET = "tok_abcdefgh"
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%b"
_UNRESERVED = "-._~"


class Arrived:
    """A request, taken apart."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = line.split(" ")
        self.path, _, self.query = self.target.partition("?")
        self.fields: dict[str, list[str]] = {}
        for one in lines:
            name, _, value = one.partition(":")
            self.fields.setdefault(name.lower(), []).append(value.strip())

    def one(self, name: str) -> str:
        """The field that must be there once."""
        (value,) = self.fields[name]
        return value


Check = Callable[[Arrived], bool]


def checking(service: Service, check: Check) -> None:
    """Let the service answer 200 to what is signed rightly, and 403 to all else."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        right = check(Arrived(service.requests[-1]))
        writer.write(OK if right else REFUSED % (5, b"wrong"))
        await writer.drain()

    service.script = [answer]


def hmac_over_all(request: Arrived) -> bool:
    """X-Signature is over time, method, path and query, and the content."""
    text = request.one("x-time").encode() + request.method.encode() + request.target.encode() + request.body
    wanted = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    return request.one("x-signature") == wanted


def hmac_in_query(request: Arrived) -> bool:
    """The last parameter is over those before it, as exchanges have it."""
    before, _, given = request.query.rpartition("&signature=")
    wanted = base64.b64encode(hmac.new(SECRET.encode(), before.encode(), hashlib.sha512).digest()).decode()
    return unquote(given) == wanted and "timestamp=" in before and before.count("signature=") == 0


def aws4(request: Arrived) -> bool:
    """AWS Signature Version 4, as a service other than S3 reads it."""
    said = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/(\d{8})/eu-west-1/dynamodb/aws4_request, "
        r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
        request.one("authorization"),
    )
    if said is None:
        return False
    day, names, given = said.groups()
    date = request.one("x-amz-date")
    must = {"host", *(name for name in request.fields if name.startswith("x-amz-"))}
    if not date.startswith(day) or not must <= set(names.split(";")):
        return False
    if request.one("x-amz-content-sha256") != hashlib.sha256(request.body).hexdigest():
        return False
    lines = [f"{name}:{re.sub(' +', ' ', ','.join(request.fields[name]))}\n" for name in names.split(";")]
    pairs = sorted(
        (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
        for name, value in parse_qsl(request.query, keep_blank_values=True)
    )
    asked = [
        request.method,
        "/".join(quote(segment, safe=_UNRESERVED) for segment in request.path.split("/")),
        "&".join(f"{name}={value}" for name, value in pairs),
        "".join(lines),
        names,
        request.one("x-amz-content-sha256"),
    ]
    scope = f"{day}/eu-west-1/dynamodb/aws4_request"
    hashed = hashlib.sha256("\n".join(asked).encode()).hexdigest()
    key = ("AWS4" + SECRET).encode()
    for step in scope.split("/"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}"
    return given == hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class OAuth1:
    """RFC 5849 §3.2: the signature, and that no nonce comes twice."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self.nonces: set[str] = set()

    def __call__(self, request: Arrived) -> bool:
        scheme, _, rest = request.one("authorization").partition(" ")
        said = {name: unquote(value) for name, value in re.findall(r'(\w+)="([^"]*)"', rest)}
        given = said.pop("oauth_signature")
        if scheme != "OAuth" or said.pop("realm") != "things" or said["oauth_nonce"] in self.nonces:
            return False
        self.nonces.add(said["oauth_nonce"])
        pairs = [*said.items(), *parse_qsl(request.query, keep_blank_values=True)]
        if request.fields.get("content-type", [""])[0].startswith("application/x-www-form-urlencoded"):
            pairs += parse_qsl(request.body.decode(), keep_blank_values=True)
        encoded = sorted((quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED)) for name, value in pairs)
        parameters = "&".join(f"{name}={value}" for name, value in encoded)
        parts = (request.method, self._origin + request.path, parameters)
        text = "&".join(quote(part, safe=_UNRESERVED) for part in parts)
        digest = hmac.new(f"{SECRET}&".encode(), text.encode(), hashlib.sha256).digest()
        return given == base64.b64encode(digest).decode()
