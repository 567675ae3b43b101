"""Lists that somebody made to do harm: bounded, said, and never more than values of a policy."""

import json
import tomllib
from typing import Any

import pytest
import yaml

from gateway.importing.data import LARGEST, FileInvalid, read
from gateway.importing.grant import from_grant
from gateway.importing.nango import from_nango
from gateway.importing.outcome import Imported, Outcome
from gateway.policy.load import load

REFUSED = {
    "nothing": ("", "is empty"),
    "blanks": (" \n\t", "is empty"),
    "a list": ("- a\n- b", "is no table of providers"),
    "a word": ("providers", "is no table of providers"),
    "a page": ("<!doctype html><title>providers: none</title>\n<p>: [", "is neither JSON nor YAML"),
    "half of JSON": ('{"a": ', "is no JSON: Expecting value in line 1"),
    "YAML with a tab": ("a:\n\tb: 1", "is neither JSON nor YAML"),
    "too much": ("a: " + "b" * LARGEST, "is over 8 MiB"),
    "deep JSON": ('{"a":' * 50_000 + "1" + "}" * 50_000, "nests too deep"),
    "deep YAML": ("a: " + "[" * 500, "nests too deep"),
    "not so deep": ("a: " + "[" * 40 + "]" * 40, "is no table of providers"),
    "a billion laughs": (
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        "has an alias (*a); write out what it stands for",
    ),
    "an alias of itself": ("a: &a [*a]", "has an alias"),
    "half of a character": (r'{"\ud800": 1}', "half of a character"),
    "a number of a million digits": ('{"a": ' + "1" * 1_000_000 + "}", "or has a number that is none"),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_list_is_refused_as_a_whole(text: str, why: str) -> None:
    with pytest.raises(FileInvalid) as refused:
        read(text)
    assert why in str(refused.value)


def test_tags_and_merge_keys_of_yaml_are_no_more_than_text() -> None:
    found = read("a: !!python/object/apply:os.system ['true']\nb: {<<: {c: 1}, d: 2}\nyes: no\n0x10: 1_000")
    assert found == {"a": ["true"], "b": {"<<": {"c": 1}, "d": 2}, "yes": "no", "0x10": "1_000"}


def of_nango(**entry: Any) -> Imported:
    """Return what comes of one provider, a good one but for what is given."""
    good = {
        "auth_mode": "API_KEY",
        "display_name": "Keyed",
        "proxy": {"base_url": "https://api.provider.test", "headers": {"x-key": "${apiKey}"}},
        "credentials": {"apiKey": {"title": "Key"}},
    }
    (one,) = from_nango(yaml.safe_dump({"keyed": {**good, **entry}}, width=10_000))
    return one


def test_the_good_one_is_good() -> None:
    assert of_nango().outcome is Outcome.WHOLE


INTO_TOML = '"\nallow.urls = ["https://evil.test"]\n[auth]\ngrant = "none" #'
LINES = 'Key"\n[allow]\nurls = ["evil.test"]\r\n# \x00\x1b[2J\u2028'


@pytest.mark.parametrize("written", [INTO_TOML, LINES, "'''", '"""', "\\", "}} ]] #"])
def test_a_title_is_a_value_whatever_is_in_it(written: str) -> None:
    one = of_nango(display_name=written, credentials={"apiKey": {"title": written, "description": written}})
    assert one.text is not None
    said = tomllib.loads(one.text)
    assert said["allow"] == {"urls": ["https://api.provider.test"]}
    assert said["auth"] == {"grant": "api_key"}
    assert "evil" not in said["allow"]
    assert one.text.splitlines()[0].startswith("# keyed.toml, imported from")


def test_no_comment_has_anything_in_it_that_ends_it() -> None:
    script = "run\nallow.urls = ['evil.test']\x85\u2028\x1b"
    one = of_nango(post_connection_script=script, **{script: 1})
    assert one.text is not None
    comments = [line for line in one.text.split("\n") if line.startswith("#")]
    assert len(comments) == 4
    assert all(line.isascii() and line.isprintable() for line in comments)
    assert "evil" not in one.text.replace("\n".join(comments), "")


def test_no_reason_ends_the_comment_that_it_stands_in() -> None:
    one = of_nango(
        auth_mode="MCP_OAUTH2",
        authorization_url="https://a.test",
        token_url="https://t.test",
        registration_url="https://r.test\nallow.urls = ['evil.test']",
    )
    assert one.text is not None
    assert "(https://r.test?allow.urls = ['evil.test'])" in one.text.splitlines()[2]
    assert tomllib.loads(one.text)["allow"] == {"urls": ["https://api.provider.test"]}


@pytest.mark.parametrize("written", ["{{ fields.api_key }}", "${connectionConfig.x}{{ api_key }}", "{% x %}", "{# x"])
def test_no_text_of_the_list_is_read_as_a_template_of_ours(written: str) -> None:
    for part in ("headers", "query", "body"):
        one = of_nango(
            proxy={"base_url": "https://api.provider.test", part: {"x-key": "${apiKey}", "x-other": written}}
        )
        assert one.text is None
        assert one.lacks[0].what == "a text has {{ or the like in it, which would be a template here"


NAMES = ["../x", "a/b", "/etc/passwd", "", "a.b", "C:x", "keyed\n", "x" * 64, "-a", "a-", "a\x00b", "é"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_no_apps_gives_no_policy(name: str) -> None:
    for found in (from_nango, from_grant):
        (one,) = found(json.dumps({name: {"auth_mode": "NONE", "oauth": 2}}))
        assert one.text is None
        assert one.lacks[0].what == "a name that no file and no app can have"


@pytest.mark.parametrize("name", ["x", "7", "x" * 63])
def test_a_short_and_the_longest_name_are_an_apps(name: str) -> None:
    oauth = {"oauth": 2, "authorize_url": "https://note.test/a", "access_url": "https://note.test/t"}
    nango = {"auth_mode": "NONE", "proxy": {"base_url": "https://note.test"}}
    for found in (from_nango, from_grant):
        (one,) = found(json.dumps({name: {**oauth, **nango}}))
        assert one.text is not None


NO_POLICY = {
    "user info": "https://api.provider.test@evil.test",
    "a password": "https://user:password@api.provider.test",
    "plain http": "http://api.provider.test/\\evil.test",
    "another scheme": "file:///etc/passwd",
    "no scheme": "api.provider.test",
    "a public suffix": "https://${connectionConfig.name}.com",
    "a line break": "https://api.provider.test\n.evil.test",
    "a template of ours": "https://{{ fields.api_key }}.evil.test",
    "braces without an end": "https://${connectionConfig.name",
    "braces in braces": "https://" + "${a(" * 20 + "x" + ")}" * 20,
    "a function": "https://${base64(${apiKey})}.evil.test",
    "a key": "https://evil.test/${credentials.apiKey}",
}


@pytest.mark.parametrize("url", NO_POLICY.values(), ids=NO_POLICY)
def test_a_base_url_that_is_none_gives_no_policy(url: str) -> None:
    one = of_nango(proxy={"base_url": url, "headers": {"x-key": "${apiKey}"}})
    assert one.text is None
    assert one.lacks


@pytest.mark.parametrize("value", [None, 7, True, "text", ["list"], {"a": {"b": []}}, [[[]]], {"": ""}])
@pytest.mark.parametrize(
    "key",
    [
        *("auth_mode", "display_name", "proxy", "credentials", "connection_config", "default_scopes", "docs_connect"),
        *("token_url", "authorization_url", "token_params", "authorization_params", "additional_steps", "alias"),
        *("token_response", "assertion", "authorization_url_replacements", "redirect_uri_metadata"),
    ],
)
def test_a_value_of_another_type_never_raises(key: str, value: Any) -> None:
    """What comes of it is a policy that `gateway check` accepts, or none."""
    for mode in ("API_KEY", "OAUTH2", "TWO_STEP"):
        one = of_nango(
            **{"auth_mode": mode, "token_url": "https://t.test", "authorization_url": "https://a.test", key: value}
        )
        assert one.text is None or load(one.text, app="keyed", file="keyed.toml").findings == ()


def test_the_apps_own_secret_never_goes_to_a_server_that_is_chosen_or_found() -> None:
    servers = {"server": {"title": "Server", "format": "hostname"}, "found": {"title": "", "automated": True}}
    for host in ("${connectionConfig.server}", "${connectionConfig.found}"):
        one = of_nango(
            auth_mode="OAUTH2",
            authorization_url="https://login.provider.test/a",
            token_url=f"https://{host}/token",
            redirect_uri_metadata=["found"],
            connection_config=servers,
        )
        assert one.text is not None
        said = tomllib.loads(one.text)
        pinned = any(field.get("domains") for field in said["fields"])
        assert pinned or said["auth"]["client_secret"] == {"field": "client_secret"}


def test_a_body_without_an_end_gives_no_policy() -> None:
    one = of_nango(proxy={"base_url": "https://api.provider.test", "body": {str(n): "${apiKey}" for n in range(1000)}})
    assert str(one.lacks[0]) == "a body of more values than any API takes"


GRANT = {
    "aha": {
        "oauth": 2,
        "authorize_url": "https://[subdomain].aha.test/a",
        "access_url": "https://[subdomain].aha.test/t",
    },
    "cas": {"oauth": 2, "authorize_url": "https://[subdomain]/a", "access_url": "https://[subdomain]/t"},
    "notion": {
        "oauth": 2,
        "authorize_url": "https://n.test/a",
        "access_url": "https://n.test/t",
        "scope_delimiter": " ",
    },
    "old": {
        "oauth": 1,
        "authorize_url": "https://o.test/a",
        "access_url": "https://o.test/t",
        "request_url": "https://[subdomain].o.test",
    },
    "goodreads": {
        "oauth": 1,
        "authorize_url": "https://o.test/a",
        "access_url": "https://o.test/t",
        "request_url": "https://o.test",
    },
    "none": {"oauth": 3, "authorize_url": "https://o.test/a", "access_url": "https://o.test/t"},
    "void": {"oauth": 2},
    "user": {"oauth": 2, "authorize_url": "https://o.test/a", "access_url": "https://u:p@o.test/t"},
}


def test_grants_list_gives_logins() -> None:
    profiles = json.dumps({"aha": {"profile_url": "https://[subdomain].aha.test/me"}})
    found = {one.name: one for one in from_grant(json.dumps(GRANT), profiles)}
    said = {name: tomllib.loads(one.text) for name, one in found.items() if one.text is not None}
    assert {name: str(one.outcome) for name, one in found.items()} == {
        "aha": "whole",
        "cas": "whole",
        "notion": "whole",
        "old": "whole",
        "goodreads": "part",
        "none": "none",
        "void": "none",
        "user": "none",
    }
    assert said["aha"]["auth"]["token"]["url"] == "https://{{ subdomain }}.aha.test/t"
    assert said["aha"]["auth"]["authorize"] == {
        "url": "https://{{ subdomain }}.aha.test/a",
        "pkce": "off",
        "scope_separator": ",",
    }
    assert said["aha"]["test"] == {"url": "https://{{ subdomain }}.aha.test/me"}
    assert said["cas"]["allow"]["urls"] == ["{{ server }}"]
    assert said["cas"]["auth"]["client_secret"] == {"field": "client_secret"}
    assert said["notion"]["auth"]["token"]["client_auth"] == "basic"
    assert said["old"]["auth"]["request_token"] == {"url": "https://{{ subdomain }}.o.test"}
    assert (said["old"]["auth"]["grant"], said["old"]["sign"]) == ("oauth1", {"scheme": "oauth1"})
    assert (said["goodreads"]["auth"]["grant"], said["goodreads"]["sign"]["token"]) == ("api_key", "{{ token_id }}")


def test_grants_list_may_have_anything_in_it() -> None:
    for value in (None, 7, "x", [], {"oauth": "2"}, {"oauth": 2, "authorize_url": 7, "access_url": []}):
        (one,) = from_grant(json.dumps({"a1": value}), json.dumps({"a1": value}))
        assert one.text is None
