"""The dashboard: what needs a person, then what happens. Every number is true: it is of the tallies, not of the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from gateway.admin.dispatch import SERVICES
from gateway.admin.services import Services
from gateway.store.rows import LATENCY, ConnectionRow, Status, TallyRow
from gateway.store.tallies import Busy
from gateway.web.admin import for_admins
from gateway.web.chart import Chart, Times, bars, count_label, lines, quantile, time_label
from gateway.web.render import page
from gateway.web.text import plain

SHOWN = 5
"""Of each kind of what needs a person, and of the busiest: the rest is on the pages of their own."""
LONGEST = 64
"""Characters of a name that is looked for: no app, connection or client has more."""


@dataclass(frozen=True, slots=True)
class Period:
    """How far back, and in what steps: for what is counted by five minutes, and for what is counted by the hour."""

    seconds: int
    fine: int
    coarse: int


PERIODS = {
    "1h": Period(3_600, 300, 3_600),
    "24h": Period(86_400, 1_800, 3_600),
    "7d": Period(7 * 86_400, 4 * 3_600, 4 * 3_600),
}
DEFAULT = "24h"
DIMENSIONS = ("all", "app", "connection", "client")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What was asked to be shown: of which time, and of whom."""

    period: str
    by: str
    key: str

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "View":
        """Read an address; what isn't known in it is as if it weren't there."""
        period, by = query.get("period", DEFAULT), query.get("by", "all")
        key = query.get("key", "").strip().replace("\x00", "")[:LONGEST]
        if by not in DIMENSIONS[1:] or not key:
            by, key = "all", ""
        return cls(period=period if period in PERIODS else DEFAULT, by=by, key=key)

    def path(self, **changes: str) -> str:
        """Return the address of this view with something else in place."""
        wanted = {"period": self.period, "by": self.by, "key": self.key} | changes
        if wanted["by"] == "all":
            del wanted["by"], wanted["key"]
        if wanted["period"] == DEFAULT:
            del wanted["period"]
        return f"/?{urlencode(wanted)}" if wanted else "/"

    def times(self, now: int) -> Times:
        """Return the steps of its charts; the last one is the one that is now."""
        period = PERIODS[self.period]
        step = period.fine if self.by in {"all", "app"} else period.coarse
        first = (now - period.seconds) // step * step
        return Times(first=first, step=step, count=(now - first) // step + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing for a person to do. `kind` names its words."""

    kind: str
    name: str
    app: str
    app_name: str
    label: str = ""
    reason: str | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The numbers of one step, as a row of the table."""

    at: int
    requests: int = 0
    failed: int = 0
    refused: int = 0
    p50: float | None = None
    p95: float | None = None
    renewed: int = 0
    not_renewed: int = 0

    @property
    def answered(self) -> int:
        """Those that went well."""
        return self.requests - self.failed - self.refused


@for_admins
async def show(request: web.Request) -> web.StreamResponse:
    """Show what needs a person, and what happened in the time that was asked for."""
    services, view = request.app[SERVICES], View.of(request.query)
    now = int(services.clock())
    times = view.times(now)
    rows = await services.store.tallies.series(view.by, view.key, since=times.first, step=times.step)
    counts = await services.store.connections.count_by_status()
    names = {app: policy.name for app, policy in services.catalog.policies.items()}
    steps, total = _steps(rows, times), _total(rows)
    return page(
        request,
        "dashboard.html",
        view=view,
        periods=tuple(PERIODS),
        needs=await _needs(services, names),
        to_sign_in=counts[Status.NEEDS_REAUTHORIZATION],
        working=counts[Status.ACTIVE],
        beginning=await _beginning(services, sum(counts.values()), measured=bool(rows) or view.by != "all"),
        measured=bool(rows),
        total=total,
        steps=steps,
        step=times.step,
        charts=_charts(times, steps),
        busiest=await _busiest(services, view, now),
        names=names,
        time_label=_latency,
    )


async def _needs(services: Services, names: Mapping[str, str]) -> list[Need]:
    attention = services.store.attention
    found = [
        Need(kind="policy", name=file, app=file.removesuffix(".toml"), app_name=file, reason=reason)
        for file, reason in {one.file: f"{one.path} {one.message}".strip() for one in services.catalog.findings}.items()
    ][:SHOWN]
    found += [_need("sign_in", row, row.updated_at, names) for row in await attention.to_reauthorize(SHOWN)]
    found += [_need("retrying", row, row.retry_at, names) for row in await attention.retrying(SHOWN)]
    for test in await attention.failing(SHOWN):
        reason = plain("dashboard.tested", status=test.status) if test.status else plain("dashboard.tested_nothing")
        name = names.get(test.app, test.app)
        found.append(
            Need(
                kind="test",
                name=test.connection,
                app=test.app,
                app_name=name,
                label=test.label,
                reason=reason,
                at=test.at,
            )
        )
    return found


def _need(kind: str, row: ConnectionRow, at: float | None, names: Mapping[str, str]) -> Need:
    name = names.get(row.app, row.app)
    return Need(kind=kind, name=row.id, app=row.app, app_name=name, label=row.label, reason=row.reason, at=at)


async def _beginning(services: Services, connections: int, *, measured: bool) -> list[tuple[str, str, bool]]:
    """Return the first steps, each with whether it is done and the page where that is seen, or else done.

    None of them once requests come.
    """
    if measured:
        return []
    apps = bool(services.catalog.policies)
    clients = any(client.revoked_at is None for client in await services.access.list())
    steps = [
        ("app", "/apps" if apps else "/apps/new", apps),
        ("connection", "/connections" if connections else "/apps", bool(connections)),
        ("client", "/clients" if clients else "/clients/_new", clients),
    ]
    return [] if all(done for _, _, done in steps) else steps


async def _busiest(services: Services, view: View, now: int) -> dict[str, Sequence[Busy]]:
    """Return who has most requests, by dimension; of one app or connection alone nothing is broken down."""
    if view.by != "all":
        return {}
    tallies, since = services.store.tallies, now - PERIODS[view.period].seconds
    return {name: await tallies.busiest(name, since=since, now=now, limit=SHOWN) for name in DIMENSIONS[1:]}


def _steps(rows: Sequence[TallyRow], times: Times) -> list[Step]:
    """Return every step, those without a row too."""
    found = {row.at: row for row in rows}
    return [_step(at, found.get(at)) for at in times.begins]


def _step(at: int, row: TallyRow | None) -> Step:
    if row is None:
        return Step(at=at)
    return Step(
        at=at,
        requests=row.requests,
        failed=row.failed,
        refused=row.refused,
        p50=quantile(row.latency, LATENCY, 0.5),
        p95=quantile(row.latency, LATENCY, 0.95),
        renewed=row.renewed,
        not_renewed=row.not_renewed,
    )


def _total(rows: Sequence[TallyRow]) -> Step:
    """Return all of them as one."""
    latency = [sum(counts) for counts in zip(*(row.latency for row in rows), strict=True)]
    return Step(
        at=0,
        requests=sum(row.requests for row in rows),
        failed=sum(row.failed for row in rows),
        refused=sum(row.refused for row in rows),
        p50=quantile(latency, LATENCY, 0.5),
        p95=quantile(latency, LATENCY, 0.95),
        renewed=sum(row.renewed for row in rows),
        not_renewed=sum(row.not_renewed for row in rows),
    )


def _charts(times: Times, steps: Sequence[Step]) -> dict[str, Chart]:
    return {
        "requests": bars(
            times,
            {
                "failed": [step.failed for step in steps],
                "refused": [step.refused for step in steps],
                "answered": [step.answered for step in steps],
            },
            label=count_label,
        ),
        "latency": lines(
            times, {"p95": [step.p95 for step in steps], "p50": [step.p50 for step in steps]}, label=time_label
        ),
        "refreshes": bars(
            times,
            {"not_renewed": [step.not_renewed for step in steps], "renewed": [step.renewed for step in steps]},
            label=count_label,
        ),
    }


def _latency(seconds: float | None) -> str:
    """Return a latency as people read it; of what is over the last bound no more is known."""
    if seconds is None:
        return plain("dashboard.nothing")
    return plain("dashboard.over", time=time_label(seconds)) if seconds >= LATENCY[-1] else time_label(_round(seconds))


def _round(seconds: float) -> float:
    """Return two digits: a bucket tells no more."""
    return float(f"{seconds:.2g}")
