"""`request` in templates: what is known of the request at hand, and what is made for it. Each only if it is named."""

import hashlib
from collections.abc import Callable, Mapping
from email.utils import formatdate

from gateway.http.target import Target
from gateway.policy.moment import ENTROPY, iso, uuid
from gateway.policy.template import MissingValue, Path
from gateway.policy.value import SIGNATURE

__all__ = ["CONTENT", "ENTROPY", "MADE_OF", "URL", "RequestValues"]


class RequestValues:
    """The values of one request, as it is to leave.

    `target` and `body` may be replaced while it comes together. `now` is in epoch seconds, `random` has `ENTROPY`
    bytes; the half that `uuid` is made of may stay what it is when the same request is sent again.
    """

    __slots__ = ("body", "method", "now", "random", "signature", "target")

    def __init__(self, *, method: str, target: Target, body: bytes, now: float, random: bytes) -> None:
        self.method = method
        self.target = target
        self.body = body
        self.now = now
        self.random = random
        self.signature = ""

    def text(self, path: Path) -> str:
        """Return a value as text; a body that isn't UTF-8 has surrogate escapes. Raises `MissingValue`."""
        if path == (SIGNATURE,):
            return self.signature
        make = MADE_OF.get(path[-1])
        if make is None:
            raise MissingValue(".".join(path))
        return make(self)


MADE_OF: Mapping[str, Callable[[RequestValues], str]] = {
    "method": lambda one: one.method,
    "url": lambda one: one.target.url,
    "host": lambda one: one.target.authority,
    "path": lambda one: one.target.path,
    "query": lambda one: one.target.query or "",
    "path_and_query": lambda one: one.target.path_and_query,
    "body": lambda one: one.body.decode("utf-8", "surrogateescape"),
    "body_sha256": lambda one: hashlib.sha256(one.body).hexdigest(),
    "body_md5": lambda one: hashlib.md5(one.body, usedforsecurity=False).hexdigest(),
    "time": lambda one: str(int(one.now)),
    "time_ms": lambda one: str(int(one.now * 1000)),
    "date": lambda one: formatdate(int(one.now), usegmt=True),
    "iso": lambda one: iso(one.now),
    "random": lambda one: one.random[:16].hex(),
    "uuid": lambda one: uuid(one.random[16:ENTROPY]),
}
"""Each name, and how its value is made."""
URL = frozenset({"url", "query", "path_and_query"})
"""What isn't whole before the query parameters are in it."""
CONTENT = frozenset({"body", "body_sha256", "body_md5"})
"""What needs the content, whole."""
