"""Allowed URLs: what an entry covers, in words, and whether a URL would be allowed by what stands on the page."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from aiohttp import web

from gateway.admin.answers import json_response
from gateway.authoring import form
from gateway.authoring.rows import rows_of
from gateway.authoring.suggest import entries_for, is_elsewhere
from gateway.authoring.words import Coverage, covers
from gateway.policy.checks.examples import decide
from gateway.policy.draft import Draft
from gateway.policy.match import Allowed
from gateway.web.admin import read_admin_form
from gateway.web.setup.sheet import Sheet
from gateway.web.text import plain

LIMIT = 3_145_728
"""Bytes of a set-up page's form: a policy of a megabyte, percent-encoded."""
OFFERED = 3
"""Entries that are offered for a URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a URL would be allowed. `words` says so and why, `hint` what would be, `entries` what would allow it.

    `elsewhere`: it is on another site than what is allowed.
    """

    allowed: bool
    words: str
    hint: str = ""
    entries: tuple[str, ...] = ()
    elsewhere: bool = False


async def check(request: web.Request) -> web.StreamResponse:
    """Answer the tester on the page: the form as it is there, and the URL in it."""
    _, posted = await read_admin_form(request, limit=LIMIT)
    values = {name: value for name, value in posted.items() if "." in name} | {
        name: posted[name] for name in ("name", "base_url") if name in posted
    }
    sheet = Sheet(app=request.match_info["app"], base=posted.get("base", ""), is_new=False, values=values)
    verdict = judge(sheet, posted.get("check.url", ""), posted.get("check.method", ""))
    covered = {
        f"{table}.{number}": _said(row.get("", ""), deny=table == "allow.deny")
        for table in ("allow.urls", "allow.deny")
        for number, row in enumerate(rows_of(sheet.values, table))
    }
    said = {"allowed": None, "words": "", "hint": ""} if verdict is None else asdict(verdict)
    return json_response({name: said[name] for name in ("allowed", "words", "hint")} | {"covers": covered})


def judge(sheet: Sheet, url: str, method: str) -> Verdict | None:
    """Say whether the page as it is would allow a request; None: there is no URL to judge."""
    url = url.strip()
    if not url:
        return None
    draft = _draft(sheet)
    allow = None if draft is None else draft.allow
    if draft is None or allow is None:
        return Verdict(allowed=False, words=plain("setup.check.unreadable"))
    if any(covers(entry).wrong for entry in allow.urls) or any(covers(entry, deny=True).wrong for entry in allow.deny):
        return Verdict(allowed=False, words=plain("setup.check.wrong_entry"))
    below = ""
    if url.startswith("/"):
        if draft.base_url is None or "{{" in draft.base_url:
            return Verdict(allowed=False, words=plain("setup.check.whole_url"))
        url = draft.base_url.rstrip("/") + url  # as the path-style entrance has it
        below = plain("setup.check.below", url=url) + " "
    decision = decide(draft, allow, method or "GET", url)
    if isinstance(decision, Allowed):
        upgraded = url.lower().startswith("http:") and decision.target.scheme == "https"
        key = "setup.check.allowed_https" if upgraded else "setup.check.allowed"
        return Verdict(allowed=True, words=below + plain(key, rule=decision.rule))
    words = below + plain("setup.check.denied", reason=decision.reason)
    entries = () if decision.rule else entries_for(url)[:OFFERED]
    elsewhere = bool(entries) and is_elsewhere(url, allow.urls)
    return Verdict(allowed=False, words=words, hint=decision.hint or "", entries=entries, elsewhere=elsewhere)


def _draft(sheet: Sheet) -> Draft | None:
    try:
        return Draft.of(tomllib.loads(form.apply(sheet.base, sheet.wanted)))
    except form.Unreadable:
        return None


def _said(entry: str, *, deny: bool) -> str:
    """Say what an entry covers, or what is wrong with it; of an empty one nothing."""
    return (covers(entry, deny=deny).wrong or in_words(entry, deny=deny)) if entry else ""


def in_words(entry: str, *, deny: bool = False) -> str:
    """Say what an entry covers. What is wrong with one is said beside it by the checks."""
    found = covers(entry, deny=deny)
    if found.wrong is not None:
        return ""
    parts = {"where": _where(found), "how": _how(found), "path": found.path}
    return plain("setup.covers.path" if found.path else "setup.covers.all", **parts)


def _where(found: Coverage) -> str:
    key = "both" if found.itself and found.below else "below" if found.below else "itself"
    return plain(f"setup.covers.{key}", host=found.host)


def _how(found: Coverage) -> str:
    schemes: Mapping[tuple[str, ...], str] = {("https",): "https", ("http",): "http"}
    scheme = plain(f"setup.covers.{schemes.get(tuple(found.schemes), 'either')}")
    if found.port is None:
        return plain("setup.covers.every_port", scheme=scheme)
    return plain("setup.covers.port", scheme=scheme, port=found.port) if found.port_written else scheme
