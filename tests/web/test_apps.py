"""The apps: how each stands, connecting, a link to send, deleting."""

import re
import tomllib

import pytest

from gateway.web.setup.shipped import PLACES, files_in, shipped, shipped_text
from tests.web.filling import forms_of, sign_in
from tests.web.harness import NOW, Web


@pytest.fixture
async def admin(web: Web) -> Web:
    await sign_in(web)
    return web


async def events(web: Web) -> list[tuple[str, str, str | None]]:
    page = await web.gateway.store.events.list(limit=20)
    return [(one.kind, one.actor, one.app) for one in page.items if one.kind != "admin.signed_in"]


def card(text: str, app: str) -> str:
    """Return an app's part of the page."""
    return text.partition(f'id="app-{app}"')[2].partition('<li class="card')[0]


async def post(web: Web, path: str, **values: str):
    token = forms_of((await web.get("/apps")).text)[0].values["form_token"]
    return await web.request("POST", path, data={"form_token": token} | values)


async def test_every_app_is_there_with_its_grant_its_connections_and_its_redirect_url(admin):
    await admin.api("POST", "/connections", json={"app": "crm", "id": "crm-ann", "fields": {}, "secrets": {}})
    text = (await admin.get("/apps")).text
    assert re.findall(r"<h2>(.+?)</h2>", text) == ["Example CRM", "Login Service", "Machine"]
    assert 'API key · <a href="/connections?app=crm">1 connection</a></p>' in card(text, "crm")
    assert "Redirect URL" not in card(text, "crm")
    assert f"{admin.server.url}/oauth/callback/login</code>" in card(text, "login")
    assert "OAuth 2.0, client credentials · nobody is connected yet" in card(text, "machine")


async def test_a_secret_that_is_missing_is_said_with_what_to_do(admin):
    text = (await admin.get("/apps")).text
    assert "A secret is missing: client_secret." in card(text, "machine")
    assert "Type it in under “App credentials”." in card(text, "machine")
    await admin.api("PUT", "/apps/machine/secrets/client_secret", json={"value": "s3cret-of-machine"})
    text = (await admin.get("/apps")).text
    assert "A secret is missing" not in card(text, "machine")
    assert "s3cret-of-machine" not in text


async def test_a_broken_file_is_shown_with_what_is_wrong_and_whether_an_earlier_version_holds(admin):
    catalog = admin.gateway.catalog
    crm = catalog.path("crm")
    crm.write_text(crm.read_text().replace('urls = ["example.com"]', 'urls = ["com"]'))
    (catalog.directory / "half.toml").write_text('name = "<b>Half')
    (catalog.directory / "No App.toml").write_text("")
    catalog.load()
    text = (await admin.get("/apps")).text
    assert "an earlier version is in force" in card(text, "crm")
    assert "<code>allow.urls[0]</code> &#39;com&#39; is a public suffix" in card(text, "crm")
    assert "not in force" in card(text, "half")
    assert "<code>line 1</code> is not TOML" in card(text, "half")
    assert "<b>Half" not in text
    assert "This can&#39;t be an app: name the file with lower-case letters" in text
    assert "/apps/No App" not in text


async def test_without_an_app_the_page_says_how_to_begin(admin):
    for app in ("crm", "machine", "login"):
        admin.gateway.catalog.delete(app)
    text = (await admin.get("/apps")).text
    assert "No app is set up yet" in text
    assert f"the gateway knows {len(shipped())} of them" in text
    assert 'href="/apps/new"' in text


async def test_connect_makes_a_link_and_opens_it(admin):
    answer = await post(admin, "/connect", app="crm")
    assert answer.status == 303
    assert (await admin.get(answer.headers["Location"])).status == 200
    assert await events(admin) == [("link.created", "admin-page", "crm")]
    assert (await post(admin, "/connect", app="nothing")).status == 404


async def test_a_link_to_send_is_shown_once_and_opens_for_whoever_has_it(admin):
    answer = await post(admin, "/apps/crm/link")
    (link,) = re.findall(rf"<code>{admin.server.url}(/connect/gwl_[\w-]+)</code>", answer.text)
    assert "It is good until in 30 minutes, and shown only now." in answer.text
    assert link not in (await admin.get("/apps")).text
    admin.forget_cookies()
    assert "Example CRM" in (await admin.get(link)).text


async def test_an_app_is_deleted_by_whoever_types_its_id(admin):
    await admin.api("PUT", "/apps/machine/secrets/client_secret", json={"value": "x"})
    assert "Type machine to confirm" in (await admin.get("/apps/machine/delete")).text
    for wrong in ("", "crm", "Machine"):
        answer = await post(admin, "/apps/machine/delete", id=wrong)
        assert (answer.status, "This is not the app&#39;s id." in answer.text) == (422, True)
    assert admin.gateway.catalog.get("machine") is not None
    answer = await post(admin, "/apps/machine/delete", id="machine")
    assert (answer.status, answer.headers["Location"]) == (303, "/apps?done=app-deleted")
    assert "The app is deleted." in (await admin.get(answer.headers["Location"])).text
    assert admin.gateway.catalog.get("machine") is None
    assert await admin.gateway.store.secrets.names("machine") == ()
    assert (await events(admin))[0] == ("app.deleted", "admin-page", "machine")


async def test_an_app_with_living_connections_is_not_deleted(admin):
    await admin.api("POST", "/connections", json={"app": "crm", "id": "crm-ann", "fields": {}, "secrets": {}})
    page = await admin.get("/apps/crm/delete")
    assert "while it has a connection: that would be left without rules." in page.text
    assert 'name="id"' not in page.text
    answer = await post(admin, "/apps/crm/delete", id="crm")
    assert (answer.status, "The app &#39;crm&#39; still has connections." in answer.text) == (409, True)
    assert admin.gateway.catalog.get("crm") is not None
    await admin.gateway.store.connections.update("crm-ann", status="disconnected", updated_at=NOW)
    assert (await post(admin, "/apps/crm/delete", id="crm")).status == 303


async def test_what_is_no_app_is_a_page_that_says_so(admin):
    for path in (
        "/apps/nothing",
        "/apps/nothing/delete",
        "/apps/nothing/text",
        "/apps/No%20App",
        "/apps/No%20App/delete",
    ):
        answer = await admin.get(path)
        assert (answer.status, "There is no app of this name." in answer.text) == (404, True), path


def test_the_policies_that_come_with_the_gateway_are_in_the_first_place_that_is_there(tmp_path):
    assert shipped()["github"] == "GitHub"
    assert shipped_text("github").startswith("# GitHub")
    with pytest.raises(KeyError):
        shipped_text("../github")
    (tmp_path / "one.toml").touch()
    assert files_in([tmp_path / "nothing", tmp_path]) == [tmp_path / "one.toml"]
    assert files_in([tmp_path / "nothing"]) == []


def test_the_wheel_has_the_policies_where_they_are_looked_for():
    wheel = tomllib.loads((PLACES[1].parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"][
        "wheel"
    ]
    assert wheel["force-include"] == {PLACES[1].name: f"gateway/{PLACES[0].name}"}
    assert PLACES[0].parent.name == "gateway"
