"""An injection: what is added to the requests of one connection, as values and as bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway.http.fields import folded_name
from gateway.policy.merge import form_suffix, json_suffix, parameter_name
from gateway.secret import Secret

if TYPE_CHECKING:
    from gateway.policy.anew import Anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What is added to every request.

    `headers` are in the policy's order and spelling, `header_names` folded (`folded_name`). `defaults` are added where
    the caller has sent none of that name. `query` is percent-encoded and ready to send, `query_names` decoded. There
    are names also of what is left out or made for each request, by `anew`: the caller's copies go in any case.
    `secrets` is every secret that went in, and each rendered value that holds one. The rest is derived: names as
    `merge` compares them, and the bytes that it appends.
    """

    headers: tuple[tuple[bytes, bytes], ...] = ()
    header_names: frozenset[bytes] = frozenset()
    defaults: tuple[tuple[bytes, bytes], ...] = ()
    query: tuple[tuple[bytes, bytes], ...] = ()
    query_names: frozenset[bytes] = frozenset()
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    body_names: frozenset[str] = frozenset()
    secrets: tuple[Secret, ...] = ()
    anew: "Anew | None" = field(default=None, repr=False, compare=False)
    header_lines: bytes = field(init=False, repr=False)
    default_lines: tuple[tuple[bytes, bytes], ...] = field(init=False, repr=False)
    default_type: bytes | None = field(init=False)
    query_keys: frozenset[str] = field(init=False)
    body_keys: frozenset[str] = field(init=False)
    form_keys: frozenset[str] = field(init=False)
    query_suffix: str = field(init=False, repr=False)
    json_suffix: bytes = field(init=False, repr=False)
    form_suffix: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        defaults = tuple((folded_name(header[0]), b"%b: %b\r\n" % header) for header in self.defaults)
        queries = {name.decode() for name, _ in self.query} | {quote(name, safe="") for name in self.query_names}
        members = self.body_names.union(self.body)
        derived = {
            "header_lines": b"".join(b"%b: %b\r\n" % header for header in self.headers),
            "default_lines": defaults,
            "default_type": next((value for name, value in self.defaults if name.lower() == b"content-type"), None),
            "query_keys": frozenset(map(parameter_name, queries)),
            "body_keys": frozenset(name.casefold() for name in members),
            "form_keys": frozenset(parameter_name(quote(name, safe="")) for name in members),
            "query_suffix": b"&".join(name + b"=" + value for name, value in self.query).decode(),
            "json_suffix": json_suffix(self.body),
            "form_suffix": form_suffix(self.body),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        body = sorted(self.body_names.union(self.body))
        return f"Injection(headers={sorted(self.header_names)}, query={sorted(self.query_names)}, body={body})"
