"""The dashboard, the alert rules and their pages: right by Prometheus' own tool, and of what `/metrics` shows."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Metrics
from gateway.metrics.families import FAMILIES, exposition

ROOT = Path(__file__).parent.parent
RULES = ROOT / "deploy/prometheus/alerts.yml"
RULES_TEST = ROOT / "deploy/prometheus/alerts_test.yml"
DASHBOARD = json.loads((ROOT / "deploy/grafana/gateway.json").read_text())
PAGE = (ROOT / "docs/alerts.md").read_text()
OBSERVABILITY = (ROOT / "docs/observability.md").read_text()
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]

promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool here (Debian: prometheus)")

OF_PROMETHEUS = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}}
OF_A_SCRAPE = {"job", "instance"}


def everything() -> Metrics:
    """Counts in which each metric has a series."""
    metrics = Metrics()
    metrics.request("ok", 200, 0.1, "absolute")
    metrics.refresh("refreshed", "crm")
    metrics.throttled("app")
    metrics.store("read", 0.1, failed=True)
    metrics.figures = dict.fromkeys(("cpu", "resident", "virtual", "files", "files_limit", "started", "lag"), 1.0)
    census = metrics.census
    census.store_up, census.connections = True, {("crm", "active"): 1}
    census.retrying = census.given_up = census.policies = census.faulty = census.workers = 1
    census.waiting = census.overdue = {"deliveries": 1}
    census.feed_lag = census.ca_expires_at = census.data_key_made_at = 1.0
    return metrics


def exposed() -> dict[str, set[str]]:
    """Every name in /metrics with the labels it has."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposition(everything()).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


EXPOSED = exposed() | OF_PROMETHEUS


def expressions(part: Any) -> Iterator[str]:
    """Every expression of the dashboard, its variables put in."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in {"expr", "definition"} and isinstance(value, str):
                yield value.replace("$__rate_interval", "5m").replace("$job", "gateway")
            else:
                yield from expressions(value)
    elif isinstance(part, list):
        for one in part:
            yield from expressions(one)


SHOWN = list(expressions(DASHBOARD))
ALERTED = [rule["expr"] for rule in ALERTS]
_WORDS = {
    "sum",
    "max",
    "min",
    "count",
    "by",
    "rate",
    "increase",
    "histogram_quantile",
    "offset",
    "time",
    "vector",
    "or",
}
_WORDS |= {"topk", "sort_desc", "changes", "label_values"}


def unknown(expression: str) -> set[str]:
    """What an expression names that nobody exposes: metrics, and labels in matchers and groupings."""
    text = re.sub(r'"[^"]*"', '""', expression)
    wrong = set()
    for name, matchers in re.findall(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}", text):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        wrong |= labels - EXPOSED.get(name, set()) - OF_A_SCRAPE
    named = set(re.findall(r"[a-zA-Z_:][\w:]*", re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", text)))
    grouped = {label for labels in re.findall(r"\bby \(([^)]*)\)", text) for label in re.split(r"\s*,\s*", labels)}
    if listed := re.match(r"label_values\([^,]*(?:\{[^}]*\})?, (\w+)\)", text):
        grouped.add(listed[1])
    metrics = {name for name in named - grouped - _WORDS if not re.fullmatch(r"\d+[smhd]?|[smhd]", name)}
    known = set().union(*(EXPOSED.get(name, set()) for name in metrics)) | OF_A_SCRAPE
    return wrong | (metrics - EXPOSED.keys()) | (grouped - known)


@pytest.mark.parametrize("expression", [*ALERTED, *SHOWN])
def test_what_is_asked_for_is_what_metrics_shows(expression: str) -> None:
    assert unknown(expression) == set()


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("sum(gateway_request_total)", {"gateway_request_total"}),
        ('rate(gateway_requests_total{connection="x"}[5m])', {"connection"}),
        ("sum by (host) (gateway_tunnels)", {"host"}),
        ("label_values(gateway_connections, ap)", {"ap"}),
    ],
)
def test_what_nobody_exposes_would_be_found(expression: str, wrong: set[str]) -> None:
    """The test above can fail."""
    assert unknown(expression) == wrong


@promtool
def test_prometheus_takes_the_rules_and_they_fire_when_they_should() -> None:
    for command in (("check", "rules", RULES.name), ("test", "rules", RULES_TEST.name)):
        done = subprocess.run(
            ["promtool", *command], cwd=RULES.parent, capture_output=True, text=True, check=False, timeout=50
        )
        assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_prometheus_can_read_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    asked = [
        one.replace("$instance", ".*").replace("$app", ".*") for one in SHOWN if not one.startswith("label_values")
    ]
    rules = [{"record": f"shown:{number}", "expr": one} for number, one in enumerate(asked)]
    file = tmp_path / "shown.yml"
    file.write_text(json.dumps({"groups": [{"name": "shown", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire() -> None:
    tested = set(re.findall(r"alertname[=:] ?\"?(Gateway\w+)", RULES_TEST.read_text()))
    assert tested == {rule["alert"] for rule in ALERTS}


def test_every_alert_says_how_bad_it_is_what_happened_and_where_its_section_is() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    assert re.findall(r"^## (\w+)$", PAGE, re.MULTILINE) == [rule["alert"] for rule in ALERTS]
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        assert "- **Look:** " in section
        assert "- **Do:** " in section


def test_every_metric_and_event_in_the_sections_is_there() -> None:
    words = set(re.findall(r"`([a-z_]+)`", PAGE))
    assert {word for word in words if word.startswith(("gateway_", "process_"))} <= EXPOSED.keys()
    source = "".join(path.read_text() for path in (ROOT / "gateway").rglob("*.py"))
    events = set(re.findall(r"`([a-z]+\.[a-z_]+)`", PAGE)) - {"limits.connections"}
    assert {event for event in events if f'"{event}"' not in source} <= {
        "limits.replay_bytes",
        "limits.rewrite_bytes",
    }


def test_the_dashboard_s_panels_have_ids_of_their_own_and_a_place_each() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_asks_the_data_source_that_is_chosen_and_says_what_it_shows() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert all(one["datasource"] == chosen for name, one in variables.items() if name != "datasource")
    for panel in DASHBOARD["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == chosen
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert [one["refId"] for one in panel["targets"]] == list("ABCD")[: len(panel["targets"])]
        assert all(one["datasource"] == chosen for one in panel["targets"])
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == variables.keys()


def test_the_page_on_metrics_has_the_table_of_the_code() -> None:
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.text} |"
        for one in FAMILIES
    ]
    written = re.findall(r"^\| `(?:gateway|process)_.*$", OBSERVABILITY, re.MULTILINE)
    assert written == rows, "\n" + "\n".join(rows)


def test_every_metric_has_a_series_in_what_was_looked_at() -> None:
    shown = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in EXPOSED}
    assert {family.name for family in FAMILIES} <= shown | EXPOSED.keys()
