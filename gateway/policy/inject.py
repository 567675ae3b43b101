"""Injection: what a policy adds to a request, rendered once for each version of a connection's token."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from gateway.http.fields import folded_name
from gateway.policy.context import Context
from gateway.policy.merge import BodyInvalid, form_suffix, json_suffix, merge_body, merge_query, parameter_name
from gateway.policy.model import Grant, Policy, Script
from gateway.policy.script import ScriptInvalid
from gateway.policy.template import MissingValue
from gateway.policy.value import render_json, render_text
from gateway.secret import Secret

__all__ = ["BodyInvalid", "Injection", "InjectionInvalid", "forbidden_header", "merge_body", "merge_query", "render"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110 §5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_FRAMING = frozenset({"content-length", "transfer-encoding", "trailer", "expect", "content-encoding", "content-type"})
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "upgrade", "http2-settings"})  # RFC 9110 §7.6.1
_ROUTING = frozenset({"host", "via", "forwarded", "x-connection-id"})  # who is asked, and who asks: the gateway's own
_BASIC = "Basic {{ (fields.username ~ ':' ~ fields.password) | b64encode }}"  # RFC 7617 §2


class InjectionInvalid(ValueError):
    """A value can't be sent. The message names its key path and never holds a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What is added to every request.

    `headers` are in the policy's order and spelling, `header_names` folded (`folded_name`). `query` is
    percent-encoded and ready to send, `query_names` decoded. `secrets` is every secret that went in, and each
    rendered value that holds one. The rest is derived: names as `merge` compares them, and the bytes that it appends.
    """

    headers: tuple[tuple[bytes, bytes], ...] = ()
    header_names: frozenset[bytes] = frozenset()
    query: tuple[tuple[bytes, bytes], ...] = ()
    query_names: frozenset[bytes] = frozenset()
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    secrets: tuple[Secret, ...] = ()
    header_lines: bytes = field(init=False, repr=False)
    query_keys: frozenset[str] = field(init=False)
    body_keys: frozenset[str] = field(init=False)
    form_keys: frozenset[str] = field(init=False)
    query_suffix: str = field(init=False, repr=False)
    json_suffix: bytes = field(init=False, repr=False)
    form_suffix: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        derived = {
            "header_lines": b"".join(b"%b: %b\r\n" % header for header in self.headers),
            "query_keys": frozenset(parameter_name(name.decode()) for name, _ in self.query),
            "body_keys": frozenset(name.casefold() for name in self.body),
            "form_keys": frozenset(parameter_name(quote(name, safe="")) for name in self.body),
            "query_suffix": b"&".join(name + b"=" + value for name, value in self.query).decode(),
            "json_suffix": json_suffix(self.body),
            "form_suffix": form_suffix(self.body),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        names = f"headers={sorted(self.header_names)}, query={sorted(self.query_names)}, body={sorted(self.body)}"
        return f"Injection({names})"


def render(policy: Policy, context: Context) -> Injection:
    """Render what a policy injects. Raises `MissingValue`, `InjectionInvalid` (both `ValueError`, without a secret)."""
    used: list[Secret] = []
    headers = tuple(
        _header(name, _value(value, context, used, f"inject.headers.{name}"))
        for name, value in header_values(policy).items()
    )
    query = tuple(
        (_encoded(name), _encoded(_value(value, context, used, f"inject.query.{name}")))
        for name, value in policy.inject.query.items()
    )
    body = {name: _json(value, context, used, f"inject.body.{name}") for name, value in policy.inject.body.items()}
    return Injection(
        headers=headers,
        header_names=frozenset(folded_name(name) for name, _ in headers),
        query=query,
        query_names=frozenset(name.encode() for name in policy.inject.query),
        body=body,
        secrets=tuple(dict.fromkeys(secret for secret in used if secret)),
    )


def header_values(policy: Policy) -> Mapping[str, str | Script]:
    """The headers of [inject.headers]; with the basic grant also RFC 7617's Authorization, if it isn't there."""
    headers = policy.inject.headers
    if policy.auth.grant is Grant.BASIC and not any(name.lower() == "authorization" for name in headers):
        return {"Authorization": _BASIC, **headers}
    return headers


def forbidden_header(name: str) -> str | None:
    """Say why a header can't be injected, or None if it can."""
    if not _TOKEN.fullmatch(name):
        return "is no valid header name; letters, digits and hyphens"
    lower = folded_name(name.encode()).decode()
    if lower in _FRAMING:
        return "describes the body, which is the caller's; leave it out"
    if lower in _HOP_BY_HOP:
        return "belongs to a single hop (RFC 9110 §7.6.1); leave it out"
    if lower in _ROUTING or lower.startswith("proxy-"):
        return "is the gateway's own; leave it out"
    return None


def _value(value: str | Script, context: Context, used: list[Secret], path: str) -> str:
    """Render one text; note its secrets, and the text itself when it holds one."""
    seen = len(context.used)
    try:
        text = render_text(value, context)
    except MissingValue as error:
        raise MissingValue(error.path, f"is missing or empty; {path} needs it") from None
    except ScriptInvalid as error:
        raise InjectionInvalid(f"{path}: {error}") from None
    if not text.strip():
        raise InjectionInvalid(f"{path} is empty")
    if len(context.used) > seen:
        used += context.used[seen:]
        used += [Secret(text), *_credentials(text)]
    return text


def _credentials(text: str) -> list[Secret]:
    """What follows "Basic" or "Bearer" (RFC 9110 §11.4): a server may echo it without its scheme."""
    scheme, _, rest = text.partition(" ")
    return [Secret(rest)] if rest and " " not in rest and scheme.isalpha() else []


def _json(value: Any, context: Context, used: list[Secret], path: str) -> Any:
    if isinstance(value, str):
        return _value(value, context, used, path)
    seen = len(context.used)
    try:
        rendered = render_json(value, context)
        json.dumps(rendered, allow_nan=False)
    except MissingValue as error:
        raise MissingValue(error.path, f"is missing or empty; {path} needs it") from None
    except ValueError as error:
        reason = str(error) if isinstance(error, ScriptInvalid) else "is no valid JSON"
        raise InjectionInvalid(f"{path}: {reason}") from None
    if len(context.used) > seen:
        used += [*context.used[seen:], *(Secret(text) for text in _texts(rendered))]
    return rendered


def _texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value] if value else []
        case dict():
            return [text for item in value.values() for text in _texts(item)]
        case list():
            return [text for item in value for text in _texts(item)]
    return []


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    if why := forbidden_header(name):
        raise InjectionInvalid(f"inject.headers.{name} {why}")
    if _CONTROL.search(value):
        raise InjectionInvalid(f"inject.headers.{name} has control characters in its value")
    try:
        return name.encode("ascii"), value.strip(" \t").encode()  # RFC 9110 §5.5: no blanks around a field value
    except UnicodeEncodeError:
        raise InjectionInvalid(f"inject.headers.{name} has a lone surrogate in its value") from None


def _encoded(text: str) -> bytes:
    try:
        return quote(text, safe="-._~").encode("ascii")
    except UnicodeEncodeError:
        raise InjectionInvalid("inject.query has a lone surrogate in a value") from None
