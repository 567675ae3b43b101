"""The set-up page: the steps of the grant and their state, one form, what is wrong beside its field."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.admin.dispatch import ORIGIN, SERVICES
from gateway.admin.links import BY_LOGIN, redirect_url
from gateway.admin.services import Services
from gateway.authoring import form
from gateway.authoring.names import CREDENTIALS, FIELD_BOXES, FIELD_TEXTS, LISTS, begins
from gateway.authoring.place import name_of
from gateway.authoring.rows import ALL, rows_of
from gateway.authoring.schemes import LIKELIEST
from gateway.authoring.steps import APP, Step, steps
from gateway.authoring.suggest import entries_for, is_elsewhere
from gateway.policy.checks.inject import SECRET_NAME
from gateway.policy.load import Finding
from gateway.policy.model import Grant
from gateway.store.requests import RefusedTarget
from gateway.store.rows import ConnectionRow, Status
from gateway.vault.credentials import Safe
from gateway.web.render import SESSIONS, page
from gateway.web.session import Session
from gateway.web.setup.allowed import in_words
from gateway.web.setup.named import Named, named
from gateway.web.setup.sheet import Read, Sheet, read
from gateway.web.text import plain

SHOWN_CONNECTIONS = 50
SHOWN_REFUSED = 5
FIRST_ENTRIES = 3
"""Entries that are offered for one refused URL."""
PATH = "/apps/{app}"
MOST_INPUTS = 1_700
"""Of rows: with the others no more than a form that comes back may have. A policy with more is edited as text."""
_OF_A_ROW = {"fields": len((*FIELD_TEXTS, *FIELD_BOXES)) + 2, **dict.fromkeys(LISTS, 1)}
"""Inputs of a row: a field has two more, to try it with; of a table's there are three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One step as the page shows it. `state` is done, needs or optional; `faults` how many findings are in it."""

    number: int
    id: str
    optional: bool
    state: str
    faults: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What was asked for and not allowed, entries that would allow it, and whether it is on another site altogether."""

    target: RefusedTarget
    entries: tuple[str, ...]
    elsewhere: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of the app beside its form: its connections, and when its secrets were set, by their names."""

    connections: Sequence[ConnectionRow]
    secrets: Mapping[str, float]

    @property
    def usable(self) -> list[ConnectionRow]:
        """The connections that a try can be made with."""
        return [row for row in self.connections if row.status is Status.ACTIVE]


async def known(services: Services, app: str) -> Known:
    """Look up what stands beside the form."""
    rows = (await services.store.connections.list(app=app, limit=SHOWN_CONNECTIONS)).items
    times = await services.store.secrets.times(app)
    return Known(
        connections=[row for row in rows if row.status is not Status.DISCONNECTED],
        secrets={name: at for (_, name), at in times.items()},
    )


async def render(
    request: web.Request, sheet: Sheet, *, session: Session | None = None, status: int = 200, **results: Any
) -> web.Response:
    """Return the page. `results` are what a button was pressed for: a try, a preview, a clash."""
    services = request.app[SERVICES]
    around = await known(services, sheet.app)
    try:
        found = read(sheet)
    except form.Unreadable:
        return render_text(request, sheet, sheet.base, session=session)
    rows = {table: rows_of(sheet.values, table) for table in ALL}
    if sum(len(some) * _OF_A_ROW.get(table, 3) for table, some in rows.items()) > MOST_INPUTS:
        lead = "setup.too_many_rows"
        return render_text(request, sheet, found.text, session=session, findings=found.findings, lead=lead)
    errors, top = placed(sheet, found)
    grant = sheet.grant or Grant.AUTHORIZATION_CODE
    path = PATH.format(app=sheet.app)
    judged = sheet.judged or bool(not sheet.is_new and found.text == sheet.base and found.findings)
    values: dict[str, Any] = {
        "script": "tester.js",
        "sheet": sheet,
        "app": sheet.app,
        "path": path,
        "name": sheet.values.get("name") or sheet.app,
        "values": sheet.values,
        "own": sheet.own,
        "rows": rows,
        "grant": str(grant),
        "grants": grants(grant),
        "steps": shown_steps(sheet, grant, errors, around),
        "apart": {name: value for name, value in sheet.values.items() if not _is_on_page(name, grant)},
        "errors": errors if judged else {},
        "open_secrets": open_secrets(sheet),
        "top": top,
        "standing": _standing(sheet, found),
        "judged": judged,
        "known": around,
        "sealed": sheet.sealed(Safe(services.keyring)),
        "redirect": redirect_url(request.app[ORIGIN][0], sheet.app) if grant in BY_LOGIN else "",
        "covers": _covered(sheet.values),
        "refused": await refused(services, sheet),
        "keepsake": request.app[SESSIONS].keepsake(path),
        "text": found.text,
        "problem": None,
        "tried": None,
        "named": _named(found, results.get("tried")),
        "preview": None,
        "asked": None,
        "clash": None,
        "offered": False,
        "notes": (),
    }
    return page(request, "setup/page.html", status=status, session=session, **(values | results))


def render_text(
    request: web.Request,
    sheet: Sheet,
    text: str,
    *,
    session: Session | None = None,
    findings: Sequence[Finding] | None = None,
    status: int = 200,
    **results: Any,
) -> web.Response:
    """Return the file as text to edit: for one that is no TOML, and for what the form doesn't have."""
    services, path = request.app[SERVICES], PATH.format(app=sheet.app)
    if findings is None:
        findings = [one for one in services.catalog.findings if one.file == f"{sheet.app}.toml"]
    values: dict[str, Any] = {
        "app": sheet.app,
        "path": path,
        "sheet": sheet,
        "text": text,
        "findings": findings,
        "sealed": sheet.sealed(Safe(services.keyring)),
        "keepsake": request.app[SESSIONS].keepsake(path),
        "lead": "setup.text_broken" if findings and not results.get("clash") else "setup.text_lead",
        "problem": None,
        "clash": None,
    }
    return page(request, "setup/text.html", status=status, session=session, **(values | results))


def grants(standing: Grant | None = None) -> list[tuple[str, str]]:
    """Return the ways of signing in that the form has, the likeliest first, and the one that stands in the file."""
    offered = (*LIKELIEST, Grant.DEVICE_CODE, Grant.NONE)
    others = () if standing is None or standing in offered else (standing,)
    return [(str(one), plain(f"grant.{one}")) for one in (*offered, *others)]


def placed(sheet: Sheet, found: Read) -> tuple[dict[str, list[str]], list[Finding]]:
    """Return what is wrong by the form's names, and what has no place there."""
    values = form.values_of(found.text)
    errors: defaultdict[str, list[str]] = defaultdict(list)
    top = []
    for finding in found.findings:
        name = name_of(finding.path, values)
        if name is None:
            top.append(finding)
        elif name.endswith(".url") and not sheet.values.get(name):
            errors[name] = [plain("setup.empty")]
        else:
            errors[name].append(finding.message)
    for name in form.repeated(sheet.wanted):
        errors[name].append(plain("setup.twice"))
    for name in sheet.lost:
        errors[f"secret.{name}"].append(plain("setup.lost"))
    return dict(errors), top


def shown_steps(sheet: Sheet, grant: Grant, errors: Mapping[str, Sequence[str]], around: Known) -> list[Shown]:
    """Return the steps, each with where it stands."""
    return [_shown(number, step, sheet, errors, around) for number, step in enumerate(steps(grant), start=1)]


def _shown(number: int, step: Step, sheet: Sheet, errors: Mapping[str, Sequence[str]], around: Known) -> Shown:
    own = ("secret.auth",) if step.id == "credentials" else ()
    faults = sum(len(messages) for name, messages in errors.items() if begins(name, (*step.names, *own)))
    filled = any(value for name, value in sheet.values.items() if begins(name, step.names))
    match step.id:
        case "redirect":
            done = bool(around.connections)
        case "connect":
            done = bool(around.connections) and not sheet.is_new
        case "credentials":
            done = filled and not missing_secrets(sheet, around)
        case _:
            done = filled
    needs = bool(faults) or (not done and not _may_wait(step))
    state = "needs" if needs else "done" if done else "optional"
    return Shown(number=number, id=step.id, optional=step.optional, state=state, faults=faults)


def _may_wait(step: Step) -> bool:
    """Whether a set-up is whole without this step: a label is good to have, and the id takes its place."""
    return step.optional or step.id in {"label", "test"}


def missing_secrets(sheet: Sheet, around: Known) -> list[str]:
    """Return the credentials whose secret was neither set before nor typed now."""
    missing = []
    for name in CREDENTIALS:
        kind, value = sheet.values.get(f"{name}.kind"), sheet.values.get(f"{name}.value")
        if kind == "secret" and value and value not in around.secrets and name not in sheet.typed:
            missing.append(name)
    return missing


def open_secrets(sheet: Sheet) -> list[str]:
    """Return the names of fields that are called as a secret is and aren't one: everybody here could read them."""
    rows = rows_of(sheet.values, "fields")
    return [row["name"] for row in rows if SECRET_NAME.search(row.get("name", "")) and not row.get("secret")]


async def refused(services: Services, sheet: Sheet) -> list[Refused]:
    """Return what this app's policy refused lately, each with entries that would let it through."""
    allowed = [row[""] for row in rows_of(sheet.values, "allow.urls") if row.get("")]
    return [
        Refused(target=one, entries=entries_for(one.url)[:FIRST_ENTRIES], elsewhere=is_elsewhere(one.url, allowed))
        for one in await services.store.requests.refused(sheet.app, limit=SHOWN_REFUSED)
    ]


def _named(found: Read, tried: Any) -> list[Named]:
    """Return what the answer of a try that worked makes of a connection by the policy as it is on the page."""
    if found.policy is None or tried is None or not tried.ok or tried.data is None:
        return []
    return list(named(found.policy, tried.data, is_whole=not tried.cut))


def _standing(sheet: Sheet, found: Read) -> str:
    """Return how the page stands to its file."""
    if sheet.is_new:
        return "new"
    if found.text != sheet.base:
        return "changed"
    return "broken" if found.findings else "saved"


def _is_on_page(name: str, grant: Grant) -> bool:
    return name in APP or begins(name, tuple(one for step in steps(grant) for one in step.names))


def _covered(values: Mapping[str, str]) -> dict[str, str]:
    """Return what each entry covers; those that are never allowed stand behind a mark."""
    allowed = {row[""]: in_words(row[""]) for row in rows_of(values, "allow.urls") if row.get("")}
    denied = {f"!{row['']}": in_words(row[""], deny=True) for row in rows_of(values, "allow.deny") if row.get("")}
    return allowed | denied
