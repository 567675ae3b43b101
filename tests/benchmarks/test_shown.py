"""What is shown: the table, the pictures, the page of the documentation."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import record, report
from benchmarks.bench import Pace
from benchmarks.document import BEGIN, END, figures, file_name, replaced, write_document
from benchmarks.figures import Outcome, Spread
from benchmarks.plot import Bar, bars, longest
from benchmarks.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
ABOUT = {
    "machine": {"date": "2026-01-01", "processors": "2 CPUs", "kernel": "Linux 6"},
    "versions": {"envoy": "1.40.0"},
}
SVG = "{http://www.w3.org/2000/svg}"
SMALL = Outcome(
    samples={
        "gateway": [{"cpu_us": 21.0, "rate": 40_000.0}, {"cpu_us": 20.0, "rate": 41_000.0}],
        "envoy": [{"cpu_us": 30.0, "rate": 30_000.0}],
        "mitmproxy": [{"cpu_us": 1_000.0, "rate": 1_000.0}],
    },
    refused={"proxy.py": "it answers 502"},
    absent=["squid"],
)


def bar(name: str, median: float, low: float | None = None, high: float | None = None) -> Bar:
    return Bar(name=name, spread=Spread(median=median, low=low or median, high=high or median))


def test_the_table_has_each_contender_each_goal_and_who_was_left_out() -> None:
    assert report.terminal(SCENARIOS["small"], SMALL).splitlines()[2:] == [
        "                         CPU µs/request  requests/s",
        "gateway             20.5 (20.0 to 21.0)      40,500",
        "envoy               30.0 (30.0 to 30.0)      30,000",
        "mitmproxy  1,000.0 (1,000.0 to 1,000.0)       1,000",
        "",
        "  met 0.68: CPU per request, of Envoy's, at most 0.8",
        "  not measured: CPU per request, of Squid's, at most 0.65",
        "  met 0.021: CPU per request, of mitmproxy's, at most 0.04",
        "Left out, not installed: squid",
        "Not measured: proxy.py: it answers 502",
    ]


def test_a_limit_of_hundreds_keeps_its_zeros() -> None:
    (_, goal) = SCENARIOS["storm"].goals
    assert report.bound(goal) == "at most 550"


def test_a_picture_is_well_formed_and_says_in_words_what_it_shows() -> None:
    drawn = ET.fromstring(bars('"<small>"', "CPU µs & more", [bar("gateway", 20, 19, 22), bar("<envoy>", 30)]))
    assert drawn.tag == f"{SVG}svg"
    assert drawn.attrib["aria-label"] == '"<small>", CPU µs & more: gateway 20; <envoy> 30'
    assert [rect.attrib["class"] for rect in drawn.iter(f"{SVG}rect")] == ["own", "bar"]
    assert "prefers-color-scheme: dark" in drawn.findtext(f"{SVG}style", "")


def test_bars_are_as_long_as_their_medians() -> None:
    drawn = ET.fromstring(bars("t", "u", [bar("gateway", 20), bar("envoy", 30)]))
    first, second = (float(rect.attrib["width"]) for rect in drawn.iter(f"{SVG}rect"))
    assert second / first == pytest.approx(1.5, rel=0.01)


def test_a_bar_that_would_flatten_the_others_is_cut_and_the_cut_is_drawn() -> None:
    shown = [bar("gateway", 20), bar("envoy", 30), bar("mitmproxy", 1000)]
    assert longest(shown) == 30 * 1.25
    drawn = bars("t", "u", shown)
    assert drawn.count('class="cut"') == 1
    assert ">1,000<" in drawn
    assert 'class="cut"' not in bars("t", "u", shown[:2])
    assert 'class="cut"' not in bars("t", "u", shown[::2]), "beside one other bar there is nothing to flatten"


def test_the_page_keeps_what_is_written_by_hand() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\n## By hand\n"
    assert replaced(page, "new") == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\n## By hand\n"


@pytest.mark.parametrize("page", ["nothing", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_page_without_its_markers_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="each once"):
        replaced(page, "new")


def test_a_run_is_kept_scenario_by_scenario_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    record.add(file, "small", SMALL, Pace.of(full=True), about=ABOUT)
    record.add(file, "varied", Outcome(samples={}), Pace.of(full=False), about=ABOUT)
    found = record.read(file)
    assert found.outcomes["small"].spread("gateway", "cpu_us") == SMALL.spread("gateway", "cpu_us")
    assert found.outcomes["small"].refused == SMALL.refused
    assert list(found.outcomes) == ["small", "varied"]
    assert (found.machine, found.versions) == (ABOUT["machine"], ABOUT["versions"])


def test_the_document_gets_its_figures_and_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "performance.md").write_text((ROOT / "docs" / "performance.md").read_text())
    record.add(tmp_path / "figures.json", "small", SMALL, Pace.of(full=True), about=ABOUT)
    write_document(found := record.read(tmp_path / "figures.json"), tmp_path)
    page = (tmp_path / "performance.md").read_text()
    assert figures(found) in page
    assert "Measured on 2026-01-01: 2 CPUs, Linux 6." in page
    assert "| gateway | 20.5 (20.0 to 21.0) | 40,500 |" in page
    assert "![small](pictures/performance-small.svg)" in page
    ET.fromstring((tmp_path / "pictures" / "performance-small.svg").read_text())


def test_every_picture_of_the_committed_page_is_there() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    drawn = [name for name in SCENARIOS if file_name(name) in page]
    for name in drawn:
        ET.fromstring((ROOT / "docs" / "pictures" / file_name(name)).read_text())
