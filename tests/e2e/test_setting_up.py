"""Setting up an app in real Chromium, against a real provider: without scripts, and the one script that there is."""

import pytest

from tests.e2e.harness.chromium import Watched, chromium, fill_in, sign_in


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def admin(browser, house):
    """Open a browser context without scripts, signed in; it holds what the pages ask for beside."""
    watched = Watched(browser, java_script_enabled=False)
    enter(watched, house)
    yield watched
    watched.close()


def enter(watched: Watched, house) -> None:
    watched.page.goto(f"http://127.0.0.1:{house.gateway.web_port}/sign-in")
    watched.page.fill("#token", house.gateway.admin_token)
    watched.page.click("main button")


def test_an_app_is_set_up_from_scratch_connected_tried_and_named_by_its_answer(house, admin):
    """No step needs a script, and each button brings the page back where it was pressed."""
    page, site = admin.page, f"http://127.0.0.1:{house.gateway.web_port}"
    application = house.provider.create_application(
        "Fresh CRM", grant="authorization-code", redirect_uris=f"{site}/oauth/callback/fresh-crm"
    )
    page.goto(f"{site}/apps/new")
    page.fill("#scratch-name", "Fresh CRM")
    page.fill("#scratch-base_url", house.upstream.http)
    page.click("form[aria-labelledby=way-scratch] button")
    assert page.inner_text("h1") == "Set up Fresh CRM"
    assert f"{site}/oauth/callback/fresh-crm" in page.inner_text("#step-redirect")
    page.fill("#auth-client_id-secret", application.client_id)
    page.fill("#auth-client_secret-secret", application.client_secret)
    page.click("#step-fields button[value='example:environment']")
    assert page.url == f"{site}/apps/fresh-crm#step-fields"
    page.fill("#auth-authorize-url", house.provider.login_url)
    page.fill("#auth-authorize-scopes", "read\nwrite")
    page.fill("#auth-token-url", house.provider.token_url)
    page.click("#step-allow > .actions button")
    page.wait_for_selector("#allow-urls-1:focus")  # the new row is where one types on
    page.fill("#allow-urls-1", house.provider.me_url)
    page.fill("#test-url", house.provider.me_url)
    page.click(".saving button[value=check]")
    assert page.locator(".error").all_inner_texts() == []
    page.click("#step-connect button")

    fill_in(page, {})
    sign_in(page, house.person("Fresh Ann"))
    page.click("input[name=allow]")
    page.wait_for_selector("h1:has-text('Connected as')")

    page.goto(f"{site}/apps/fresh-crm")
    page.click("button[value=try]")
    assert page.url == f"{site}/apps/fresh-crm#tried"
    assert "It works" in page.inner_text("#tried")
    page.click("#tried button.pick:has-text('Fresh Ann')")
    assert page.input_value("#connection-label") == "{{ test.profile.real_name }}"
    page.check("#pick-unique_id")
    page.click("#tried button.pick[value='pick:test.id']")
    assert page.input_value("#connection-unique_id") == "{{ test.id }}"
    page.select_option("#preview-connection", index=0)
    page.click("button[value=preview]")
    assert "Authorization: Bearer ***" in page.inner_text("#previewed")
    page.click(".saving button[value=save]")
    assert page.inner_text(".done") == "Saved. It holds from now on."
    text = (house.gateway.directory / "policies" / "fresh-crm.toml").read_text()
    assert 'label = "{{ test.profile.real_name }}"' in text
    assert application.client_secret not in text
    assert not [one for one in admin.posted[-3:] if application.client_secret in one], "it was sent once, and is sealed"
    assert {url.split("/")[2].partition(":")[0] for url in admin.asked} <= {"127.0.0.1", "localhost"}
    assert [one for one in admin.faults if "Failed to load resource" not in one] == [], "the provider has no icon"


def test_the_tester_says_while_one_types_whether_a_url_would_be_allowed(house, browser):
    app = house.app("authorization_code")
    watched = Watched(browser)
    try:
        enter(watched, house)
        page = watched.page
        page.goto(f"http://127.0.0.1:{house.gateway.web_port}/apps/{app.name}")
        page.fill("#auth-client_secret-secret", "typed-and-not-sent")
        page.type("#check-url", f"{house.upstream.http}/v1/users")
        page.wait_for_selector("#checked.good")
        assert page.inner_text("#checked").startswith("Allowed:")
        page.fill("#check-url", f"{house.upstream.http}/v2/users")
        page.wait_for_selector("#checked.bad")
        assert "is not in the allowed URLs." in page.inner_text("#checked")
        page.fill("#allow-urls-0", house.upstream.http)
        page.wait_for_selector("#checked.good")
        page.fill("#allow-urls-0", "https://*.example.org/v1")
        page.wait_for_selector("#allow-urls-0-words:has-text('the subdomains of example.org, at /v1 and below it')")
        page.press("#check-url", "Enter")
        page.wait_for_url("**#checked")
        assert "is not in the allowed URLs." in page.inner_text("#checked"), "Enter presses the button beside it"
        assert page.evaluate("document.activeElement.id") == "checked"
        page.press("#connection-label", "Enter")
        page.wait_for_url("**#step-label")
        page.fill("#auth-client_secret-secret", "typed-and-not-sent")
        watched.posted.clear()
        page.fill("#check-url", "")
        page.wait_for_selector("#checked:not(.good):not(.bad)", state="attached")
        assert not [one for one in watched.posted if "typed-and-not-sent" in one]
        assert watched.faults == []
        page.fill("#auth-token-url", "http://crm.example.com/token")
        page.press("#auth-token-url", "Tab")
        assert page.evaluate("document.getElementById('auth-token-url').matches(':user-invalid')"), "said as one types"
    finally:
        watched.close()
