"""Each command on a gateway's directory, without a server: what it prints, and how it ends."""

import io
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.connect import asking, missing_fields
from gateway.policy.load import load
from gateway.store import rotation
from tests.cli.conftest import BY_BROWSER

Run = Callable[..., Any]


def test_looking_at_a_gateway_that_was_never_made_makes_nothing(gateway: Run, place: Path) -> None:
    for command in (["connections", "list"], ["clients", "list"], ["keys", "status"], ["explain", "a", "GET", "b"]):
        done = gateway(*command)
        assert done.status == 1
        expected = (
            "There is no gateway here yet: no data/gateway.db. Make one with: gateway serve, or gateway connect APP"
        )
        assert done.err == f"error: {expected}\n"
    assert not (place / "data").exists()


def test_connect_reads_the_secret_from_standard_input_and_keeps_it_sealed(connected: Run, place: Path) -> None:
    shown = connected("connections", "show", "keyed-1", "--json")
    assert json.loads(shown.out)["label"] == "keyed in eu"
    assert not [file for file in (place / "data").iterdir() if b"hush-hush" in file.read_bytes()]
    assert "hush-hush" not in shown.out


def test_connect_reads_a_secret_from_a_file(gateway: Run, place: Path) -> None:
    (place / "key").write_text("hush\n")
    done = gateway(
        *("connect", "keyed", "--id", "k", "--field", "region=us", "--secret", "api_key=@key", "--json"),
    )
    assert done.status == 0
    assert json.loads(done.out)["created"] is True


def test_connecting_the_same_id_again_updates_it(connected: Run) -> None:
    again = connected(
        *("connect", "keyed", "--id", "keyed-1", "--field", "region=us", "--secret", "api_key=-", "--json"), stdin="new"
    )
    assert json.loads(again.out)["created"] is False
    assert json.loads(again.out)["label"] == "keyed in us"


REFUSED_SECRETS = {
    "in the argument": (
        ["--secret", "api_key=hush"],
        "shell's history; write api_key=- to read it from standard input, or api_key=@FILE",
    ),
    "as a field": (
        ["--field", "api_key=hush"],
        "shell's history; write --secret api_key=- or --secret api_key=@FILE",
    ),
    "from a file that isn't there": (
        ["--secret", "api_key=@nofile"],
        "api_key: nofile can't be read: No such file or directory",
    ),
    "two from standard input": (
        ["--secret", "a=-", "--secret", "api_key=-"],
        "only one secret can come from standard input",
    ),
    "nothing": (["--secret", "api_key=@/dev/null"], "api_key: what was read is empty"),
    "without a name": (["--secret", "hush"], "write NAME=- or NAME=@FILE"),
}


@pytest.mark.parametrize("case", REFUSED_SECRETS)
def test_connect_takes_no_secret_that_could_be_seen(case: str, gateway: Run) -> None:
    options, expected = REFUSED_SECRETS[case]
    done = gateway("connect", "keyed", *options, stdin="a-secret")
    assert done.status == 2
    assert expected in done.err
    assert "hush" not in done.err


def test_connect_asks_a_person_for_what_is_missing_and_does_not_echo_secrets(
    gateway: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    asked: list[str] = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "hush")
    monkeypatch.setattr("typer.prompt", lambda label, **_: asked.append(label) or "us")
    monkeypatch.setattr(io, "StringIO", Terminal)
    done = gateway("connect", "keyed", "--id", "asked")
    assert done.status == 0, done.err
    assert asked == ["API key: ", "Region"]


def test_what_a_person_is_asked_has_what_stands_around_it_and_an_example() -> None:
    """Those without a heading first; what is hidden or found isn't asked for."""
    text = """
name = "X"
[allow]
urls = ["https://{{ site }}.desk.example"]
[[fields]]
name = "team"
group = "Advanced"
[[fields]]
name = "site"
prefix = "https://"
suffix = ".desk.example"
example = "acme"
[[fields]]
name = "host"
kind = "host"
example = "acme.test"
[[fields]]
name = "plan"
hidden = true
required = false
[[fields]]
name = "given"
[[fields]]
name = "instance"
from = "{{ test.url }}"
[auth]
grant = "none"
[test]
url = "https://{{ site }}.desk.example/me"
"""
    policy = load(text, app="x", file="x.toml").policy
    assert policy is not None
    assert [asking(field) for field in missing_fields(policy, {"given": "x"}, {})] == [
        "Site (https://….desk.example; such as acme)",
        "Host (such as acme.test)",
        "Team",
    ]


def test_connect_says_which_fields_are_missing_where_nobody_can_be_asked(gateway: Run) -> None:
    done = gateway("connect", "keyed", "--id", "x", "--field", "region=mars")
    assert done.status == 1
    assert any("api_key" in line for line in done.err.splitlines())
    assert any("region" in line for line in done.err.splitlines())
    assert "--secret api_key=-" in done.err


def test_connect_names_the_apps_there_are(gateway: Run) -> None:
    done = gateway("connect", "keyd")
    assert (done.status, done.err) == (
        1,
        "error: There is no policy keyd.toml in policies. There are: browser, keyed.\n",
    )


def test_connect_names_a_policy_with_errors(gateway: Run, place: Path) -> None:
    (place / "policies" / "keyed.toml").write_text("name = 3")
    done = gateway("connect", "keyed")
    assert done.status == 1
    assert done.err.splitlines()[-1] == "error: The policy of keyed has errors. Run: gateway check keyed"


def test_connect_by_browser_prints_a_link_that_works_once(gateway: Run) -> None:
    done = gateway("connect", "browser", "--id", "b-1", "--no-wait")
    assert done.status == 0
    assert done.out.startswith("http://127.0.0.1:8081/connect/gwl_")
    assert done.out.count("\n") == 1
    assert "Waiting" not in done.err


def test_connect_with_a_code_says_what_is_wrong_with_the_id_first_and_makes_a_link_for_later(
    connected: Run, place: Path
) -> None:
    """Nobody signs in for nothing: the provider, which isn't there, isn't asked."""
    by_code = BY_BROWSER.replace('"authorization_code"', '"device_code"').replace("[auth.authorize]", "[auth.device]")
    (place / "policies" / "code.toml").write_text(by_code)
    taken = connected("connect", "code", "--id", "keyed-1")
    assert taken.err == "error: The connection keyed-1 belongs to the app keyed. Choose another id.\n"
    assert connected("connect", "code", "--id", "no id").err.startswith("error: A connection id is 1 to 64 letters")
    link = connected("connect", "code", "--no-wait")
    assert (link.status, link.out.startswith("http://127.0.0.1:8081/connect/gwl_")) == (0, True)


def test_connections_are_listed_for_people_and_for_programs(connected: Run) -> None:
    rows = [line.split("\t") for line in connected("connections", "list").out.splitlines()]
    assert rows == [["ID", "APP", "LABEL", "STATUS", "LAST USED"], ["keyed-1", "keyed", "keyed in eu", "active", "-"]]
    listed = json.loads(connected("connections", "list", "--json").out)
    assert [item["id"] for item in listed["items"]] == ["keyed-1"]
    assert listed["next"] is None
    assert connected("connections", "list", "--status", "disconnected").err.startswith("There are no connections")


def test_a_connection_that_is_not_there_is_named(connected: Run) -> None:
    done = connected("connections", "show", "nobody")
    assert (done.status, done.err) == (1, "error: There is no connection 'nobody'. See: gateway connections list\n")


def test_disconnect_takes_the_credentials_away(connected: Run) -> None:
    assert connected("connections", "disconnect", "keyed-1").status == 0
    assert json.loads(connected("connections", "show", "keyed-1", "--json").out)["status"] == "disconnected"
    assert connected("explain", "keyed-1", "GET", "http://127.0.0.1:9/").status == 1


def test_refreshing_a_connection_that_has_no_token_is_a_clear_no(connected: Run) -> None:
    done = connected("connections", "refresh", "keyed-1")
    assert done.status == 1
    assert done.err == "error: The connection keyed-1 has no token that could be refreshed.\n"


def test_a_client_s_token_is_alone_on_standard_output(connected: Run) -> None:
    done = connected("clients", "create", "runner", "--connection", "keyed-*", "--expires", "90d")
    assert done.out.startswith("gwc_")
    assert len(done.out) == 4 + 43 + 1
    assert "keyed-*" in done.err


def test_clients_are_listed_without_tokens_and_revoked_once(connected: Run) -> None:
    made = json.loads(connected("clients", "create", "runner", "--connection", "a", "--connection", "b", "--json").out)
    listed = connected("clients", "list", "--json").out
    assert made["token"] not in listed
    assert json.loads(listed)["items"][0]["connections"] == ["a", "b"]
    assert connected("clients", "revoke", "runner").status == 0
    assert connected("clients", "list").out.splitlines()[1].split("\t")[:3] == ["runner", "a, b", "revoked"]
    again = connected("clients", "revoke", "runner")
    assert (again.status, again.err) == (1, "error: There is no client 'runner' to revoke. See: gateway clients list\n")


def test_a_client_of_a_name_that_is_taken_is_refused(connected: Run) -> None:
    connected("clients", "create", "runner", "--connection", "a")
    done = connected("clients", "create", "runner", "--connection", "a")
    assert (done.status, done.out) == (1, "")
    assert "runner" in done.err


def test_explain_shows_the_decision_and_masks_what_would_be_injected(connected: Run) -> None:
    done = connected("explain", "keyed-1", "get", "https://api.keyed.test/v1/users")
    assert done.status == 0
    assert "decision  allowed" in done.out
    assert "inject headers: Authorization: Bearer ***" in done.out
    assert "hush-hush" not in done.out


def test_explain_is_1_where_the_request_would_be_denied(connected: Run) -> None:
    done = connected("explain", "keyed-1", "GET", "https://elsewhere.test/", "--json")
    assert done.status == 1
    assert json.loads(done.out)["allowed"] is False


def test_the_ca_certificate_goes_to_standard_output_or_a_file(gateway: Run, place: Path) -> None:
    shown = gateway("ca", "export").out
    assert gateway("ca", "export", "ca.pem").status == 0
    assert shown == (place / "ca.pem").read_text()
    assert shown.startswith("-----BEGIN CERTIFICATE-----\n")
    assert gateway("ca", "export", "/nowhere/ca.pem").status == 1


def test_keys_status_shows_the_data_keys(connected: Run) -> None:
    status = json.loads(connected("keys", "status", "--json").out)
    assert status["source"] == "file:data/master.key"
    assert [(key["id"], key["state"], key["sealed"]) for key in status["items"]] == [(1, "sealing", 3)]
    assert (status["rotating"], status["lost"]) == (False, 0)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No servers, and so nobody to wait for."""
    monkeypatch.setattr(rotation, "GRACE_SECONDS", 0.0)


def keys_of(run: Run) -> list[tuple[Any, ...]]:
    shown = json.loads(run("keys", "status", "--json").out)["items"]
    return [(key["id"], key["state"], key["sealed"], bool(key["retired_at"])) for key in shown]


@pytest.mark.usefixtures("at_once")
def test_rotate_seals_everything_with_a_new_key_and_says_what_backups_hold(connected: Run) -> None:
    done = connected("keys", "rotate")
    assert (done.status, done.out) == (0, "")
    assert done.err.splitlines() == [
        "Data key 2 seals; 3 values are sealed with it.",
        "Removed, so that nothing opens with it any more: data key 1.",
        "Backups from before still hold it, wrapped by the same master key: whoever has both can open them.",
    ]
    assert keys_of(connected) == [(2, "sealing", 3, False)]
    assert connected("explain", "keyed-1", "GET", "https://api.keyed.test/v1/x").status == 0
    said = json.loads(connected("keys", "rotate", "--json").out)
    assert said == {"key": 3, "resumed": False, "sealed": 3, "removed": [2], "stuck": []}


@pytest.mark.usefixtures("at_once")
def test_what_does_not_open_is_named_the_rotation_stays_unfinished_and_the_next_finishes_it(
    connected: Run, place: Path
) -> None:
    database = sqlite3.connect(place / "data" / "gateway.db")
    with database:
        database.execute("UPDATE connections SET credentials = fields")
    done = connected("keys", "rotate")
    assert done.status == 1
    assert "error: connections.credentials of keyed-1 does not open, and was left as it is." in done.err
    assert keys_of(connected) == [(1, "retired", 1, True), (2, "sealing", 2, False)]
    told = connected("keys", "status").err
    assert "A rotation to data key 2 is unfinished. Finish it with: gateway keys rotate" in told
    again = ("connect", "keyed", "--id", "keyed-1", "--field", "region=eu", "--secret", "api_key=-")
    assert connected(*again, stdin="new").status == 0
    finished = connected("keys", "rotate")
    assert finished.err.startswith("This finished a rotation that was begun before; no other key was made.\n")
    assert keys_of(connected) == [(2, "sealing", 3, False)]
    database.close()


def test_the_master_key_is_changed_and_what_remains_to_be_done_is_said(
    connected: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = connected("keys", "rotate", "--master-to", "file:new/master.key")
    assert done.status == 0, done.err
    assert done.err.splitlines() == [
        "The master key from file:new/master.key wraps the 1 data key now; file:data/master.key opens none.",
        "Next: set keys.source to it, and restart the servers. Until then they go on with the keys they hold,",
        "but can't be started again. Backups from before need the old master key.",
    ]
    assert (place / "new" / "master.key").stat().st_mode & 0o777 == 0o600
    refused = connected("connections", "list")
    assert refused.status == 1
    assert "Check `keys.source`: after `gateway keys rotate --master-to` it is the new one." in refused.err
    monkeypatch.setenv("GATEWAY_KEYS__SOURCE", "file:new/master.key")
    assert connected("explain", "keyed-1", "GET", "https://api.keyed.test/v1/x").status == 0
    moved = connected("keys", "rotate", "--master-to", f"command:{sys.executable} -c 'print(\"ab\" * 32)'", "--json")
    assert json.loads(moved.out) == {"source": f"command:{sys.executable}", "rewrapped": 1}
    monkeypatch.setenv("GATEWAY_KEYS__SOURCE", f"command:{sys.executable} -c 'print(\"ab\" * 32)'")
    assert json.loads(connected("keys", "status", "--json").out)["source"] == f"command:{sys.executable}"


REFUSED_SOURCES = {
    "no source": ("vault", 2, "this is not a key source; write file:PATH, env:NAME or command:PROGRAM"),
    "the key itself": ("hush0000hush0000", 2, "this is not a key source"),
    "an open quotation mark": ("command:sh -c 'x", 2, "has a quotation mark that isn't closed"),
    "nothing there": ("env:NOT_SET", 1, "NOT_SET: the master key is not in the environment"),
    "the same key": ("file:data/master.key", 1, "This is the master key already; nothing was changed."),
    "a command that fails": ("command:false --token hush", 1, "the command 'false' ended with status 1"),
}


@pytest.mark.parametrize("case", REFUSED_SOURCES)
def test_a_master_key_that_can_not_be_had_changes_nothing(connected: Run, place: Path, case: str) -> None:
    source, status, expected = REFUSED_SOURCES[case]
    done = connected("keys", "rotate", "--master-to", source)
    assert done.status == status
    assert expected in done.err
    assert "hush" not in done.err
    assert connected("keys", "status").status == 0
    assert sorted(path.name for path in (place / "data").glob("*.key")) == ["master.key"]


def test_the_schema_is_shown_and_brought_up(gateway: Run) -> None:
    before = json.loads(gateway("db", "current", "--json").out)
    assert before["current"] is None
    assert gateway("db", "upgrade").status == 0
    after = json.loads(gateway("db", "current", "--json").out)
    assert after["current"] == after["head"] == before["head"]


def test_the_store_is_copied_and_the_copy_serves_in_its_place(
    connected: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{place}/copy.db"
    monkeypatch.setenv("NEW_STORE", url)
    missing = connected("db", "copy", "--to", "env:NOT_THERE")
    assert missing.status == 2
    assert "NOT_THERE: there is no such variable" in missing.err
    done = json.loads(connected("db", "copy", "--to", "env:NEW_STORE", "--json").out)
    assert (done["resumed"], done["written"], done["rows"]["connections"]) == (False, sum(done["rows"].values()), 1)
    monkeypatch.setenv("GATEWAY_STORE__URL", url)
    assert connected("connections", "show", "keyed-1").status == 0
    again = connected("db", "copy", "--to", f"sqlite:///{place}/third.db")
    assert f"rows are in both stores; {done['written']} were written now." in again.err
    refused = connected("db", "copy", "--to", url)
    assert (refused.status, "Name an empty database" in refused.err) == (1, True)


def test_check_is_0_where_all_is_right(gateway: Run) -> None:
    done = gateway("check")
    assert (done.status, done.out, done.err) == (0, "", "2 policies checked; all are right.\n")


def test_check_shows_every_error_of_every_file(gateway: Run, place: Path) -> None:
    (place / "policies" / "keyed.toml").write_text("nam = 1\n[allow]\nurls = ['com']\n[auth]\ngrant = 'magic'")
    (place / "policies" / "browser.toml").write_text("[")
    done = gateway("check", "--json")
    assert done.status == 1
    found = {(Path(one["file"]).name, one["path"]) for one in json.loads(done.out)["findings"]}
    assert {("keyed.toml", "nam"), ("keyed.toml", "auth.grant")} <= found
    assert any(file == "browser.toml" for file, _ in found)
    assert "policies/keyed.toml: nam: " in gateway("check", "keyed").out


def test_check_takes_apps_and_files(gateway: Run, place: Path) -> None:
    assert gateway("check", "keyed", str(place / "policies" / "browser.toml")).status == 0
    assert gateway("check", "nosuch").err == "error: nosuch: neither a file nor an app in policies.\n"


def test_a_directory_without_policies_is_a_no(gateway: Run, place: Path) -> None:
    for file in (place / "policies").iterdir():
        file.unlink()
    assert gateway("check").status == 1


def test_the_audit_trail_says_that_it_was_the_command_line(connected: Run) -> None:
    connected("clients", "create", "runner", "--connection", "a")
    with sqlite3.connect("data/gateway.db") as database:
        kinds = database.execute("SELECT kind, actor FROM events ORDER BY id").fetchall()
    database.close()
    assert kinds == [("connection.created", "cli"), ("client.created", "cli")]


def test_run_says_when_no_server_answers(connected: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PROXY__LISTEN", "127.0.0.1:1")
    done = connected("run", "keyed-1", "--", sys.executable, "-c", "")
    assert (done.status, done.err) == (1, "error: No gateway answers at 127.0.0.1:1. Start it with: gateway serve\n")
    assert json.loads(connected("clients", "list", "--json").out)["items"] == []
    assert "HTTP_PROXY" not in os.environ
