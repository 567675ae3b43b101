"""The connect pages, as the person at the browser meets them."""

import asyncio

from sqlalchemy import text as sql

from gateway.errors import AuthorizationServerError, ClientError, Refusal
from gateway.secret import Secret
from tests.web.harness import ADMIN, CRM, form_token

KEY = "sk-typed-by-the-person"
GOOD = {"field.region": "eu", "field.account": "ann", "field.api_key": KEY}


async def sign_in(web):
    page = await web.get("/sign-in")
    await web.request("POST", "/sign-in", data={"form_token": form_token(page), "token": ADMIN})


async def send(web, path, values, *, form=None):
    token = form_token(await web.get(form or path))
    return await web.request("POST", path, data={"form_token": token} | values)


async def connected(web, path, values):
    """Connect; return the page that says so, which has the link's own URL."""
    answer = await send(web, path, values)
    assert (answer.status, answer.headers["Location"]) == (303, path), answer.text
    return await web.get(path)


async def test_the_dashboard_needs_a_sign_in(web):
    answer = await web.get("/")
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in")


async def test_connecting_from_a_page_opens_a_link(web):
    await sign_in(web)
    page = await web.get("/")
    answer = await web.request("POST", "/connect", data={"form_token": form_token(page), "app": "crm"})
    assert answer.status == 303
    assert "Connect Example CRM" in (await web.get(answer.headers["Location"])).text
    missing = await web.request("POST", "/connect", data={"form_token": form_token(page), "app": "nothing"})
    assert missing.status == 404


async def test_a_page_whose_store_is_away_says_so_in_words_and_what_to_look_at(web):
    await sign_in(web)
    async with web.gateway.store.database.write() as transaction:
        await transaction.execute(sql("ALTER TABLE connections RENAME TO elsewhere"))
    answer = await web.get("/connections?done=connection_disconnected")
    assert answer.status == 503
    assert "The store failed" in answer.text
    assert "see that the database of store.url is up" in answer.text
    assert "It is disconnected." not in answer.text, "what was done before has no place on a page that failed"


async def test_a_form_that_came_too_late_leads_to_the_sign_in(web):
    answer = await web.request("POST", "/clients/_new", data={"name": "late"})
    assert answer.status == 403
    assert 'href="/sign-in?next=/clients">Sign in</a>' in answer.text
    visitor = await web.request("POST", await web.link(), data={})
    assert (visitor.status, "/sign-in" in visitor.text) == (403, False)


async def test_a_visitor_makes_no_links(web):
    token = form_token(await web.get("/sign-in"))
    answer = await web.request("POST", "/connect", data={"form_token": token, "app": "crm"})
    assert answer.status == 401
    assert "link.created" not in [event.kind for event in (await web.gateway.store.events.list()).items]


async def test_the_form_asks_for_the_policys_fields(web):
    text = (await web.get(await web.link())).text
    assert "<h1>Connect Example CRM</h1>" in text
    assert '<label for="field-1">Region</label>' in text
    assert "Shown under your account&#39;s name." in text
    assert '<option value="us" selected>us</option>' in text
    assert 'name="field.api_key" type="password" value=""' in text


async def test_values_that_the_link_brings_are_shown_and_no_secret_even_reaches_the_browser(web):
    path = await web.link(fields={"region": "eu"}, secrets={"api_key": KEY})
    text = (await web.get(path)).text
    assert '<p class="label">Region</p>\n    <p>eu</p>' in text
    assert "Filled in already, and not shown" in text
    assert "field.region" not in text
    assert "field.api_key" not in text
    assert KEY not in text


async def test_values_that_the_link_brings_cant_be_changed(web):
    path = await web.link(fields={"region": "eu"}, secrets={"api_key": KEY})
    await send(web, path, {"field.account": "ann", "field.region": "us", "field.api_key": "another"})
    ((*_, fields, secrets, _actor),) = web.gateway.vault.calls
    assert (fields, secrets) == ({"region": "eu", "account": "ann"}, {"api_key": Secret(KEY)})


async def test_connecting_reads_connected_as_and_uses_the_link_up(web):
    path = await web.link(id="crm-mine")
    answer = await connected(web, path, GOOD)
    assert "<h1>Connected as Account ann</h1>" in answer.text
    assert "<code>crm-mine</code>" in answer.text
    assert web.gateway.vault.calls == [
        ("connect", "crm", "crm-mine", {"region": "eu", "account": "ann"}, {"api_key": Secret(KEY)}, "connect-link")
    ]
    assert (await send(web, path, GOOD, form="/sign-in")).headers["Location"] == path
    assert len(web.gateway.vault.calls) == 1


async def test_a_used_link_tells_another_browser_nothing_but_that(web):
    path = await web.link(id="crm-mine")
    await connected(web, path, GOOD)
    web.forget_cookies()
    again = await web.get(path)
    assert again.status == 410
    assert "This link was used already" in again.text
    assert "Ask whoever sent it for a new one." in again.text
    assert "Account ann" not in again.text


async def test_the_same_account_again_says_so(web):
    await connected(web, await web.link(), GOOD)
    text = (await connected(web, await web.link(), GOOD)).text
    assert "was connected already. Its connection <code>crm-ann</code> is updated." in text


async def test_an_app_without_fields_is_connected_with_one_button(web):
    path = await web.link("machine")
    assert "There is nothing to fill in." in (await web.get(path)).text
    assert "Connected as Account ann" in (await connected(web, path, {})).text


async def test_the_page_says_who_asks_and_where_calls_may_go(web):
    text = (await web.get(await web.link())).text
    assert "Asked for by <strong>a program of this gateway&#39;s administrator</strong>." in text
    assert "<code>example.com</code>, and nothing else" in text


async def test_of_many_hosts_the_first_are_named_and_all_are_a_click_away(web):
    hosts = [f"host{number}.example.org" for number in range(12)]
    listed = ", ".join(f'"{host}"' for host in ["example.com", *hosts])
    web.gateway.catalog.write("crm", CRM.replace('urls = ["example.com"]', f"urls = [{listed}]"))
    answer = await web.get(await web.link())
    assert "<code>host8.example.org</code> and 3 more, and nothing else." in answer.text
    assert [answer.text.count(f"<code>{host}</code>") for host in (hosts[8], hosts[9], hosts[11])] == [2, 1, 1]


async def test_reconnecting_shows_the_connection_and_what_was_filled_in_before(web):
    await connected(web, await web.link(id="crm-mine"), GOOD)
    text = (await web.get(await web.link(id="crm-mine"))).text
    assert "<h1>Reconnect Example CRM</h1>" in text
    assert "The connection <code>crm-mine</code>, Account ann, keeps its name" in text
    assert '<option value="eu" selected>eu</option>' in text


async def test_a_link_to_another_apps_connection_is_not_made(web):
    await connected(web, await web.link(id="crm-mine"), GOOD)
    answer = await web.api("POST", "/connect-links", json={"app": "machine", "id": "crm-mine"})
    assert (answer.status, answer.json["code"]) == (409, "conflict")


async def test_what_was_typed_is_kept_but_no_secret_and_nothing_is_sent(web):
    path = await web.link()
    answer = await send(web, path, GOOD | {"field.region": "moon", "field.account": 'A"<b>'})
    assert answer.status == 422
    assert "Region must be one of us, eu." in answer.text
    assert "Account must match [a-z]+." in answer.text
    assert 'value="A&#34;&lt;b&gt;"' in answer.text
    assert "Secrets have to be typed again." in answer.text
    assert KEY not in answer.text
    assert web.gateway.vault.calls == []
    await connected(web, path, GOOD)


async def test_errors_are_beside_their_field_for_a_screen_reader_too(web):
    text = (await send(web, await web.link(), GOOD | {"field.account": ""})).text
    assert 'aria-describedby="field-2-error" aria-invalid="true"' in text
    assert '<p class="error" id="field-2-error">Account is required.</p>' in text
    assert 'role="alert"' in text


async def test_a_field_that_the_app_does_not_have_is_refused(web):
    answer = await send(web, await web.link(), GOOD | {"field.colour": "red"})
    assert answer.status == 422
    assert "<code>colour</code> is no field of this app" in answer.text


async def test_the_providers_own_words_are_shown_and_the_link_stays_good(web):
    path = await web.link()
    refusal = Refusal(code="refresh_failed", detail="The provider said: <i>no</i>.", hint="Check the key.")
    web.gateway.vault.refuses = AuthorizationServerError(refusal)
    answer = await send(web, path, GOOD)
    assert answer.status == 502
    assert "Example CRM was not connected." in answer.text
    assert "The provider said: &lt;i&gt;no&lt;/i&gt;." in answer.text
    assert "Check the key." in answer.text
    assert KEY not in answer.text
    web.gateway.vault.refuses = None
    await connected(web, path, GOOD)


async def test_a_fault_of_one_field_from_the_vault_stands_beside_it(web):
    faults = ({"path": "secrets.api_key", "message": "is not a key of this service"},)
    web.gateway.vault.refuses = ClientError(Refusal(code="invalid", detail="A value is wrong.", errors=faults))
    assert "API key is not a key of this service." in (await send(web, await web.link(), GOOD)).text


async def test_an_unknown_an_expired_and_an_orphaned_link_say_so(web):
    path = await web.link(expires_in="5m")
    orphan = await web.link("machine")
    assert "isn&#39;t one of ours" in (await web.get("/connect/gwl_nothing")).text
    web.gateway.catalog.delete("machine")
    assert "isn&#39;t set up any more" in (await web.get(orphan)).text
    web.gateway.now += 300
    answer = await web.get(path)
    assert (answer.status, "This link has expired." in answer.text) == (410, True)


async def test_a_link_needs_the_form_of_its_own_page(web):
    path = await web.link()
    answer = await web.request("POST", path, data=GOOD)
    assert answer.status == 403
    assert web.gateway.vault.calls == []


async def test_five_clicks_at_once_connect_once_and_all_end_at_the_same_page(web):
    path = await web.link()
    token = form_token(await web.get(path))
    values = {"form_token": token} | GOOD
    answers = await asyncio.gather(*(web.request("POST", path, data=values) for _ in range(5)))
    assert {(answer.status, answer.headers["Location"]) for answer in answers} == {(303, path)}
    assert len(web.gateway.vault.calls) == 1
    assert "Connected as Account ann" in (await web.get(path)).text


async def test_markup_in_a_policy_is_text(web):
    evil = CRM.replace("Example CRM", "<script>alert(1)</script>").replace('"Region"', '"<img src=x>"')
    assert web.gateway.catalog.write("evil", evil) == ()
    text = (await web.get(await web.link("evil"))).text
    assert "<script" not in text
    assert "<img" not in text
