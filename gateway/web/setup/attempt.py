"""Try it: the test call with the policy as it is on the page, and its answer as a tree to pick values from.

The answer stays on the page until the next try: the form carries it, bounded, and without a secret (`Vault.attempt`).
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.admin.services import Services
from gateway.authoring.names import CREDENTIALS
from gateway.errors import GatewayError, Refusal, StoreError
from gateway.nesting import is_deeper
from gateway.policy.model import Policy
from gateway.secret import MASK, Secret
from gateway.vault import TestResult
from gateway.web.admin import ACTOR
from gateway.web.advice import for_the_admin, word_in
from gateway.web.session import Session
from gateway.web.setup.edits import path_of
from gateway.web.setup.page import render
from gateway.web.setup.sheet import Sheet, read
from gateway.web.text import has, plain

ANSWER = "try.answer"
NOT_RIGHT = 422
MOST_VALUES = 250
"""Values of an answer that are shown: more than a profile has, and no endless list."""
LONGEST_VALUE = 200
DEEPEST = 10
_CHANGED = re.compile("[…\ufffd]")
"""What tells that a key isn't shown as it is."""
_OK = range(200, 300)
_REDIRECT = range(300, 400)
_SERVER = range(500, 600)
_ERRORS = ("error", "errors")
_GOOD = ("ok", "success")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a try came to. `seconds` is how long it took; `data` the answer, cut where it is `cut`."""

    ok: bool
    message: str
    hint: str = ""
    status: int | None = None
    seconds: float = 0.0
    target: str = ""
    data: Any = None
    cut: bool = False

    @property
    def carried(self) -> str:
        """It all, as the form carries it."""
        return json.dumps(asdict(self))

    @property
    def tree(self) -> "list[Node]":
        """The answer's values."""
        return [] if self.data is None else _nodes(self.data, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One value of an answer: `path` as a template names it, empty where it can't be picked, or what is in it."""

    key: str
    text: str = ""
    path: str = ""
    inner: "tuple[Node, ...]" = ()
    is_list: bool = False


async def attempt(request: web.Request, session: Session, sheet: Sheet) -> web.StreamResponse:
    """Make the try, and show what came of it."""
    services = request.app[SERVICES]
    found = read(sheet)
    if found.policy is None:
        problem = Refusal(code="invalid", detail=plain("setup.try.not_yet"))
        return await render(request, sheet, session=session, status=NOT_RIGHT, problem=problem)
    tried = await _made(services, sheet, found.policy)
    return await render(request, sheet, session=session, tried=tried)


def shown_again(sheet: Sheet) -> Tried | None:
    """Return the last try's answer, as the form brought it back."""
    try:
        data = json.loads(sheet.own.get(ANSWER, ""))
        tried = Tried(**data)
        right = isinstance(tried.seconds, float | int) and not is_deeper(data, DEEPEST + 3)
    except (ValueError, TypeError, RecursionError):
        return None
    return tried if right else None


async def _made(services: Services, sheet: Sheet, policy: Policy) -> Tried:
    loop = asyncio.get_running_loop()
    connection, begun = sheet.own.get("try.connection") or None, loop.time()
    try:
        result = await services.vault.attempt(
            sheet.app,
            policy,
            connection_id=connection,
            given={} if connection else _given(sheet, policy),
            typed=_typed(sheet),
            actor=ACTOR,
        )
    except StoreError:
        raise
    except GatewayError as error:
        refusal = error.refusal
        hint = _hint_of_token(refusal) or refusal.hint or ""
        return Tried(ok=False, message=_faults(policy, refusal), hint=hint, seconds=loop.time() - begun)
    seconds = loop.time() - begun
    hint = _hint(result) or await _hint_of_renewal(services, connection, result)
    left = [MOST_VALUES]
    data = _cut(result.data, left, 0)
    return Tried(
        ok=result.ok and result.status is not None,
        message=result.message if result.status is not None or result.code else plain("setup.try.no_test"),
        hint=hint,
        status=result.status,
        seconds=seconds,
        target=result.target,
        data=data,
        cut=left[0] < 0,
    )


def _given(sheet: Sheet, policy: Policy) -> dict[str, str]:
    """Return what was filled in for this try alone."""
    given: dict[str, str] = {}
    for one in policy.fields:
        typed = sheet.typed.get(f"try.{one.name}")
        given[one.name] = typed.reveal() if typed is not None else sheet.own.get(f"try.field.{one.name}", "")
    return {name: value for name, value in given.items() if value}


def _faults(policy: Policy, refusal: Refusal) -> str:
    """Return what was refused, the fields by the labels that stand beside them."""
    labels = {f"fields.{one.name}": one.label for one in policy.fields}
    if not refusal.errors or any(one["path"] not in labels for one in refusal.errors):
        return refusal.detail
    faults = "; ".join(f"{labels[one['path']]} {one['message']}" for one in refusal.errors)
    return plain("setup.try.filled_in", faults=faults)


def _typed(sheet: Sheet) -> Mapping[str, Secret]:
    return {
        sheet.values[f"{name}.value"]: sheet.typed[name]
        for name in CREDENTIALS
        if name in sheet.typed and sheet.values.get(f"{name}.value")
    }


def _hint(result: TestResult) -> str:
    """Say how to mend what a try shows."""
    if result.code is not None:
        return _said(f"setup.try.code.{result.code}")
    status = result.status
    if status is None:
        return ""
    if status in _OK:
        if result.data is None:
            return plain("setup.try.not_json", kind=result.media_type or plain("setup.try.no_kind"))
        return plain("setup.try.ok_but_error") if _says_error(result.data) else ""
    kind = "redirect" if status in _REDIRECT else "server" if status in _SERVER else str(status)
    names = {"401": "unauthorized", "403": "forbidden", "404": "not_found", "405": "method", "429": "too_many"}
    return _said(f"setup.try.status.{names.get(kind, kind)}") or plain("setup.try.status.other")


def _hint_of_token(refusal: Refusal) -> str:
    """Say how to mend what the token endpoint refused."""
    return for_the_admin(word_in(refusal.detail)) if refusal.code == "refresh_failed" else ""


async def _hint_of_renewal(services: Services, connection: str | None, result: TestResult) -> str:
    """Say that a connection ends with its token, where nothing can renew it."""
    live = await services.vault.live(connection) if connection is not None and result.ok else None
    if live is None or live.refreshable or live.expires_at is None:
        return ""
    return plain("setup.try.no_refresh_token")


def _said(key: str) -> str:
    return plain(key) if has(key) else ""


def _says_error(data: Any) -> bool:
    """Whether a good status stands above an answer that says it isn't good."""
    if not isinstance(data, dict):
        return False
    return any(data.get(name) for name in _ERRORS) or any(data.get(name) is False for name in _GOOD)


def _cut(value: Any, left: list[int], depth: int) -> Any:
    """Return as much of an answer as is shown; `left` counts down, and ends below nothing where something is cut."""
    left[0] -= 1
    match value:
        case dict() | list() if depth >= DEEPEST:
            left[0] = -1
            return "…"
        case dict():
            return {_short(key): _cut(item, left, depth + 1) for key, item in value.items() if _has_room(left)}
        case list():
            return [_cut(item, left, depth + 1) for item in value if _has_room(left)]
        case str():
            return _short(value)
    return value


def _has_room(left: list[int]) -> bool:
    """Whether another value is shown; from the first that isn't, the answer counts as cut."""
    if left[0] <= 0:
        left[0] = -1
    return left[0] > 0


def _short(text: str) -> str:
    text = text.encode("utf-16", "surrogatepass").decode(
        "utf-16", "replace"
    )  # half a surrogate pair is JSON, and on no page
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _nodes(value: Any, steps: tuple[str | int, ...]) -> list[Node]:
    pairs: list[tuple[str | int, Any]] = []
    match value:
        case dict():
            pairs = list(value.items())
        case list():
            pairs = list(enumerate(value))
    return [_node(key, item, (*steps, key)) for key, item in pairs]


def _node(key: str | int, value: Any, steps: tuple[str | int, ...]) -> Node:
    if isinstance(value, dict | list):
        return Node(key=str(key), inner=tuple(_nodes(value, steps)), is_list=isinstance(value, list))
    text = value if isinstance(value, str) else json.dumps(value)
    pickable = value not in (None, "") and MASK not in text and not any(_CHANGED.search(str(step)) for step in steps)
    return Node(key=str(key), text=text, path=path_of(steps) if pickable else "")
