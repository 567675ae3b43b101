"""Calls with a connection's own injection: the test call, which shows that its credentials work, and the look-up."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.errors import PolicyError, Refusal, UpstreamError
from gateway.http.fields import Fields, folded_name
from gateway.http.target import Target, parse_target
from gateway.nesting import is_deeper
from gateway.oauth.answer import DEEPEST, dig, provider_message
from gateway.oauth.message import Answer, OutgoingRequest
from gateway.oauth.redact import redact
from gateway.policy.anew import NOTHING
from gateway.policy.context import Context
from gateway.policy.fields import call_url
from gateway.policy.found import without_unfound
from gateway.policy.header import header
from gateway.policy.inject import Injection, render
from gateway.policy.match import Allowed, Decision, Denied, Matcher
from gateway.policy.merge import form_suffix
from gateway.policy.model import Lookup, Policy
from gateway.policy.request import ENTROPY, RequestValues
from gateway.policy.value import render_json, render_text
from gateway.secret import Secret
from gateway.vault.provider import WayOut
from gateway.vault.sources import Sources

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


class Calls:
    """Makes the calls of a policy's own. `clock` gives epoch seconds, `entropy(n)` random bytes."""

    def __init__(
        self, *, egress: WayOut, sources: Sources, clock: Callable[[], float], entropy: Callable[[int], bytes]
    ) -> None:
        self._egress = egress
        self._sources = sources
        self._clock = clock
        self._entropy = entropy

    async def test(self, app: str, policy: Policy, context: Context, *, secrets: tuple[Secret, ...] = ()) -> TestResult:
        """Make the test call; without one everything is well. Raises `PolicyError` if it can't even be made.

        `secrets` are taken out of the message, beside those that were sent. Raises `StoreError`.
        """
        if policy.test is None:
            return TestResult(ok=True, status=None, message="The policy has no test call.")
        return await self._call(app, policy, "test", policy.test, context, secrets=secrets)

    async def look_up(
        self, app: str, policy: Policy, context: Context, *, secrets: tuple[Secret, ...] = ()
    ) -> TestResult:
        """Make the look-up, as `test` makes the test call; without one there is nothing to be told."""
        if policy.lookup is None:
            return TestResult(ok=True, status=None, message="The policy has no look-up.")
        return await self._call(app, policy, "lookup", policy.lookup, context, secrets=secrets)

    async def with_app(self, app: str, policy: Policy, context: Context) -> Context:
        """Return the context with what the policy's requests name of the app. Raises `PolicyError`, `StoreError`."""
        return await self._sources.with_app(app, policy, context)

    async def _call(
        self, app: str, policy: Policy, section: str, call: Lookup, context: Context, *, secrets: tuple[Secret, ...]
    ) -> TestResult:
        what, known = _CALLED[section], without_unfound(policy, context)
        context = await self.with_app(app, policy, context)
        try:
            request, plain = await asyncio.to_thread(
                _build, known, call, context, now=self._clock(), random=self._entropy(ENTROPY)
            )
        except ValueError as error:  # a missing value, a script, a URL that is none with its values
            raise _unusable(app, what, str(error)) from error
        request = replace(request, certificate=await self._sources.certificate(app, policy, context))
        target, sent = request.url.partition("?")[0], (*request.secrets, *secrets)
        try:
            answer = await self._egress.send(request, timeout=CALL_SECONDS, https_only=not plain)
        except UpstreamError as error:
            refusal = error.refusal
            return TestResult(
                ok=False, status=None, message=refusal.detail, target=target, code=refusal.code, secrets=sent
            )
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


def _build(
    policy: Policy, call: Lookup, context: Context, *, now: float, random: bytes
) -> tuple[OutgoingRequest, bool]:
    """Return the request, and whether the policy lets it go over plain http. In a thread: scripts may take 50 ms."""
    injection = render(policy, context)
    target = parse_target(call_url(policy, call, context))
    fields = {name: value.reveal() if isinstance(value, Secret) else value for name, value in context.fields.items()}
    target = _allowed(Matcher.compile(policy.allow, fields).decide(call.method, target))
    body = _encoded(call, render_json(call.body, context)) if call.body else b""
    if not body and injection.body_keys and call.method != "GET":
        body = _encoded(call, injection.body)
    own = _headers(call, context, injection, has_content=bool(body))
    kind = next((value for name, value in own if folded_name(name) == b"content-type"), injection.default_type)
    present = {folded_name(name) for name, _ in own}
    request = RequestValues(method=call.method, target=target, body=body, now=now, random=random)
    made = (injection.anew or NOTHING).make(
        injection, request, fields=own, present=present, content_type=kind, has_content=bool(body)
    )
    url = f"{target.origin}{target.path}" + ("" if made.query is None else f"?{made.query}")
    headers = tuple((name.decode(), value.decode()) for name, value in [*own, *made.headers])
    secrets = (*injection.secrets, *made.secrets)
    built = OutgoingRequest(method=call.method, url=url, headers=headers, body=made.body or b"", secrets=secrets)
    return built, target.scheme == "http"


def _encoded(call: Lookup, body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode() if call.format == "json" else form_suffix(body)


def _allowed(decision: Decision) -> Target:
    match decision:
        case Allowed(target=target):
            return target
        case Denied(reason=reason):
            raise ValueError(f"the policy itself does not allow it: {reason}")


def _headers(call: Lookup, context: Context, injection: Injection, *, has_content: bool) -> Fields:
    """Return the call's own headers, but those that the policy injects."""
    own = {"Accept": "application/json"} | {name: render_text(value, context) for name, value in call.headers.items()}
    fields = [header(name, value, f"headers.{name}") for name, value in own.items()]
    fields += [(b"Content-Type", _TYPES[call.format].encode())] if has_content else []
    return [one for one in fields if folded_name(one[0]) not in injection.header_names]


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
