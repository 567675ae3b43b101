"""What holds for every page in a real browser: a screen reader's rules, a narrow window, and nobody else is asked."""

from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.e2e.harness.chromium import Watched, chromium
from tests.e2e.harness.gallery import Gallery, furnished

WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 320, "height": 640}
"""CSS pixels: a small phone, and what a window is at 400 % on a desktop (WCAG 2.2, 1.4.10)."""
NAMES = [name for name in vars(Gallery) if not name.startswith("_") and name not in {"all", "url"}]
AXE = Axe().axe_script
BY_LOOK = ("color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block", "meta-viewport")
"""The rules of axe-core that go by how a page looks; the others see the same in another window."""
ALIKE = frozenset({"setup_shipped", "setup_done", "connected_again", "signing_in_refused", "client_new_errors"})
"""Pages of the same parts as another one here: of these only the look is looked at."""
ELSEWHERE = frozenset({"provider_refused", "connected", "connected_again"})
"""Pages on the way to which a person goes through the provider's own."""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    with furnished(tmp_path_factory.mktemp("gallery")) as house:
        yield Gallery(house)


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def window(browser):
    """One for all pages: a new one for each costs more than to look at the page."""
    opened = Watched(browser, reduced_motion="reduce")
    yield opened
    opened.close()


@pytest.fixture
def watched(window) -> Watched:
    window.begin_anew()
    window.page.emulate_media(color_scheme="light")
    window.page.set_viewport_size(WIDE)
    return window


def violations(page: Page, *rules: str) -> list[str]:
    """Return what axe-core finds, by these rules or all: each rule, and the elements that break it."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return [f"{rule['id']}: {', '.join(node['html'][:120] for node in rule['nodes'])}" for rule in found]


@pytest.mark.parametrize("name", NAMES)
def test_every_page_is_for_everybody_fits_a_phone_and_asks_nobody_else(gallery, watched, name):
    gallery.all[name](watched)
    page = watched.page
    if name not in ALIKE:
        assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert violations(page, *BY_LOOK) == [], "dark and narrow"
    # Nothing that the policy of the page forbids was tried. The browser also notes pages with a status of 4xx.
    assert [fault for fault in watched.faults if "Failed to load resource" not in fault] == []
    hosts = {urlsplit(url).hostname for url in watched.asked}
    assert hosts <= {"127.0.0.1", "localhost"}
    if name not in ELSEWHERE:
        assert hosts == {"127.0.0.1"}


def test_what_axe_looks_for_it_finds(watched):
    watched.page.set_content('<html><body><img src="x"><input><p style="color:#ddd">pale words</p></body></html>')
    found = " ".join(violations(watched.page))
    for rule in ("image-alt", "label", "color-contrast", "html-has-lang", "document-title"):
        assert rule in found
