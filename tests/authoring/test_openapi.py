"""A policy can start from what an API says about itself; what it says is data and no more."""

import json
import time
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.authoring.openapi import DocumentInvalid, Draft, from_openapi
from gateway.policy.load import load
from gateway.policy.model import Grant

CRM = """
openapi: 3.1.0
info: {title: Example CRM}
servers:
- url: https://{region}.api.example.com/v1/
  variables:
    region: {default: us, enum: [us, eu], description: Where your data are}
- url: https://sandbox.example.com/v1
security:
- oauth: [read]
paths:
  /contacts: {get: {}}
  /users/me: {get: {parameters: [{$ref: '#/components/parameters/fields'}]}}
  /me: {get: {parameters: [{name: x, in: query, required: true}]}}
  /ping: {get: {security: []}}
components:
  parameters:
    fields: {name: fields, in: query, required: false}
  securitySchemes:
    header: {type: apiKey, in: header, name: X-Key}
    bare: {type: apiKey, in: header, name: Authorization}
    query: {type: apiKey, in: query, name: key}
    cookie: {type: apiKey, in: cookie, name: sid}
    host: {type: apiKey, in: header, name: Host}
    basic: {type: http, scheme: Basic}
    bearer: {type: http, scheme: bearer}
    digest: {type: http, scheme: digest}
    mtls: {type: mutualTLS}
    oidc: {type: openIdConnect, openIdConnectUrl: https://id.example.com/.well-known/openid-configuration}
    again: {$ref: '#/components/securitySchemes/header'}
    oauth:
      type: oauth2
      flows:
        implicit: {authorizationUrl: /oauth/authorize, scopes: {}}
        clientCredentials: {tokenUrl: 'https://id.example.com/token', scopes: {read: Read, write: ''}}
        authorizationCode:
          authorizationUrl: https://id.example.com/authorize
          tokenUrl: https://id.example.com/token
          refreshUrl: https://id.example.com/refresh
          scopes: {read: "Read\\n all", write: Change all}
"""
PETS = {
    "swagger": "2.0",
    "info": {"title": "Pets & co."},
    "host": "pets.example.com",
    "basePath": "/v2/",
    "schemes": ["http", "https"],
    "paths": {"/user/{id}": {"get": {}}, "/user": {"post": {}}, "/account": {"get": {"security": [{"key": []}]}}},
    "securityDefinitions": {
        "code": {
            "type": "oauth2",
            "flow": "accessCode",
            "authorizationUrl": "https://pets.example.com/login",
            "tokenUrl": "https://pets.example.com/token",
            "scopes": {"pets:read": "See pets", "two words": "No scope"},
        },
        "app": {"type": "oauth2", "flow": "application", "tokenUrl": "https://pets.example.com/token"},
        "key": {"type": "apiKey", "in": "query", "name": "api_key"},
        "basic": {"type": "basic"},
    },
}


def findings(draft: Draft) -> list[str]:
    return [finding.path for finding in load(draft.text, app="crm", file="x").findings]


def test_servers_schemes_scopes_and_a_test_call_are_taken_over() -> None:
    draft = from_openapi(CRM)
    data = tomllib.loads(draft.text)
    assert (draft.name, draft.app) == ("Example CRM", "example-crm")
    assert findings(draft) == []
    assert data["base_url"] == "https://{{ region }}.api.example.com/v1"
    assert data["allow"]["urls"] == [data["base_url"], "https://sandbox.example.com/v1"]
    assert data["fields"] == [
        {"name": "region", "help": "Where your data are", "choices": ["us", "eu"], "default": "us"}
    ]
    assert data["auth"]["grant"] == "authorization_code"
    assert data["auth"]["authorize"] == {
        "url": "https://id.example.com/authorize",
        "scopes": ["read"],
        "scope_words": {"read": "Read all"},
    }
    assert data["auth"]["token"] == {"url": "https://id.example.com/token"}
    assert data["auth"]["refresh"] == {"url": "https://id.example.com/refresh"}
    assert data["test"] == {"url": "/users/me"}
    assert data["inject"]["headers"] == {"Authorization": "Bearer {{ access_token }}"}
    assert "# Where the person logs in and approves." in draft.text
    assert draft.notes == (
        "The document names 2 servers. The base URL is the first; take out the allowed URLs that you don't need.",
        "1 of the document's 2 scopes aren't asked for. Add those you need.",
    )


@pytest.mark.parametrize(
    ("scheme", "grant", "inject", "note"),
    [
        ("header", "api_key", {"headers": {"X-Key": "{{ api_key }}"}}, None),
        ("again", "api_key", {"headers": {"X-Key": "{{ api_key }}"}}, None),
        (
            "bare",
            "api_key",
            {"headers": {"Authorization": "{{ api_key }}"}},
            "Many APIs want a word before it, such as Bearer.",
        ),
        ("query", "api_key", {"query": {"key": "{{ api_key }}"}}, None),
        ("bearer", "api_key", {"headers": {"Authorization": "Bearer {{ api_key }}"}}, None),
        ("basic", "basic", None, None),
        (
            "oauth (clientCredentials)",
            "client_credentials",
            {"headers": {"Authorization": "Bearer {{ access_token }}"}},
            None,
        ),
    ],
)
def test_another_scheme_can_be_chosen(scheme: str, grant: str, inject: dict[str, Any] | None, note: str | None) -> None:
    draft = from_openapi(CRM, scheme)
    data = tomllib.loads(draft.text)
    assert findings(draft) == []
    assert (data["auth"]["grant"], data.get("inject")) == (grant, inject)
    assert [one.name for one in draft.schemes if one.chosen] == [scheme]
    assert note is None or note in " ".join(draft.notes)


def test_every_scheme_is_listed_the_likeliest_first_and_those_that_are_of_no_use_last() -> None:
    assert [(one.name, one.grant) for one in from_openapi(CRM).schemes] == [
        ("oauth (authorizationCode)", Grant.AUTHORIZATION_CODE),
        ("oauth (clientCredentials)", Grant.CLIENT_CREDENTIALS),
        ("oauth (implicit)", Grant.IMPLICIT),
        ("oidc", Grant.AUTHORIZATION_CODE),
        ("header", Grant.API_KEY),
        ("bare", Grant.API_KEY),
        ("query", Grant.API_KEY),
        ("bearer", Grant.API_KEY),
        ("again", Grant.API_KEY),
        ("basic", Grant.BASIC),
        ("cookie", None),
        ("host", None),
        ("digest", None),
        ("mtls", None),
    ]


@pytest.mark.parametrize("scheme", ["gone", "mtls", "cookie"])
def test_a_scheme_that_is_none_of_ours_can_not_be_chosen(scheme: str) -> None:
    with pytest.raises(DocumentInvalid, match=rf"no security scheme '{scheme}' .*there are: .oauth \(auth"):
        from_openapi(CRM, scheme)


def test_a_relative_endpoint_is_at_the_server() -> None:
    data = tomllib.loads(from_openapi(CRM, "oauth (implicit)").text)
    assert data["auth"]["authorize"]["url"] == "https://{{ region }}.api.example.com/oauth/authorize"


def test_open_id_connect_says_where_its_endpoints_are_found() -> None:
    draft = from_openapi(CRM, "oidc")
    assert findings(draft) == ["auth.authorize.url", "auth.token.url"]
    assert "Open https://id.example.com/.well-known/openid-configuration: authorization_endpoint is" in draft.notes[-1]


def test_swagger_is_read_too() -> None:
    draft = from_openapi(json.dumps(PETS))
    data = tomllib.loads(draft.text)
    assert findings(draft) == []
    assert (draft.name, draft.app) == ("Pets & co.", "pets-co")
    assert data["base_url"] == "https://pets.example.com/v2"
    assert data["auth"]["authorize"]["scopes"] == ["pets:read"]
    assert [(one.name, one.grant) for one in draft.schemes] == [
        ("code", Grant.AUTHORIZATION_CODE),
        ("app", Grant.CLIENT_CREDENTIALS),
        ("key", Grant.API_KEY),
        ("basic", Grant.BASIC),
    ]
    assert "test" not in data  # /account is for another scheme
    assert tomllib.loads(from_openapi(json.dumps(PETS), "key").text)["test"] == {"url": "/account"}


@pytest.mark.parametrize(
    ("server", "urls", "note"),
    [
        ({"url": "http://api.example.com"}, [], "was left out: credentials go to https alone"),
        ({"url": "/v1"}, [], "names no host"),
        ({"url": "https://com"}, ["https://com"], None),
        ({"url": "//api.example.com/v1"}, ["https://api.example.com/v1"], None),
        ({"url": "https://u:p@a.example.com"}, [], "was left out: as an allowed URL it"),
        (
            {"url": "https://{host}/v1", "variables": {"host": {"default": "a.example.com"}}},
            ["https://a.example.com/v1"],
            "written out as its default, 'a.example.com'",
        ),
        (
            {"url": "https://{site}.com", "variables": {"site": {"default": "example"}}},
            ["https://example.com"],
            "written out as its default, 'example'",
        ),
        (
            {
                "url": "https://x-{zone}.example.com/{v}",
                "variables": {"zone": {"default": "eu"}, "v": {"default": "v2"}},
            },
            ["https://x-eu.example.com/v2"],
            "written out as its default, 'v2'",
        ),
        (
            {"url": "https://{shop}.example.com", "variables": {"shop": {"default": "acme"}}},
            ["https://{{ shop }}.example.com"],
            None,
        ),
        (
            {"url": "https://{test}.example.com", "variables": {"test": {"enum": ["a"], "default": "a"}}},
            ["https://{{ server_test }}.example.com"],
            None,
        ),
        (
            {"url": "https://a.test/{x}", "variables": {"x": {"default": "{{ api_key }}"}}},
            [],
            "was left out: its variable 'x' has no default",
        ),
        ({"url": "https://{gone}.example.com"}, ["https://{{ gone }}.example.com"], None),
        ({"url": "https://x.{gone}/"}, [], "was left out: its variable 'gone' has no default"),
        (
            {"url": "https://x.{end}/", "variables": {"end": {"enum": ["a.test", "b.test"], "default": "a.test"}}},
            ["https://x.{{ end }}"],
            None,
        ),
        ({"url": "https://{host}/v1"}, ["https://{{ host }}/v1"], None),
    ],
)
def test_a_server_is_an_allowed_url_if_credentials_may_go_there(
    server: dict[str, Any], urls: list[str], note: str | None
) -> None:
    draft = from_openapi(json.dumps({"openapi": "3.0.3", "servers": [server]}))
    data = tomllib.loads(draft.text)
    assert data["allow"]["urls"] == urls
    assert data.get("base_url") == (urls[0] if urls else None)
    assert note is None or note in " ".join(draft.notes)
    assert findings(draft) == ([] if urls else ["allow.urls"])
    assert all("default" not in field or "choices" in field for field in data.get("fields", ()))


def test_servers_that_share_a_variable_share_its_field() -> None:
    servers = [
        {"url": f"https://{{username}}.{site}.test", "variables": {"username": {"enum": enum, "default": enum[0]}}}
        for site, enum in (("a", ["x", "y"]), ("b", ["y", "z"]))
    ]
    document = {"openapi": "3.0.3", "servers": servers}
    document |= {"components": {"securitySchemes": {"b": {"type": "http", "scheme": "basic"}}}}
    draft = from_openapi(json.dumps(document))
    assert findings(draft) == []
    assert tomllib.loads(draft.text)["fields"][0] == {
        "name": "server_username",
        "choices": ["x", "y", "z"],
        "default": "x",
    }


def test_a_document_that_says_nothing_gives_a_draft_that_says_what_is_missing() -> None:
    draft = from_openapi("openapi: 3.0.0")
    assert draft.name == "API"
    assert findings(draft) == ["allow.urls"]
    assert [note[:40] for note in draft.notes] == [
        "The document names no https server. Writ",
        "The document has no security scheme that",
        "No call such as /me was found. Choose on",
    ]


def test_so_many_scopes_that_nobody_reads_them_are_not_asked_for() -> None:
    flow = {
        "tokenUrl": "https://a.test/t",
        "authorizationUrl": "https://a.test/a",
        "scopes": {f"s{n}": "" for n in range(50)},
    }
    document = {
        "openapi": "3.0.0",
        "components": {"securitySchemes": {"o": {"type": "oauth2", "flows": {"authorizationCode": flow}}}},
    }
    draft = from_openapi(json.dumps(document))
    assert tomllib.loads(draft.text)["auth"]["authorize"]["scopes"] == []
    assert "50 of the document's 50 scopes aren't asked for. Add those you need." in draft.notes


def test_a_template_of_a_stranger_s_is_left_out() -> None:
    """It could name a secret in a URL."""
    flow = {"tokenUrl": "https://a.test/{{ client_secret }}", "scopes": {"{{client_secret}}": "", "read": "{{ x }}"}}
    document = {
        "openapi": "3.0.0",
        "info": {"title": "{{ x }}"},
        "components": {"securitySchemes": {"o": {"type": "oauth2", "flows": {"clientCredentials": flow}}}},
    }
    draft = from_openapi(json.dumps(document))
    data = tomllib.loads(draft.text)
    assert data["auth"]["token"] == {"url": "", "params": {"scope": "read"}}
    assert data["connection"]["label"] == "{{ connection.id }}"
    assert "The URL 'https://a.test/{{ client_secret }}' was left out: it has a value in it" in " ".join(draft.notes)


@pytest.mark.parametrize(
    ("paths", "url"),
    [
        ({"/me": {"get": {}}}, "/me"),
        ({"/v1/users/me/": {"get": {}}, "/user": {"get": {}}}, "/v1/users/me/"),
        ({"/me": {"get": {"security": []}}}, None),
        ({"/me": {"get": {"parameters": [{"required": True}]}}}, None),
        ({"/me": {"get": {}, "parameters": [{"$ref": "#/paths/p"}]}, "p": {"required": True}}, None),
        ({"/me": {"get": {}, "servers": [{"url": "https://b.test"}]}}, None),
        ({"/me": {"post": {}}, "/user/{id}": {"get": {}}, "/contacts": {"get": {}}}, None),
        ({"/x\\y/me": {"get": {}}, "/{{ x }}/me": {"get": {}}}, None),
    ],
)
def test_the_test_call_is_one_that_needs_the_credentials_and_nothing_else(
    paths: dict[str, Any], url: str | None
) -> None:
    document = {"openapi": "3.0.0", "servers": [{"url": "https://a.test"}], "paths": paths}
    draft = from_openapi(json.dumps(document))
    assert tomllib.loads(draft.text).get("test") == (None if url is None else {"url": url})
    assert any("No call such as /me" in note for note in draft.notes) is (url is None)


def test_two_schemes_that_go_together_are_told() -> None:
    document = {
        "openapi": "3.0.0",
        "security": [{"a": [], "b": []}],
        "components": {"securitySchemes": {name: {"type": "apiKey", "in": "query", "name": name} for name in "ab"}},
    }
    assert "Calls need b beside a. Add it under request parameters." in from_openapi(json.dumps(document)).notes


EVIL = [
    "\ud800",
    '"\nevil = 1',
    "{{ x }}",
    "{a}",
    "https://{a}.b.test/{c}",
    "\\",
    "# x",
    "{{",
    "{%",
    "#/components/securitySchemes/a",
]
WORDS = st.text(max_size=6) | st.sampled_from(
    [
        *EVIL,
        "https://a.test",
        "oauth2",
        "apiKey",
        "header",
        "query",
        "http",
        "bearer",
        "basic",
        "X",
        "Authorization",
        "me",
    ]
)
KEYS = st.sampled_from(
    ["type", "in", "name", "scheme", "flows", "flow", "authorizationCode", "implicit", "scopes", "tokenUrl", "$ref"]
) | st.sampled_from(
    [
        "authorizationUrl",
        "url",
        "variables",
        "a",
        "c",
        "enum",
        "default",
        "get",
        "parameters",
        "security",
        "/me",
        "title",
    ]
)
JSON = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | WORDS, inner, max_size=5),
    max_leaves=12,
)
FLOW = st.fixed_dictionaries(
    {}, optional={"authorizationUrl": WORDS, "tokenUrl": WORDS} | {"scopes": st.dictionaries(WORDS, JSON)}
)
FLOWS = st.sampled_from(["authorizationCode", "implicit", "password", "clientCredentials", "other"])
SCHEME = st.one_of(
    st.dictionaries(KEYS, JSON, max_size=5),
    st.fixed_dictionaries({"type": st.just("oauth2"), "flows": st.dictionaries(FLOWS, FLOW, max_size=2)}),
    st.fixed_dictionaries({"type": st.just("apiKey"), "in": st.sampled_from(["header", "query"]), "name": WORDS}),
    st.fixed_dictionaries({"type": st.just("http"), "scheme": st.sampled_from(["basic", "bearer", "other"])}),
)
SERVER = st.fixed_dictionaries(
    {"url": WORDS | st.sampled_from(["https://{a}.b.test/{c}", "https://a.test", "/v1"])},
    optional={"variables": st.dictionaries(st.sampled_from("ac"), JSON)},
)
PATHS = st.dictionaries(WORDS | st.sampled_from(["/me", "/v1/user"]), JSON | st.just({"get": {}}), max_size=3)
NAMED = st.dictionaries(st.sampled_from("abc") | WORDS, SCHEME, max_size=3)
DOCUMENTS = st.fixed_dictionaries(
    {"openapi": st.just("3.0.0"), "components": st.fixed_dictionaries({"securitySchemes": NAMED})},
    optional={
        "info": JSON | st.fixed_dictionaries({"title": WORDS}),
        "servers": JSON | st.lists(SERVER, max_size=3),
        "security": JSON | st.lists(st.dictionaries(st.sampled_from("abc"), st.lists(WORDS)), max_size=2),
        "paths": JSON | PATHS,
    },
)


@given(DOCUMENTS)
def test_whatever_a_document_says_its_draft_is_a_policy_s_text_and_has_no_more_in_it(document: dict[str, Any]) -> None:
    draft = from_openapi(json.dumps(document))
    data = tomllib.loads(draft.text)
    assert data.keys() <= {"name", "base_url", "allow", "fields", "auth", "test", "connection", "inject"}
    comments = [line for line in draft.text.splitlines() if line.startswith("#")]
    assert not [line for line in comments if "evil = 1" in line]
    assert f"{draft.text}{draft.name}{draft.notes}{[one.name + one.what for one in draft.schemes]}".encode()
    for one in draft.schemes:
        assert one.name.encode() == one.name.encode("utf-8", "replace")
        if one.grant is not None:
            chosen = from_openapi(json.dumps(document), one.name)
            assert tomllib.loads(chosen.text)["auth"]["grant"] == one.grant


def many(text: str, number: int) -> str:
    return ", ".join(text.format(number=one) for one in range(number))


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(
            f"x: &all [{many('{{a: b}}', 4_000)}]\ny: &item {{get: {{parameters: *all}}}}\n"
            f"paths: {{{many('/{number}/me: *item', 4_000)}}}",
            id="every call with every parameter",
        ),
        pytest.param(
            f"x: &way '#/{'/' * 300_000}'\ny: &item {{$ref: *way}}\npaths: {{{many('/{number}/me: *item', 2_000)}}}",
            id="every call is far away",
        ),
        pytest.param(
            "components: {securitySchemes: {o: {type: oauth2, flows: {implicit: {scopes: {"
            + many("s{number}: w", 30_000)
            + "}}}}}}\nsecurity: [{o: ["
            + many("s{number}", 30_000)
            + "]}]",
            id="every scope is asked for",
        ),
        pytest.param(
            f"x: &flow {{{many('k{number}: v', 100)}}}\ny: &flows {{{many('f{number}: *flow', 500)}}}\n"
            f"components: {{securitySchemes: {{{many('o{number}: {{type: oauth2, flows: *flows}}', 50)}}}}}",
            id="every scheme with every flow",
        ),
        pytest.param(
            f"servers: [{{url: 'https://{'.'.join(f'{{a{one}}}' for one in range(30_000))}.example.com'}}]",
            id="a host of variables",
        ),
        pytest.param(
            f"x: &value {{default: '{'a' * 300_000}'}}\nservers: [{{url: 'https://a.example.com/"
            f"{'/'.join(f'{{a{one}}}' for one in range(200))}', variables: {{{many('a{number}: *value', 200)}}}}}]",
            id="a long value in every place",
        ),
    ],
)
def test_what_an_alias_stands_for_is_not_looked_at_again_in_each_of_its_places(parts: str) -> None:
    before = time.process_time()
    draft = from_openapi(f"openapi: 3.0.0\n{parts}\n")
    assert time.process_time() - before < 2.0
    assert len(draft.text) < 100_000
    assert len(draft.schemes) <= 500


RELATIVE = {
    "a path": (
        "https://api.example.com/docs/openapi.json",
        {"servers": [{"url": "/v1"}]},
        "https://api.example.com/v1",
    ),
    "a step up": (
        "https://api.example.com/docs/openapi.json",
        {"servers": [{"url": "../v2"}]},
        "https://api.example.com/v2",
    ),
    "a whole one": (
        "https://docs.example.com/a",
        {"servers": [{"url": "https://api.example.com"}]},
        "https://api.example.com",
    ),
    "no server": ("https://api.example.com/docs/openapi.json", {}, "https://api.example.com"),
    "Swagger without a host": (
        "https://api.example.com/v2.json",
        {"swagger": "2.0", "basePath": "/v2"},
        "https://api.example.com/v2",
    ),
}


@pytest.mark.parametrize(("place", "document", "base"), RELATIVE.values(), ids=RELATIVE)
def test_a_servers_url_starts_where_the_document_was_fetched(place: str, document: dict[str, Any], base: str) -> None:
    written = json.dumps({"openapi": "3.1.0", **document} if "swagger" not in document else document)
    assert tomllib.loads(from_openapi(written, place=place).text)["base_url"] == base


def test_a_document_that_was_fetched_in_the_clear_names_no_server() -> None:
    draft = from_openapi('{"openapi": "3.1.0", "servers": [{"url": "/v1"}]}', place="http://127.0.0.1:9/openapi.json")
    assert tomllib.loads(draft.text)["allow"]["urls"] == []
