"""Chromium, where there is one: it reaches loopback alone, and everything it asks for is noted."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.e2e.harness.provider import Person

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
PATIENCE = 15_000
"""Milliseconds to wait for anything."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser: the system's, else the one that playwright brought. Skips the test where there is neither.

    While it runs, its thread has an event loop that is running: no asyncio test may run beside it.
    """
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    with sync_playwright() as playwright:
        if found is None and not os.path.exists(playwright.chromium.executable_path):  # noqa: PTH110 - a plain path
            pytest.skip("there is no Chromium here: apt-get install chromium, or playwright install chromium")
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS), env=environment)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """One browser context: a person's own cookies and windows. `asked` is every URL that went out, in order."""

    def __init__(self, browser: Browser, **options) -> None:
        self.context: BrowserContext = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE)
        self.asked: list[str] = []
        self.posted: list[str] = []
        self.faults: list[str] = []
        self.context.on("request", self._note)
        self.context.on("console", lambda message: message.type == "error" and self.faults.append(message.text))
        self.page = self.context.new_page()

    def _note(self, request) -> None:
        self.asked.append(request.url)
        if request.post_data:
            self.posted.append(request.post_data)

    def begin_anew(self) -> None:
        """Become a window of which nothing was asked yet, without a session anywhere: the program behind it stays."""
        self.context.unroute_all()
        self.page.goto("about:blank")
        self.context.clear_cookies()
        for noted in (self.asked, self.posted, self.faults):
            noted.clear()

    def close(self) -> None:
        self.context.close()


def sign_in(page: Page, person: Person) -> None:
    """Go through the provider's login page, up to its consent page."""
    page.fill("input[name=username]", person.username)
    page.fill("input[name=password]", person.password)
    page.click("button")
    page.wait_for_selector("input[name=allow]")


def fill_in(page: Page, values: Mapping[str, str]) -> None:
    """Fill in a connect form's fields and send it."""
    for name, value in values.items():
        page.fill(f"[name='field.{name}']", value)
    page.click("main form button")
