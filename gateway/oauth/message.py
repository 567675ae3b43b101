"""What goes out to a provider and what comes back. Neither shows its content in a repr."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.secret import MASK, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRequest:
    """One HTTP request of the gateway's own, to a token, test or revocation endpoint.

    `headers` keep their order; `secrets` are the values inside that must not be seen, so that whoever shows the answer
    can take them out again. `certificate` is what the client shows in TLS: PEM, with its key (RFC 8705).
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    secrets: tuple[Secret, ...] = field(default=(), repr=False)
    certificate: Secret | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        names = ", ".join(name for name, _ in self.headers)
        return f"OutgoingRequest({self.method} {self.url.partition('?')[0]}, headers=[{names}], body={MASK})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer, read to its end. `headers` has lower-case names; of a repeated one, the last value."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"

    @property
    def media_type(self) -> str:
        """The media type of Content-Type in lower case, without its parameters (RFC 9110 §8.3)."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()
