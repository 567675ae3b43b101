"""Making a client in real Chromium, and running what the page says: copied by a click, the token in no address."""

import json
import os
import subprocess

import pytest
from playwright.sync_api import Error

from tests.e2e.harness.chromium import Watched, chromium
from tests.e2e.harness.wire import assert_one_credential


def test_what_the_page_of_a_new_client_says_is_copied_by_a_click_and_works(
    gateway, make_tagged, upstream, provider, tmp_path
):
    tagged, other = make_tagged(), make_tagged()
    with chromium() as browser:
        watched = Watched(browser, viewport={"width": 390, "height": 800})
        page = watched.page
        page.goto(f"http://127.0.0.1:{gateway.web_port}/clients/_new")
        page.fill("#token", gateway.admin_token)
        page.keyboard.press("Enter")
        page.wait_for_selector("h1:has-text('Make a client')")
        page.fill("#name", "from-the-page")
        page.fill("#patterns", f"{tagged.connection}\n{other.connection}")
        page.click("button[value=look]")
        assert "1 connection:" in page.inner_text(".preview")
        assert page.input_value("#name") == "from-the-page"
        page.click("button[value=make]")
        page.wait_for_selector("h1:has-text('may call now')")
        token = page.inner_text(".token .copy")

        page.select_option("#connection", other.connection)
        page.click(".runner .filters button")
        page.wait_for_selector(f"option[selected]:has-text('{other.connection}')", state="attached")
        assert page.inner_text(".token .copy") == token

        # By the keyboard: one recipe opens, and the one before it closes.
        page.focus("summary:has-text('curl')")
        page.keyboard.press("Enter")
        assert page.locator("details[open]").count() == 1
        page.click("details[open] .copy", position={"x": 20, "y": 20})
        copied = page.evaluate("window.getSelection().toString()")
        assert copied.strip() == page.locator("details[open] .copy").inner_text().strip()
        assert not [url for url in watched.asked if token in url]
        assert page.evaluate("performance.getEntriesByType('navigation')[0].name").endswith("/recipes")
        page.goto(f"http://127.0.0.1:{gateway.web_port}/clients/from-the-page")
        assert token not in page.content()
        with pytest.raises(
            Error, match="ERR_CACHE_MISS"
        ):  # what a form was answered isn't kept: it asks to send it again
            page.go_back()
        watched.close()

    upstream.clear()
    plain = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        ["sh", "-eu", "-c", copied], cwd=tmp_path, env=plain, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["target"] == "/v1"
    assert_one_credential(upstream.only(), provider, other.application)
    assert token not in gateway.log()
