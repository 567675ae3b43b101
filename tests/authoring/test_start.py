"""A policy that starts from nothing lacks only what none but its author can know."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.authoring.form import apply, values_of
from gateway.authoring.start import GRANTS, scratch
from gateway.policy.load import load
from gateway.policy.model import Grant

LOGIN, TOKEN = "auth.authorize.url", "auth.token.url"
LACKS = {
    Grant.AUTHORIZATION_CODE: [LOGIN, TOKEN],
    Grant.IMPLICIT: [LOGIN],
    Grant.DEVICE_CODE: ["auth.device.url", TOKEN],
    Grant.PASSWORD: [TOKEN],
    Grant.CLIENT_CREDENTIALS: [TOKEN],
    Grant.API_KEY: [],
    Grant.BASIC: [],
    Grant.NONE: [],
}


@pytest.mark.parametrize("grant", GRANTS)
def test_it_lacks_what_only_its_author_knows(grant: Grant) -> None:
    text = scratch("crm", "Example CRM", grant, "https://api.example.com/v1/")
    assert [finding.path for finding in load(text, app="crm", file="x").findings] == LACKS[grant]
    filled = apply(text, values_of(text) | dict.fromkeys(LACKS[grant], "https://service.com/x"))
    policy = load(filled, app="crm", file="x").policy
    assert policy is not None
    assert (policy.name, policy.auth.grant) == ("Example CRM", grant)
    assert policy.allow.urls == ("https://api.example.com/v1",)


@pytest.mark.parametrize("grant", GRANTS)
def test_every_part_says_what_it_is_for(grant: Grant) -> None:
    text = scratch("crm", "Example CRM", grant, "https://api.example.com/v1")
    for part in text.split("\n\n"):
        assert part.startswith("# ")
    assert all(len(line) <= 120 for line in text.splitlines())


def test_without_a_base_url_the_allowed_urls_are_to_be_filled_in() -> None:
    text = scratch("crm", "Example CRM", Grant.NONE, "")
    assert [finding.path for finding in load(text, app="crm", file="x").findings] == ["allow.urls"]


HOSTILE = st.text(max_size=20) | st.sampled_from(
    ['"', '"""', "a\nevil = 1", "{{ x }}", "{0}", "{name}", "\\", "\ud800", "# x", "{% x", "{{"]
)


@given(HOSTILE, HOSTILE, st.sampled_from(GRANTS), HOSTILE)
def test_whatever_its_name_is_the_text_says_only_that(app: str, name: str, grant: Grant, base_url: str) -> None:
    data = tomllib.loads(scratch(app, name, grant, base_url))
    assert data.keys() <= {"name", "base_url", "allow", "fields", "auth", "connection", "inject"}
    findings = load(scratch("crm", name, grant, "https://a.test"), app="crm", file="x").findings
    assert {finding.path for finding in findings} <= {*LACKS[grant], "name"}
