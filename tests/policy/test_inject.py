"""Injection: what is rendered, what is refused, and which secrets went in."""

from typing import Any

import pytest

from gateway.policy.context import Context
from gateway.policy.inject import InjectionInvalid, forbidden_header, render
from gateway.policy.model import Policy
from gateway.policy.template import MissingValue
from gateway.secret import Secret


def policy(grant: str = "api_key", *, fields: tuple[dict[str, Any], ...] = (), **inject: Any) -> Policy:
    rest = {"name": "X", "allow": {"urls": ["ok.test"]}, "auth": {"grant": grant}, "fields": fields}
    return Policy.model_validate({**rest, "inject": inject})


def test_headers_query_and_body_are_rendered() -> None:
    injection = render(
        policy(
            headers={"Authorization": "Bearer {{ access_token }}", "X_Api-Version": "2"},
            query={"api key": "{{ api_key }}"},
            body={"version": "v2", "deep": {"k": ["{{ api_key }}", 1]}},
        ),
        Context(fields={"api_key": Secret("k&1")}, token={"access_token": "tok"}),
    )
    assert injection.headers == ((b"Authorization", b"Bearer tok"), (b"X_Api-Version", b"2"))
    assert injection.header_names == {b"authorization", b"x-api-version"}
    assert injection.query == ((b"api%20key", b"k%261"),)
    assert injection.query_names == {b"api key"}
    assert injection.body == {"version": "v2", "deep": {"k": ["k&1", 1]}}
    assert set(injection.secrets) == {Secret("tok"), Secret("Bearer tok"), Secret("k&1")}


def test_a_representation_shows_names_alone() -> None:
    injection = render(
        policy(headers={"A": "{{ k }}"}, body={"b": "{{ k }}"}), Context(fields={"k": Secret("hunter2")})
    )
    assert repr(injection) == "Injection(headers=[b'a'], query=[], body=['b'])"


def test_the_basic_grant_sends_rfc_7617_by_itself() -> None:
    injection = render(policy("basic"), Context(fields={"username": "Aladdin", "password": Secret("open sesame")}))
    assert injection.headers == ((b"Authorization", b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),)
    assert Secret("QWxhZGRpbjpvcGVuIHNlc2FtZQ==") in injection.secrets


def test_the_basic_grant_leaves_a_written_header_alone() -> None:
    injection = render(
        policy("basic", headers={"authorization": "X {{ username }}"}), Context(fields={"username": "a"})
    )
    assert injection.headers == ((b"authorization", b"X a"),)


@pytest.mark.parametrize("value", ["a\r\nHost: evil", "a\nb", "a\0", "a\x7f"])
def test_a_value_with_control_characters_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(InjectionInvalid, match=r"inject\.headers\.A has control") as raised:
        render(policy(headers={"A": "{{ k }}"}), Context(fields={"k": Secret(value)}))
    assert value not in str(raised.value)


def test_nothing_is_ever_injected_empty() -> None:
    for inject in ({"headers": {"A": "{{ k }}"}}, {"query": {"A": "{{ k }}"}}, {"body": {"A": ["{{ k }}"]}}):
        for fields in ({}, {"k": ""}, {"k": Secret("")}):
            with pytest.raises(MissingValue, match=r"k is missing or empty; inject\.\w+\.A needs it"):
                render(policy(**inject), Context(fields=fields))
    with pytest.raises(InjectionInvalid, match="is empty"):
        render(policy(headers={"A": "{{ k }}"}), Context(fields={"k": "  "}))


OPTIONAL = ({"name": "tenant", "required": False}, {"name": "k"})


@pytest.mark.parametrize(
    ("value", "empty"),
    [
        ("{{ tenant }}", {}),
        ("{{ tenant }}", {"tenant": ""}),
        ("a {{ fields.tenant }}", {}),
        ("{{ authData.tenant | b64encode }}", {"tenant": ""}),
        ({"js": "return context.fields.tenant"}, {}),
        ({"js": "return `x-${context.authData.tenant}`"}, {}),
    ],
)
def test_a_value_that_needs_a_field_which_may_stay_empty_is_left_out_and_its_name_is_still_the_policy_s(
    value: Any, empty: dict[str, str]
) -> None:
    one = policy(fields=OPTIONAL, headers={"A": value, "B": "2"}, defaults={"C": value}, query={"d": value})
    injection = render(one, Context(fields=empty))
    assert (injection.headers, injection.defaults, injection.query) == (((b"B", b"2"),), (), ())
    assert injection.header_names == {b"a", b"b"}
    assert injection.query_keys == {"d"}
    filled = render(one, Context(fields={"tenant": "t"}))
    assert (len(filled.headers), len(filled.defaults), len(filled.query)) == (2, 1, 1)


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("bot_token", True),
        ("sessionToken", True),
        ("secretAccessKey", True),
        ("token_type", False),
        ("public_key", False),
    ],
)
def test_a_token_is_a_secret_by_the_provider_s_own_name_too(name: str, *, is_secret: bool) -> None:
    for path in (f"token.data.{name}", f"data.{name}"):
        one = policy("custom", headers={"A": f"{{{{ {path} }}}}"})
        injection = render(one, Context(token={"data": {name: "bt-1234"}}))
        assert (Secret("bt-1234") in injection.secrets) is is_secret


KEYED = [*OPTIONAL, {"name": "key", "secret": True, "required": False}]


@pytest.mark.parametrize(
    ("value", "filled_in"),
    [
        ("Bearer {{ key }}", {}),
        ("{{ tenant }}:{{ key }}", {"key": Secret("k-1234")}),
        ("{{ key }}:{{ tenant }}", {"key": Secret("k-1234")}),
        ("{{ access_token }} {{ tenant }}", {}),
        ("{{ key }} {{ tenant }} {{ request.time }}", {"key": Secret("k-1234")}),
        ({"js": "return `${context.fields.key}:${context.fields.tenant}`"}, {"key": Secret("k-1234")}),
    ],
)
def test_a_request_never_goes_without_its_only_credential(value: Any, filled_in: dict[str, Any]) -> None:
    context = Context(fields=filled_in, token={"access_token": "at-1234"})
    one = policy(fields=KEYED, headers={"Authorization": value, "B": "2"})
    with pytest.raises(MissingValue, match="nothing else would show who asks"):
        render(one, context)
    render(policy(fields=KEYED, headers={"A": value, "B": "{{ access_token }}"}), context)
    render(policy("none", fields=KEYED, headers={"A": value}), context)


def test_of_a_body_a_whole_member_is_left_out() -> None:
    one = policy(fields=OPTIONAL, body={"a": {"b": ["{{ tenant }}"]}, "c": 1})
    injection = render(one, Context())
    assert (injection.body, injection.body_keys, injection.form_keys) == ({"c": 1}, {"a", "c"}, {"a", "c"})


def test_a_value_that_needs_another_field_is_missing_all_the_same() -> None:
    with pytest.raises(MissingValue, match=r"k is missing or empty; inject\.headers\.A needs it"):
        render(policy(fields=OPTIONAL, headers={"A": "{{ k }}{{ tenant }}"}), Context())


def test_the_client_s_id_may_stand_in_a_request() -> None:
    injection = render(policy(headers={"Client-Id": "{{ app.client_id }}"}), Context(app={"client_id": "c-1"}))
    assert (injection.headers, injection.secrets) == (((b"Client-Id", b"c-1"),), ())


def test_a_default_may_say_what_the_content_is_and_nothing_else_of_the_body() -> None:
    injection = render(policy(defaults={"content-type": "text/x", "X-V": "1"}), Context())
    assert injection.default_type == b"text/x"
    assert injection.default_lines == ((b"content-type", b"content-type: text/x\r\n"), (b"x-v", b"X-V: 1\r\n"))
    for name in ("Content_Type", "Content-Length", "Host", "Proxy-X", "TE", "Content-Encoding"):
        with pytest.raises(InjectionInvalid, match=rf"inject\.defaults\.{name}"):
            render(policy(defaults={name: "x"}), Context())


def test_a_script_s_failure_names_its_key_path() -> None:
    with pytest.raises(InjectionInvalid, match=r"inject\.body\.A: the script failed with TypeError"):
        render(policy(body={"A": {"js": "return null.x"}}), Context())
    with pytest.raises(InjectionInvalid, match=r"inject\.headers\.A: the script returned a list or a table"):
        render(policy(headers={"A": {"js": "return []"}}), Context())


def test_what_a_script_makes_of_a_secret_is_a_secret() -> None:
    injection = render(
        policy(headers={"A": {"js": "return btoa(context.fields.k)"}}), Context(fields={"k": Secret("hunter2")})
    )
    assert injection.headers == ((b"A", b"aHVudGVyMg=="),)
    assert set(injection.secrets) == {Secret("hunter2"), Secret("aHVudGVyMg==")}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A B",
        "A:",
        "Ä",
        "A\r",
        "Host",
        "host",
        "Content-Length",
        "content_length",
        "Transfer-Encoding",
        "Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy_Connection",
        "proxy-x",
        "Expect",
        "Content-Type",
        "X-Connection-Id",
        "Via",
    ],
)
def test_names_that_frame_route_or_hop_can_not_be_injected(name: str) -> None:
    assert forbidden_header(name)
    with pytest.raises(InjectionInvalid):
        render(policy(headers={name: "x"}), Context())


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "Cookie", "Accept", "Notion-Version", "User-Agent"])
def test_ordinary_names_can(name: str) -> None:
    assert forbidden_header(name) is None
