"""Checks of names and literal values that are sent: [inject], and the headers and parameters of [auth] and [test]."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.http.fields import folded_name
from gateway.policy.checks import urls
from gateway.policy.draft import Draft
from gateway.policy.finding import Fault, key_path
from gateway.policy.header import HIDING, forbidden_header
from gateway.policy.merge import parameter_name
from gateway.policy.model import Grant, Inject, Lookup, Script
from gateway.policy.value import leaves

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
SECRET_NAME = re.compile(
    r"(?:^|[-_.])(?:authorization|cookie|secret|password|passwd|token|(?:api|access|secret|private|auth)[-_]?key|apikey|sig|signature)$",
    re.IGNORECASE,
)
_PROOFS = frozenset({"code", "redirect_uri", "code_verifier"})
_OURS = {
    "authorize": frozenset(
        {"redirect_uri", "state", "code", "code_verifier", "code_challenge", "code_challenge_method"}
    ),
    "token": _PROOFS,
    "refresh": _PROOFS,
}
"""Parameters that are ours to make, each time anew; the grant custom has none."""
_METHOD = re.compile(r"[A-Z][A-Z-]*", re.ASCII)
_STATUS = range(200, 600)
_CALLS = {"lookup": "a look-up", "test": "a test"}


def check(draft: Draft) -> Iterator[Fault]:
    """Yield the faults of what is sent."""
    if draft.inject:
        yield from _headers(draft.inject.headers, "inject.headers")
        yield from _defaults(draft, draft.inject)
        yield from _query(draft.inject.query)
        yield from _body(draft.inject.body, "inject.body")
    if draft.auth:
        for section in ("request_token", "authorize", "device", "token", "exchange", "refresh", "revoke"):
            model = getattr(draft.auth, section)
            if model is not None:
                yield from _headers(getattr(model, "headers", None) or {}, f"auth.{section}.headers")
                ours = frozenset() if draft.auth.grant is Grant.CUSTOM else _OURS.get(section, frozenset())
                yield from _params(model.params or {}, f"auth.{section}.params", ours)
    for name, call in (("lookup", draft.lookup), ("test", draft.test)):
        if call is not None:
            yield from _call(draft, name, call)


def _headers(headers: Mapping[str, str | Script], at: str, *, default: bool = False) -> Iterator[Fault]:
    seen: dict[bytes, str] = {}
    for name, value in headers.items():
        where = key_path([*at.split("."), name])
        if why := forbidden_header(name, default=default):
            yield where, why
        canonical = folded_name(name.encode())
        if canonical in seen:
            yield where, f"is the same header as {seen[canonical]}; case and _ don't matter to servers"
        seen[canonical] = name
        if isinstance(value, str) and _CONTROL.search(value):
            yield where, "has control characters in its value, such as a line break; a header is one line"
        yield from _literal(name, value, where)


def _defaults(draft: Draft, inject: Inject) -> Iterator[Fault]:
    yield from _headers(inject.defaults, "inject.defaults", default=True)
    ours = {folded_name(name.encode()): name for name in inject.headers}
    for name, value in inject.defaults.items():
        where, folded = key_path(["inject", "defaults", name]), folded_name(name.encode())
        if folded in ours:
            yield where, f"stands in [inject.headers] too, as {ours[folded]}, which replaces what the caller sends"
        if folded == b"content-type" and (isinstance(value, Script) or "{{" in value):
            yield where, "must be a plain text: by it the content is read"
        if draft.allow and draft.allow.scrub_body and folded in HIDING:
            yield where, "would have answers come in a form that can't be searched for secrets (allow.scrub_body)"


def _query(query: Mapping[str, str | Script]) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for name, value in query.items():
        where = key_path(["inject", "query", name])
        key = parameter_name(name.replace("%", "%25"))
        if not name.strip() or _CONTROL.search(name):
            yield where, "is no name for a parameter"
        elif key in seen:
            yield where, f"is the same parameter as {seen[key]}; case does not matter to some servers"
        seen[key] = name
        yield from _literal(name, value, where)


def _body(body: Mapping[str, Any], at: str) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for name, value in body.items():
        where = key_path([*at.split("."), name])
        if name.casefold() in seen:
            yield where, f"is the same member as {seen[name.casefold()]}; case does not matter to some servers"
        seen[name.casefold()] = name
        yield from _literal(name, value, where)
        for path, leaf in leaves(value, where):
            if leaf == "":
                yield path, "is empty; nothing is ever injected empty"


def _params(params: Mapping[str, Any], at: str, ours: frozenset[str]) -> Iterator[Fault]:
    for name, value in params.items():
        where = key_path([*at.split("."), name])
        if name in ours and value is not False:
            yield (
                where,
                "is made by the gateway for each login; leave it out (or set it to false if the provider rejects it)",
            )
        elif value is not False:
            yield from _nested(name, value, where)


def _nested(name: str, value: Any, where: str) -> Iterator[Fault]:
    match value:
        case Mapping():
            for key, item in value.items():
                yield from _nested(key, item, f"{where}.{key_path([key])}")
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _nested(name, item, f"{where}[{index}]")
        case _:
            yield from _literal(name, value, where)


def _literal(name: str, value: Any, where: str) -> Iterator[Fault]:
    """A policy is public: what a name calls secret must be a reference."""
    if not isinstance(value, str):
        return
    if not value.strip():
        yield where, "is empty; nothing is ever injected empty"
    elif "{{" not in value and SECRET_NAME.search(name):
        yield (
            where,
            "is a secret written as a text, and a policy never holds one; add a field with secret = true and name it",
        )


def _call(draft: Draft, name: str, call: Lookup) -> Iterator[Fault]:
    yield from _headers(call.headers, f"{name}.headers")
    if not _METHOD.fullmatch(call.method) or call.method in ("TRACE", "CONNECT"):
        yield f"{name}.method", f"{call.method!r} is no method for {_CALLS[name]}; write GET or POST"
    elif call.body and call.method in ("GET", "HEAD"):
        yield f"{name}.body", f'has no use with {call.method}; say method = "POST"'
    for number, status in enumerate(call.expect.status):
        if status not in _STATUS:
            yield f"{name}.expect.status[{number}]", "must be a status from 200 to 599"
    at = f"{name}.url"
    url, faults = urls.read(call.url, at, relative=True)
    yield from faults
    if url is not None:
        yield from urls.host_fields(draft, url, at)
        if url.is_relative and draft.base_url is None:
            yield at, "is relative, and there is no base_url to start from; add base_url or write the whole URL"
