"""Templates, and where their values are looked up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.context import Context
from gateway.policy.template import MissingValue, Template, TemplateInvalid
from gateway.secret import Secret

CONTEXT = Context(
    fields={"region": "EU", "api_key": Secret("k:1"), "same": "field", "empty": ""},
    token={
        "access_token": "tok",
        "items": "the key",
        "same": "token",
        "n": 7,
        "f": 1.5,
        "yes": True,
        "team": {"id": "T1"},
        "none": None,
    },
    test={"profile": {"real_name": "John"}, "list": [{"id": 1}], "x-y": "z"},
    connection_id="crm-ann",
    app={"client_id": "the-client"},
    assertion=Secret("a.b.c"),
    request={"time": "1500000000"},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v2", "v2"),
        ("", ""),
        ("Bearer {{ access_token }}", "Bearer tok"),
        ("{{access_token}}", "tok"),
        ("{{ fields.region }}/{{ region | lower }}", "EU/eu"),
        ("{{ token.items }}", "the key"),
        ("{{ items }}", "the key"),
        ("{{ same }}", "token"),
        ("{{ fields.same }}", "field"),
        ("{{ n }} {{ f }} {{ yes }}", "7 1.5 true"),
        ("{{ team.id }}", "T1"),
        ("{{ test.profile.real_name }}", "John"),
        ("{{ authData.testcode.profile.real_name }}", "John"),
        ("{{ authData.access_token }}", "tok"),
        ("{{ authData.region }}", "EU"),
        ("{{ test.list[0].id }}{{ test.list.0.id }}", "11"),
        ("{{ test['x-y'] }}", "z"),
        ("{{ connection.id }}", "crm-ann"),
        ("{{ app.client_id }} {{ request.time }} {{ assertion }}", "the-client 1500000000 a.b.c"),
        ("{{ api_key | b64encode }}", "azox"),
        ("{{ api_key | urlencode }}", "k%3A1"),
        ("Basic {{ (region ~ ':' ~ api_key) | b64encode }}", "Basic RVU6azox"),
        ("{{ empty | default('us') }}{{ nothing | default('x') | lower }}", "usx"),
        ("}} {a} \n", "}} {a} \n"),
    ],
)
def test_a_template_renders(text: str, expected: str) -> None:
    assert Template.parse(text).render(CONTEXT) == expected


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{{ nothing }}", "nothing"),
        ("{{ token.none }}", "token.none"),
        ("{{ empty }}", "empty"),
        ("{{ team }}", "team"),
        ("{{ token.keys }}", "token.keys"),
        ("{{ region.upper }}", "region.upper"),
        ("{{ test.list[5].id }}", "test.list.5.id"),
        ("{{ fields.access_token }}", "fields.access_token"),
        ("{{ connection.label }}", "connection.label"),
        ("{{ __class__ }}", "__class__"),
        ("{{ test.__class__.__mro__ }}", "test.__class__.__mro__"),
    ],
)
def test_a_missing_value_is_an_error_that_names_the_path(text: str, path: str) -> None:
    with pytest.raises(MissingValue) as raised:
        Template.parse(text).render(CONTEXT)
    assert raised.value.path == path


@pytest.mark.parametrize(
    "text",
    [
        "{{",
        "{{ }}",
        "{{ a",
        "{{ a | }}",
        "{% if a %}{% endif %}",
        "{% include 'x' %}",
        "{{ a() }}",
        "{{ a.b() }}",
        "{{ 1 }}",
        "{{ 'x' }}",
        "{{ a + b }}",
        "{{ a if b }}",
        "{{ a[b] }}",
        "{{ a[0:1] }}",
        "{{ a | upper }}",
        "{{ a | b64encode(1) }}",
        "{{ a | default }}",
        "{{ a | default(b) }}",
        "{{ a | lower | default('x') }}",
        "{{ a ~ b | lower }}",
        "{{ a ~ 1 }}",
        "{{ [a] }}",
        "{{ true }}",
        "{{ a[true] }}",
        "{{ not a }}",
        "{{ a is defined }}",
    ],
)
def test_nothing_else_of_jinja_is_known(text: str) -> None:
    with pytest.raises(TemplateInvalid):
        Template.parse(text)


@given(st.text())
def test_what_a_person_types_is_data(value: str) -> None:
    """A value with braces in it comes out as it went in."""
    assert Template.parse("a{{ v }}b").render(Context(fields={"v": value + "{{ x }}"})) == f"a{value}{{{{ x }}}}b"


def test_secrets_are_noted_when_they_are_used() -> None:
    context = Context(fields={"a": Secret("s1"), "b": Secret("s2")}, token={"access_token": "s3", "id": "public"})
    Template.parse("{{ a }} {{ token.access_token }} {{ id }}").render(context)
    assert context.used == [Secret("s1"), Secret("s3")]
    own = Context(app={"client_id": "public", "client_secret": Secret("s4")}, assertion=Secret("s5"))
    Template.parse("{{ app.client_id }} {{ app.client_secret }} {{ assertion }}").render(own)
    assert own.used == [Secret("s4"), Secret("s5")]


def test_a_context_shows_no_secret() -> None:
    context = Context(fields={"a": Secret("hunter2")}, app={"s": Secret("hunter2")}, assertion=Secret("hunter2"))
    Template.parse("{{ a }}").render(context)
    assert "hunter2" not in repr(context)
