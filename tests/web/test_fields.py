"""What a policy says of its fields, as the connect page, the API and the set-up page show it."""

import difflib
import re

import pytest

from tests.web.filling import press, sign_in
from tests.web.harness import CRM, Answer, Web, form_token
from tests.web.test_routes import page_faults

POLICY = """
name = "Service Desk"
[allow]
urls = ["https://{{ host }}/api", "https://{{ site }}.desk.example/"]
[[fields]]
name = "tries"
kind = "text"
group = "Advanced"
required = false
[[fields]]
name = "host"
kind = "host"
domains = ["service-now.com", "desk.example"]
example = "acme.service-now.com"
docs = "https://docs.desk.example/host"
help = "As in your browser's address."
[[fields]]
name = "site"
pattern = "[a-z]+"
prefix = "https://"
suffix = ".desk.example"
[[fields]]
name = "owner"
kind = "email"
group = "Advanced"
[[fields]]
name = "home"
kind = "url"
group = "More"
required = false
[[fields]]
name = "tenant"
kind = "uuid"
required = false
[[fields]]
name = "api_key"
label = "API key"
secret = true
example = "sk_…"
[[fields]]
name = "version"
hidden = true
default = "v2"
[[fields]]
name = "instance"
kind = "host"
domains = ["desk.example"]
from = "{{ test.instance }}"
[auth]
grant = "api_key"
[test]
url = "https://{{ host }}/api/me"
[inject.headers]
Authorization = "Bearer {{ api_key }}"
X-Version = "{{ version }}"
"""
TYPED = {
    "field.host": "acme.service-now.com",
    "field.site": "acme",
    "field.owner": "ann@desk.example",
    "field.api_key": "sk_1",
}


@pytest.fixture
async def desk(web: Web) -> Web:
    assert web.gateway.catalog.write("desk", POLICY) == ()
    return web


async def send(web: Web, path: str, values: dict[str, str]) -> Answer:
    token = form_token(await web.get(path))
    return await web.request("POST", path, data={"form_token": token} | values)


def inputs(answer: Answer) -> dict[str, dict[str, str]]:
    """Return the attributes of each input of a field, by the field's name."""
    found = re.findall(r"<input (id=\"field-[^>]*)>", answer.text)
    attributes = [dict(re.findall(r'([a-z-]+)="([^"]*)"', one)) for one in found]
    return {one.pop("name").removeprefix("field."): one for one in attributes}


async def test_each_kind_has_its_input_its_keyboard_its_example_and_what_stands_around_it(desk):
    page = await desk.get(await desk.link("desk"))
    found = inputs(page)
    wanted = ("type", "inputmode", "autocomplete", "placeholder")
    assert {name: tuple(one.get(key) for key in wanted) for name, one in found.items()} == {
        "host": ("text", "url", "off", "acme.service-now.com"),
        "site": ("text", None, "off", None),
        "tenant": ("text", None, "off", None),
        "api_key": ("password", None, "off", "sk_…"),
        "tries": ("text", None, "off", None),
        "owner": ("email", "email", "email", None),
        "home": ("url", "url", "url", None),
    }
    site = found["site"]["id"]
    assert found["site"]["aria-describedby"] == f"{site}-prefix {site}-suffix"
    assert f'id="{site}-prefix">https://</span>' in page.text
    assert f'id="{site}-suffix">.desk.example</span>' in page.text
    link = '<a href="https://docs.desk.example/host" target="_blank" rel="noopener noreferrer" aria-label='
    assert f'{link}"Where to find it: Host, in a new tab">Where to find it</a>' in page.text
    assert page_faults(page.text) == []


async def test_fields_without_a_heading_come_first_and_the_others_stand_together(desk):
    page = await desk.get(await desk.link("desk"))
    assert list(inputs(page)) == ["host", "site", "tenant", "api_key", "tries", "owner", "home"]
    assert re.findall(r"<legend>(.+?)</legend>", page.text) == ["Advanced", "More"]


async def test_a_host_that_is_chosen_is_said_by_the_domains_that_it_is_below(desk):
    text = (await desk.get(await desk.link("desk"))).text
    assert "<code>….service-now.com, ….desk.example</code>, <code>….desk.example</code>, and nothing else" in text
    desk.gateway.catalog.write("desk", POLICY.replace('domains = ["service-now.com", "desk.example"]\n', ""))
    assert "<code>Host</code>, <code>….desk.example</code>" in (await desk.get(await desk.link("desk"))).text


async def test_what_is_not_asked_for_is_on_no_page_and_whoever_has_the_link_cant_say_it(desk):
    path = await desk.link("desk", fields={"version": "v1"})
    page = await desk.get(path)
    assert [one for one in ("Version", "Instance", "field.version", "v1") if one in page.text] == []
    path = await desk.link("desk")
    answer = await send(desk, path, TYPED | {"field.version": "v9", "field.instance": "evil.desk.example"})
    assert answer.status == 303, answer.text
    ((_, _, _, fields, _, _),) = desk.gateway.vault.calls
    assert fields == {
        "host": "acme.service-now.com",
        "site": "acme",
        "owner": "ann@desk.example",
        "version": "v2",
    }


async def test_what_is_wrong_with_a_kind_stands_beside_it_and_the_rest_is_kept(desk):
    wrong = TYPED | {"field.host": "acme.evil.test", "field.owner": "ann", "field.home": "http://x.test"}
    page = await send(desk, await desk.link("desk"), wrong)
    assert page.status == 422
    for words in (
        "Host must be on service-now.com or desk.example.",
        "Owner must be an e-mail address.",
        "Home must begin with https://, for credentials go there.",
    ):
        assert words in page.text
    assert inputs(page)["site"]["value"] == "acme"


async def test_what_the_link_brings_is_shown_with_what_stands_around_it(desk):
    page = await desk.get(await desk.link("desk", fields={"site": "acme"}))
    assert "<p>https://acme.desk.example</p>" in page.text
    assert "site" not in inputs(page)


async def test_the_api_says_all_of_a_field(desk):
    fields = {one["name"]: one for one in (await desk.api("GET", "/apps/desk")).json["fields"]}
    assert fields["host"] == {
        "name": "host",
        "label": "Host",
        "help": "As in your browser's address.",
        "kind": "host",
        "choices": None,
        "pattern": None,
        "domains": ["service-now.com", "desk.example"],
        "default": None,
        "required": True,
        "secret": False,
        "once": False,
        "asked": True,
        "example": "acme.service-now.com",
        "docs": "https://docs.desk.example/host",
        "prefix": None,
        "suffix": None,
        "group": None,
    }
    assert [name for name, one in fields.items() if not one["asked"]] == ["version", "instance"]
    assert (fields["site"]["prefix"], fields["site"]["suffix"], fields["owner"]["group"]) == (
        "https://",
        ".desk.example",
        "Advanced",
    )


async def test_the_set_up_page_has_every_key_of_a_field_and_leaves_the_file_as_it_is(desk):
    await sign_in(desk)
    page = await desk.get("/apps/desk")
    assert 'name="fields.1.domains"' in page.text
    assert "service-now.com\ndesk.example</textarea>" in page.text
    assert (await press(desk, page, "download")).text == POLICY
    assert 'name="try.field.host"' in page.text
    assert [one for one in ("try.field.version", "try.field.instance") if one in page.text] == []

    changed = {
        "fields.0.kind": "uuid",
        "fields.1.domains": "desk.example",
        "fields.2.suffix": "",
        "fields.2.example": "acme",
        "fields.7.hidden": "",
        "fields.8.from": '{"js": "return 1"}',
    }
    after = (await press(desk, page, "download", **changed)).text
    lines = difflib.unified_diff(POLICY.splitlines(), after.splitlines(), n=0, lineterm="")
    assert [line for line in lines if not line.startswith(("---", "+++", "@@"))] == [
        '-kind = "text"',
        '+kind = "uuid"',
        '-domains = ["service-now.com", "desk.example"]',
        '+domains = ["desk.example"]',
        '-suffix = ".desk.example"',
        '+example = "acme"',
        "-hidden = true",
        '-from = "{{ test.instance }}"',
        '+from = { js = "return 1" }',
    ]


@pytest.mark.parametrize("grant", ["jwt_bearer", "jwt", "custom"])
async def test_a_grant_that_the_form_has_no_words_for_keeps_what_it_says_in_the_file(web, grant):
    """Its page has the steps that it shares with the others, and says where the rest is."""
    text = CRM.replace('grant = "api_key"', f'grant = "{grant}"\n[auth.assertion]\nkey = {{ secret = "key" }}')
    web.gateway.catalog.path("crm").write_text(text)
    web.gateway.catalog.load()
    await sign_in(web)
    page = await web.get("/apps/crm")
    assert page.status == 200
    assert f'<option value="{grant}" selected>' in page.text
    assert "edit it as text" in page.text
    assert (await press(web, page, "download")).text == text
    new = await web.get("/apps/new")
    assert f'value="{grant}"' not in new.text
    begun = {"form_token": form_token(new), "from": "scratch", "name": "New", "grant": grant}
    assert (await web.request("POST", "/apps/new", data=begun)).status == 422
