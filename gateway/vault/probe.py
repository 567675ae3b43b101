"""Calls with a connection's own injection: the test call, which shows that its credentials work, and the look-up."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import PolicyError, Refusal, UpstreamError
from gateway.http.fields import folded_name
from gateway.http.target import Target, parse_target
from gateway.nesting import is_deeper
from gateway.oauth.answer import DEEPEST, dig, provider_message
from gateway.oauth.message import Answer, OutgoingRequest
from gateway.oauth.redact import redact
from gateway.policy.context import Context
from gateway.policy.fields import call_url
from gateway.policy.found import without_unfound
from gateway.policy.inject import Injection, merge_query, render
from gateway.policy.match import Allowed, Decision, Denied, Matcher
from gateway.policy.merge import form_suffix
from gateway.policy.model import Lookup, Policy
from gateway.policy.value import render_json, render_text
from gateway.secret import Secret
from gateway.vault.provider import WayOut

CALL_SECONDS = 20.0
_OK = range(200, 300)
_CALLED = {"test": "The test call", "lookup": "The look-up"}
_TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What the test API said. `status` is None where it wasn't reached or there is none; `message` is fit to be shown.

    `data` is its JSON, which templates know as `test`. `target` is what was asked, without its query; `media_type` what
    the answer said it is; `code` says why it wasn't reached. `secrets` is every secret that was sent.
    """

    __test__ = False  # not one of pytest's

    ok: bool
    status: int | None
    message: str
    data: Any = field(default=None, repr=False)
    target: str = ""
    media_type: str = ""
    code: str | None = None
    secrets: tuple[Secret, ...] = field(default=(), repr=False)


async def run_test(
    app: str, policy: Policy, context: Context, *, egress: WayOut, secrets: tuple[Secret, ...] = ()
) -> TestResult:
    """Make the policy's test call; without one everything is well. Raises `PolicyError` if it can't even be made.

    `secrets` are taken out of the message, beside those that were sent.
    """
    if policy.test is None:
        return TestResult(ok=True, status=None, message="The policy has no test call.")
    return await _call(app, policy, "test", policy.test, context, egress=egress, secrets=secrets)


async def run_lookup(
    app: str, policy: Policy, context: Context, *, egress: WayOut, secrets: tuple[Secret, ...] = ()
) -> TestResult:
    """Make the policy's look-up, as `run_test` makes the test call; without one there is nothing to be told."""
    if policy.lookup is None:
        return TestResult(ok=True, status=None, message="The policy has no look-up.")
    return await _call(app, policy, "lookup", policy.lookup, context, egress=egress, secrets=secrets)


async def _call(
    app: str,
    policy: Policy,
    section: str,
    call: Lookup,
    context: Context,
    *,
    egress: WayOut,
    secrets: tuple[Secret, ...],
) -> TestResult:
    what = _CALLED[section]
    try:
        request, plain = await asyncio.to_thread(_build, without_unfound(policy, context), call, context)
    except ValueError as error:  # a missing value, a script, a URL that is none with its values
        raise _unusable(app, what, str(error)) from error
    target, sent = request.url.partition("?")[0], (*request.secrets, *secrets)
    try:
        answer = await egress.send(request, timeout=CALL_SECONDS, https_only=not plain)
    except UpstreamError as error:
        refusal = error.refusal
        return TestResult(ok=False, status=None, message=refusal.detail, target=target, code=refusal.code, secrets=sent)
    ok, message, data = _judge(what, call, answer, sent)
    return TestResult(
        ok=ok,
        status=answer.status,
        message=message,
        data=data,
        target=target,
        media_type=answer.media_type,
        secrets=sent,
    )


def _build(policy: Policy, call: Lookup, context: Context) -> tuple[OutgoingRequest, bool]:
    """Return the request, and whether the policy lets it go over plain http. In a thread: scripts may take 50 ms."""
    injection = render(policy, context)
    target = parse_target(call_url(policy, call, context))
    fields = {name: value.reveal() if isinstance(value, Secret) else value for name, value in context.fields.items()}
    target = _allowed(Matcher.compile(policy.allow, fields).decide(call.method, target))
    query = merge_query(injection, target.query)
    body = {**render_json(call.body, context), **injection.body} if call.body or call.method != "GET" else {}
    request = OutgoingRequest(
        method=call.method,
        url=f"{target.origin}{target.path}" + ("" if query is None else f"?{query}"),
        headers=_headers(call, injection, context, has_body=bool(body)),
        body=_encoded(call, body) if body else b"",
        secrets=injection.secrets,
    )
    return request, target.scheme == "http"


def _encoded(call: Lookup, body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode() if call.format == "json" else form_suffix(body)


def _allowed(decision: Decision) -> Target:
    match decision:
        case Allowed(target=target):
            return target
        case Denied(reason=reason):
            raise ValueError(f"the policy itself does not allow it: {reason}")


def _headers(call: Lookup, injection: Injection, context: Context, *, has_body: bool) -> tuple[tuple[str, str], ...]:
    own = {"Accept": "application/json"} | ({"Content-Type": _TYPES[call.format]} if has_body else {})
    own |= {name: render_text(value, context) for name, value in call.headers.items()}
    kept = [(name, value) for name, value in own.items() if folded_name(name.encode()) not in injection.header_names]
    return (*kept, *((name.decode(), value.decode()) for name, value in injection.headers))


def _judge(what: str, call: Lookup, answer: Answer, secrets: tuple[Secret, ...]) -> tuple[bool, str, Any]:
    """Return whether the answer is as expected, what to say of it, and its JSON."""
    data = _parse(answer)
    expected = answer.status in call.expect.status if call.expect.status else answer.status in _OK
    if not expected:
        words = provider_message(data, None, secrets) if data is not None else _text(answer, secrets)
        wanted = f" (expected {' or '.join(map(str, call.expect.status))})" if call.expect.status else ""
        return False, f"{what} answered {answer.status}{wanted}" + (f": {words}" if words else "."), data
    if call.expect.path is not None and dig(data, call.expect.path) is None:
        words = provider_message(data, None, secrets) if data is not None else None
        message = f"{what} answered {answer.status} without a value at {call.expect.path!r}"
        return False, message + (f": {words}" if words else "."), data
    return True, f"{what} answered {answer.status}.", data


def _parse(answer: Answer) -> Mapping[str, Any] | list[Any] | None:
    try:
        data = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict | list) and not is_deeper(data, DEEPEST) else None


def _text(answer: Answer, secrets: tuple[Secret, ...]) -> str | None:
    """Return the words of an answer that is plain text; nobody wants to read HTML."""
    if answer.media_type != "text/plain":
        return None
    return redact(answer.body.decode(errors="replace"), secrets) or None


def _unusable(app: str, what: str, why: str) -> PolicyError:
    refusal = Refusal(
        code="invalid", detail=f"{what} of {app} can't be made: {why}.", hint=f"Change policies/{app}.toml."
    )
    return PolicyError(refusal)
