"""A request as it would leave: what the policy on the page adds to it, secrets masked.

With a connection it is that connection's own request; without one the values stand as they are written.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.errors import GatewayError, Refusal, StoreError
from gateway.policy.checks.examples import decide
from gateway.policy.draft import Draft
from gateway.policy.inject import header_values
from gateway.policy.match import Allowed, Denied
from gateway.policy.model import Policy, Script
from gateway.web.session import Session
from gateway.web.setup.attempt import shown_again
from gateway.web.setup.page import render
from gateway.web.setup.sheet import Read, Sheet, read
from gateway.web.text import plain

NOT_RIGHT = 422
_FIELD = "{{"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A request: `text` is how it would look on the wire, or `refusal` says why it would not leave."""

    text: str = ""
    refusal: str = ""
    hint: str = ""


async def preview(request: web.Request, session: Session, sheet: Sheet) -> web.StreamResponse:
    """Show the request."""
    found, again = read(sheet), shown_again(sheet)
    if found.policy is None:
        problem = Refusal(code="invalid", detail=plain("setup.preview.not_yet"))
        return await render(request, sheet, session=session, status=NOT_RIGHT, problem=problem, tried=again)
    method, url = sheet.own.get("preview.method") or "GET", sheet.own.get("preview.url", "").strip()
    url = url or (found.policy.test.url if found.policy.test else "") or found.policy.base_url or ""
    connection = sheet.own.get("preview.connection", "")
    if connection:
        shown = await _of_connection(request, sheet, found.policy, method, url)
    else:
        shown = _without_connection(found, found.policy, method, _whole(url, found.policy.base_url), _sent(sheet))
    return await render(request, sheet, session=session, preview=shown, tried=again)


async def _of_connection(request: web.Request, sheet: Sheet, policy: Policy, method: str, url: str) -> Preview:
    services, connection = request.app[SERVICES], sheet.own["preview.connection"]
    row = await services.store.connections.get(connection)
    if row is None or row.app != sheet.app:
        return Preview(refusal=plain("setup.preview.no_connection"))
    try:
        answer = await services.vault.explain(connection, method, url, policy=policy)
    except StoreError:
        raise
    except GatewayError as error:
        return Preview(refusal=error.refusal.detail, hint=error.refusal.hint or "")
    if not answer["allowed"]:
        return Preview(refusal=answer["reason"], hint=answer["hint"] or "")
    added = answer["inject"]
    return Preview(text=_wire(f"{method} {_with_query(answer['upstream_url'], added['query'])}", added, _sent(sheet)))


def _without_connection(found: Read, policy: Policy, method: str, url: str, sent: Any) -> Preview:
    """Return the request with its values as they are written, where the policy lets it leave."""
    if not url or _FIELD in url:
        return _written(policy, method, url, sent)  # where it goes is open until somebody fills that in
    draft = Draft.of(tomllib.loads(found.text))
    match decide(draft, policy.allow, method, url):
        case Denied(reason=reason, hint=hint):
            return Preview(refusal=reason, hint=hint or "")
        case Allowed(target=target):
            whole = f"{target.origin}{target.path}" + ("" if target.query is None else f"?{target.query}")
            return _written(policy, method, whole, sent)


def _written(policy: Policy, method: str, url: str, sent: Any) -> Preview:
    added = {
        "headers": {name: _as_written(value) for name, value in header_values(policy).items()},
        "body": {name: _as_written(value) for name, value in policy.inject.body.items()},
    }
    query = {name: _as_written(value) for name, value in policy.inject.query.items()}
    return Preview(text=_wire(f"{method} {_with_query(url, query)}", added, sent))


def _wire(line: str, added: Mapping[str, Mapping[str, Any]], sent: Any) -> str:
    """Write a request as it looks on the wire, without what every HTTP client adds by itself."""
    lines = [line, *(f"{name}: {value}" for name, value in added["headers"].items())]
    body = added["body"]
    if sent is not None or (body and not line.startswith(("GET ", "HEAD ", "DELETE "))):
        merged = {**sent, **body} if isinstance(sent, dict) else sent if sent is not None else dict(body)
        written = json.dumps(merged, indent=2, ensure_ascii=False)
        # Half a surrogate pair is JSON, and on no page: it stays escaped.
        written = written.encode("utf-8", "backslashreplace").decode()
        lines += ["Content-Type: application/json", "", written]
    return "\n".join(lines)


def _with_query(url: str, query: Mapping[str, str]) -> str:
    """Put what is injected in place of what the URL has of the same names."""
    if not query:
        return url
    way, _, own = url.partition("?")
    names = {name.lower() for name in query}
    kept = [(name, value) for name, value in parse_qsl(own, keep_blank_values=True) if name.lower() not in names]
    pairs = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in kept]
    pairs += [f"{quote(name, safe='')}={quote(value, safe='*{} |~.')}" for name, value in query.items()]
    return f"{way}?{'&'.join(pairs)}"


def _whole(url: str, base: str | None) -> str:
    return f"{base.rstrip('/')}{url}" if base and url.startswith("/") else url


def _sent(sheet: Sheet) -> Any:
    """Return the body that the caller would send; None where there is none, or it is no JSON."""
    try:
        return json.loads(sheet.own.get("preview.body", ""))
    except (ValueError, RecursionError):
        return None


def _as_written(value: Any) -> Any:
    """Return a value of the policy as it stands there."""
    match value:
        case Script():
            return plain("setup.preview.script")
        case Mapping():
            return {key: _as_written(item) for key, item in value.items()}
        case list() | tuple():
            return [_as_written(item) for item in value]
    return value
