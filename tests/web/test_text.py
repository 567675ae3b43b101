"""The pages' words: all of them in one file, each used, none of them elsewhere."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import Markup

import gateway.web
from gateway.web.text import plain, t, words
from gateway.web.times import machine, moment, near, span

WEB = Path(gateway.web.__file__).parent
TEMPLATES = sorted((WEB / "templates").rglob("*.html"))
TAG = re.compile(r"{% block width %}[a-z ]+{% endblock %}|{%.*?%}|{#.*?#}", re.DOTALL)
VALUE = re.compile(r"{{.*?}}", re.DOTALL)
# A key as it is written, whole or as a beginning that something is added to, as in t("status." ~ name).
WRITTEN = re.compile(r"""["']([a-z_-]+\.[a-z_.-]*)""")
READ = frozenset({"alt", "aria-label", "placeholder", "title", "aria-description"})
"""Attributes that people read or hear."""


class Words(HTMLParser):
    """Notes every word that a template itself says."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.said += [value for name, value in attrs if name in READ and value and re.search("[A-Za-z]", value)]

    def handle_data(self, data: str) -> None:
        if re.search("[A-Za-z]", data):
            self.said.append(data.strip())


def said(text: str) -> list[str]:
    reader = Words()
    reader.feed(VALUE.sub("", TAG.sub("", text)))
    reader.close()
    return reader.said


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_no_template_has_a_word_of_its_own(file):
    assert said(file.read_text(encoding="utf-8")) == []


def test_the_search_for_words_finds_them():
    assert said("<p>Hello {{ name }}</p>") == ["Hello"]
    assert said('<a aria-label="Go on" href="/x">{{ t("x.y") }}</a>') == ["Go on"]
    assert said('{% if "a" %}<p class="x">{{ t("a.b") }} · 1</p>{% endif %}{# why #}') == []


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_a_text_with_marks_stands_in_no_attribute(file):
    assert re.findall(r'="[^">]*{{ t\(', file.read_text(encoding="utf-8")) == []
    assert re.findall(r"block title %}{{ t\(", file.read_text(encoding="utf-8")) == []


def test_every_text_is_used():
    sources = [file.read_text(encoding="utf-8") for file in [*TEMPLATES, *WEB.rglob("*.py")]]
    written = {key for source in sources for key in WRITTEN.findall(source)}
    beginnings = tuple(key for key in written if key.endswith("."))
    unused = [key for key in words() if key not in written and not key.startswith(beginnings)]
    assert unused == []


def test_every_text_that_a_template_names_is_there():
    for file in TEMPLATES:
        for key in re.findall(r"""\b(?:t|plain)\(["']([^"']+)["'][,)]""", file.read_text(encoding="utf-8")):
            assert key in words(), f"{file.name} names {key}"


def test_what_is_filled_in_is_data_and_never_markup():
    assert t("connected.heading", label="<b>`x` **y** {name}</b>") == Markup(
        "Connected as &lt;b&gt;`x` **y** {name}&lt;/b&gt;"
    )
    assert plain("connected.heading", label="<b>") == "Connected as <b>"


def test_marks_become_markup_between_tags_and_are_gone_elsewhere():
    assert str(t("connected.created", name="CRM", connection="crm-ann")) == (
        "<strong>CRM</strong> is connected. Programs name it as <code>crm-ann</code>."
    )
    assert plain("connected.created", name="CRM", connection="crm-ann") == (
        "CRM is connected. Programs name it as crm-ann."
    )


def test_a_value_that_is_missing_is_a_fault_and_so_is_an_unknown_text():
    for wrong in (lambda: t("connected.heading"), lambda: t("nothing.here"), lambda: plain("time.day_ago")):
        with pytest.raises(KeyError):
            wrong()


@pytest.mark.parametrize(
    ("away", "said"),
    [
        (0, "just now"),
        (-44, "just now"),
        (-46, "1 minute ago"),
        (-125, "2 minutes ago"),
        (3_600, "in 1 hour"),
        (-7_300, "2 hours ago"),
        (2 * 86_400, "in 2 days"),
        (-90 * 86_400, "2026-10-17"),
    ],
)
def test_a_moment_is_said_by_how_near_it_is(away, said):
    assert near(1_800_000_000.0 + away, 1_800_000_000.0) == said


def test_a_moment_is_said_whole_in_utc():
    assert moment(1_800_000_000.0) == "2027-01-15 08:00 UTC"
    assert moment(None) == "never"
    assert machine(1_800_000_000.0) == "2027-01-15T08:00:00+00:00"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.00004, "< 0.1 ms"), (0.00034, "0.3 ms"), (0.12, "120 ms"), (4.2, "4.2 s"), (120.0, "2 min")],
)
def test_a_length_of_time_has_the_unit_that_fits(seconds, said):
    assert span(seconds) == said
