"""The configuration: defaults, the file, the environment, and what is said about a wrong value."""

import os
import tomllib
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.errors import StartError
from gateway.secret import Secret
from gateway.settings import Listen, Settings, find_config, load_settings

SOMEBODY = 12345
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
EXAMPLE = Path(__file__).parent.parent / "config.example.toml"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("GATEWAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def keys() -> dict[str, Any]:
    """Every key of the model as `section.key`, with its default as it is written in the model."""
    found = {}
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            section = type(field.default)
            found |= {f"{name}.{key}": one.default for key, one in section.model_fields.items()}
        else:
            found[name] = field.default
    return found


def read(text: str, tmp_path: Path) -> Settings:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load_settings(file)


def fault(text: str, tmp_path: Path) -> str:
    with pytest.raises(StartError) as raised:
        read(text, tmp_path)
    return raised.value.refusal.detail.replace(str(tmp_path) + "/", "")


def test_the_example_lists_every_key_and_no_other() -> None:
    example = tomllib.loads(EXAMPLE.read_text())
    listed = {
        f"{name}.{key}" if isinstance(value, dict) else name
        for name, value in example.items()
        for key in (value if isinstance(value, dict) else [None])
    }
    assert listed == set(keys())


def test_the_example_gives_each_key_its_default(tmp_path: Path) -> None:
    assert read(EXAMPLE.read_text(), tmp_path) == load_settings(None)


def test_each_key_of_the_example_has_a_comment_above_its_paragraph() -> None:
    paragraphs = [part.splitlines() for part in EXAMPLE.read_text().split("\n\n")]
    bare = [lines for lines in paragraphs if not any(line.startswith("#") for line in lines)]
    assert bare == []


OTHERS = {
    "data_dir": ("/srv/gw", Path("/srv/gw")),
    "policies_dir": ("/srv/policies", Path("/srv/policies")),
    "workers": ("3", 3),
    "proxy.listen": ("[::1]:9000", Listen("::1", 9000)),
    "web.listen": ("localhost:0", Listen("localhost", 0)),
    "web.public_url": ("https://gw.example.com/", "https://gw.example.com"),
    "store.url": ("postgresql://gw@db/gw", "postgresql://gw@db/gw"),
    "keys.source": ("env:MASTER", "env:MASTER"),
    "access.anonymous": ("true", True),
    "egress.allow_networks": ("127.0.0.1/32, 10.0.0.0/8", (ip_network("127.0.0.1/32"), ip_network("10.0.0.0/8"))),
    "webhook.url": ("https://hooks.example.com/gw?k=v", "https://hooks.example.com/gw?k=v"),
    "webhook.secret": ("hush", Secret("hush")),
    "limits.header_bytes": ("1", 1),
    "limits.header_count": ("2", 2),
    "limits.replay_bytes": ("0", 0),
    "limits.rewrite_bytes": ("4", 4),
    "limits.connections": ("5", 5),
    "limits.tunnels": ("6", 6),
    "timeouts.connect": ("500ms", 0.5),
    "timeouts.tls": ("2s", 2.0),
    "timeouts.request_header": ("1m", 60.0),
    "timeouts.response_header": ("1h", 3600.0),
    "timeouts.idle": ("1d", 86400.0),
    "timeouts.shutdown": ("3s", 3.0),
    "log.format": ("json", "json"),
    "log.level": ("error", "error"),
}


def test_every_key_is_among_those_tried_in_the_environment() -> None:
    assert set(OTHERS) == set(keys())


@pytest.mark.parametrize("key", OTHERS)
def test_each_key_can_be_set_in_the_environment_which_wins(
    key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text, expected = OTHERS[key]
    monkeypatch.setenv("GATEWAY_" + key.replace(".", "__").upper(), text)
    value: Any = read(EXAMPLE.read_text(), tmp_path)
    for part in key.split("."):
        value = getattr(value, part)
    assert value == expected


def test_a_list_in_the_environment_may_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_EGRESS__ALLOW_NETWORKS", '["127.0.0.0/8"]')
    assert load_settings(None).egress.allow_networks == (ip_network("127.0.0.0/8"),)


def test_the_data_directory_is_put_where_it_is_named() -> None:
    settings = Settings(data_dir=Path("/srv/gw"))
    assert settings.store.url == "sqlite:////srv/gw/gateway.db"
    assert settings.keys.source == "file:/srv/gw/master.key"


def test_the_public_url_follows_the_listener_where_none_is_given(tmp_path: Path) -> None:
    assert read('[web]\nlisten = "0.0.0.0:9001"', tmp_path).web.public_url == "http://127.0.0.1:9001"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings(None).workers = 2  # type: ignore[misc]


CASES = {
    "a misspelt key": (
        "[proxy]\nlisen = 'x'",
        "config.toml: proxy.lisen: there is no such key; did you mean 'listen'?",
    ),
    "a misspelt section": ("[proxi]\nlisten = 'x'", "config.toml: proxi: there is no such key; did you mean 'proxy'?"),
    "a key nothing like ours": (
        "[log]\nzzz = 1",
        "config.toml: log.zzz: there is no such key; there are: format, level",
    ),
    "no port": (
        "[web]\nlisten = '8080'",
        "config.toml: web.listen: '8080' is not an address; write host:port, such as 127.0.0.1:8080 or [::1]:8080",
    ),
    "IPv6 without brackets": (
        "[web]\nlisten = '::1:80'",
        "config.toml: web.listen: '::1:80' is not an address; write host:port, such as 127.0.0.1:8080 or [::1]:8080",
    ),
    "a port too large": (
        "[web]\nlisten = 'a:65536'",
        "config.toml: web.listen: 65536 is not a port; write a number from 0 to 65535",
    ),
    "a word for a number": ("workers = 'many'", "config.toml: workers: 'many' is not a number"),
    "no workers": ("workers = 0", "config.toml: workers: it should be greater than or equal to 1"),
    "a duration without a unit's name": (
        "[timeouts]\nidle = 'soon'",
        (
            "config.toml: timeouts.idle: 'soon' is not a duration; write a number with ms, s, m, h or d behind it, "
            "such as 30s or 90d"
        ),
    ),
    "no time at all": ("[timeouts]\ntls = 0", "config.toml: timeouts.tls: it should be greater than 0"),
    "a word for a switch": (
        "[access]\nanonymous = 'perhaps'",
        "config.toml: access.anonymous: 'perhaps' is not a switch; write true or false",
    ),
    "an unknown log format": ("[log]\nformat = 'xml'", "config.toml: log.format: it should be 'console' or 'json'"),
    "a network with host bits": (
        "[egress]\nallow_networks = ['10.0.0.1/8']",
        (
            "config.toml: egress.allow_networks: 10.0.0.1/8 has host bits set; "
            "write a network such as 10.1.0.0/16, or one address as 127.0.0.1/32"
        ),
    ),
    "an address that is a number": (
        "[proxy]\nlisten = 5",
        'config.toml: proxy.listen: 5 is not an address; write it as a text, such as "127.0.0.1:8080"',
    ),
    "two wrong networks, both named": (
        "[egress]\nallow_networks = ['x', '10.0.0.0/8', 'y']",
        (
            "config.toml: egress.allow_networks: 'x' does not appear to be an IPv4 or IPv6 network; "
            "write a network such as 10.1.0.0/16, or one address as 127.0.0.1/32; "
            "'y' does not appear to be an IPv4 or IPv6 network; "
            "write a network such as 10.1.0.0/16, or one address as 127.0.0.1/32"
        ),
    ),
    "networks that are a number": (
        "[egress]\nallow_networks = 3",
        'config.toml: egress.allow_networks: write a list of networks, such as ["127.0.0.1/32"]',
    ),
    "a store we don't know, whose password isn't repeated": (
        "[store]\nurl = 'mysql://a:hush@b/c'",
        "config.toml: store.url: write sqlite:///PATH or postgresql://user@host/database",
    ),
    "a key source we don't know": (
        "[keys]\nsource = 'vault'",
        "config.toml: keys.source: this is not a key source; write file:PATH, env:NAME or command:PROGRAM ARGUMENT…",
    ),
    "a public URL with a path's query": (
        "[web]\npublic_url = 'gw.example.com'",
        "config.toml: web.public_url: 'gw.example.com' is not an origin; write https://gateway.example.com",
    ),
    "a value for a section": (
        "web = 3",
        "config.toml: web: it is a section; write [web] and its keys below: listen, public_url",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_value_is_named_with_its_file_its_key_and_what_would_be_right(case: str, tmp_path: Path) -> None:
    text, expected = CASES[case]
    assert fault(text, tmp_path) == expected


def test_broken_toml_is_named_with_its_line(tmp_path: Path) -> None:
    assert fault("[proxy\n", tmp_path).startswith("config.toml: not valid TOML: ")


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(StartError) as raised:
        read("workers = 0\nx = 1\n[log]\nlevel = 'loud'", tmp_path)
    assert [error["path"].partition(": ")[2] for error in raised.value.refusal.errors] == ["workers", "log.level", "x"]


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(StartError, match=r"nowhere\.toml: the configuration can't be read: No such file or directory"):
        load_settings(Path("nowhere.toml"))


def test_a_wrong_variable_is_named_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_WORKERS", "x")
    with pytest.raises(StartError, match=r"^GATEWAY_WORKERS: 'x' is not a number$"):
        load_settings(None)


def test_a_variable_of_an_unknown_section_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PROXI__LISTEN", "x")
    with pytest.raises(StartError, match="GATEWAY_PROXI__LISTEN: there is no section 'proxi'; did you mean 'proxy'"):
        load_settings(None)


def test_variables_that_are_not_configuration_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", "x")
    assert load_settings(None).workers == 1


def test_the_option_beats_the_variable_and_the_variable_the_working_directory(tmp_path: Path) -> None:
    option, variable = Path("option.toml"), {"GATEWAY_CONFIG": "variable.toml"}
    assert find_config(None, {}) is None
    (tmp_path / "config.toml").write_text("")
    assert find_config(None, {}) == Path("config.toml")
    assert find_config(None, variable) == Path("variable.toml")
    assert find_config(option, variable) == option


def _anybody_may_change(file: Path) -> None:
    file.chmod(0o666)


def _belongs_to_another(file: Path) -> None:
    os.chown(file, SOMEBODY, -1)


def _is_anothers_link(file: Path) -> None:
    file.rename(file.with_name("ours.toml"))
    file.symlink_to("ours.toml")
    os.chown(file, SOMEBODY, -1, follow_symlinks=False)


@pytest.mark.parametrize(
    "spoil",
    [
        _anybody_may_change,
        pytest.param(_belongs_to_another, marks=NEEDS_ROOT),
        pytest.param(_is_anothers_link, marks=NEEDS_ROOT),
    ],
)
def test_what_another_user_left_in_the_working_directory_is_not_read_unless_it_is_named(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """It could name a command to run."""
    (tmp_path / "config.toml").write_text("[keys]\nsource = 'command:touch /tmp/owned'\n")
    spoil(tmp_path / "config.toml")
    with pytest.raises(StartError, match="another user owns it or can change it"):
        find_config(None, {})
    assert find_config(Path("config.toml"), {}) == Path("config.toml")


# The webhook.


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "https:///path-alone",
        "hooks.example.com",
        "https://user:hush@hooks.example.com/",
        "https://hooks.example.com/#x",
        "https://hooks.example.com:port/",
        "http://localhost.example.com/",
    ],
)
def test_a_webhook_that_would_carry_events_in_the_clear_or_nowhere_is_refused_and_not_repeated(
    url: str, tmp_path: Path
) -> None:
    said = fault(f'[webhook]\nurl = "{url}"', tmp_path)
    assert said.startswith("config.toml: webhook.url: write ")
    assert url not in said


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://localhost/", "http://[::1]:9/", "https://a.example/"])
def test_a_webhook_is_https_or_on_this_machine(url: str, tmp_path: Path) -> None:
    assert read(f'[webhook]\nurl = "{url}"', tmp_path).webhook.url == url


def test_no_secret_stands_in_the_file(tmp_path: Path) -> None:
    said = fault('[webhook]\nsecret = "hush-hush"', tmp_path)
    assert said == (
        "config.toml: webhook.secret: write env:NAME or file:PATH, or set GATEWAY_WEBHOOK__SECRET: "
        "no secret stands in this file"
    )


def test_the_webhooks_secret_is_read_from_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "hook.key").write_text("from a file\n")
    assert read('[webhook]\nsecret = "file:hook.key"', tmp_path).webhook.read_secret({}) == Secret("from a file")
    named = read('[webhook]\nsecret = "env:HOOK"', tmp_path).webhook
    assert named.read_secret({"HOOK": "from there"}) == Secret("from there")
    with pytest.raises(StartError, match=r"webhook\.secret: env:HOOK is empty"):
        named.read_secret({})
    with pytest.raises(StartError, match=r"webhook\.secret: the file gone\.key can't be read"):
        read('[webhook]\nsecret = "file:gone.key"', tmp_path).webhook.read_secret({})
    with pytest.raises(StartError, match=r"webhook\.secret: there is none"):
        Settings().webhook.read_secret({})


def test_settings_are_handed_on_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_WEBHOOK__SECRET", "hush-hush")
    settings = load_settings(None)
    assert "hush-hush" not in settings.model_dump_json() + repr(settings)
    monkeypatch.delenv("GATEWAY_WEBHOOK__SECRET")
    assert Settings.model_validate_json(settings.model_dump_json()).webhook.secret == Secret("")


@pytest.mark.parametrize(
    ("networks", "exempt"),
    [([], "localhost,127.0.0.1,::1"), (["10.0.0.0/8"], "localhost,127.0.0.1,::1"), (["127.0.0.1/32"], "")],
)
def test_programs_reach_their_own_machine_themselves_unless_the_gateway_may(networks: list[str], exempt: str) -> None:
    assert Settings(egress={"allow_networks": networks}).egress.no_proxy == exempt
