"""`gateway import`: what is written, what is left as it is, and what is said."""

import json
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
LISTS = Path(__file__).parent.parent / "cases" / "importing"
NANGO = """\
open: {auth_mode: NONE, proxy: {base_url: https://open.provider.test}}
keyed:
    auth_mode: API_KEY
    proxy: {base_url: https://api.provider.test, headers: {x-key: '${apiKey}'}}
    credentials: {apiKey: {title: Key}}
hand: {auth_mode: AWS_SIGV4, proxy: {base_url: https://hand.provider.test}}
none: {auth_mode: TELEPATHY, proxy: {base_url: https://none.provider.test}}
"""
GRANT = {"note": {"oauth": 2, "authorize_url": "https://note.test/a", "access_url": "https://note.test/t"}}


@pytest.fixture
def providers(place: Path) -> str:
    """Nango's list, as its package has it."""
    (place / "package").mkdir()
    (place / "package" / "providers.yaml").write_text(NANGO)
    return "package"


def test_each_provider_becomes_a_policy_that_passes_check(gateway: Run, place: Path, providers: str) -> None:
    done = gateway("import", "nango", providers, "--to", "new/policies")
    assert done.status == 0
    assert sorted(file.name for file in (place / "new" / "policies").iterdir()) == [
        "hand.toml",
        "keyed.toml",
        "open.toml",
    ]
    assert gateway("check", "new/policies/keyed.toml", "new/policies/open.toml", "new/policies/hand.toml").status == 0
    assert tomllib.loads((place / "new/policies/keyed.toml").read_text())["inject"] == {
        "headers": {"x-key": "{{ api_key }}"}
    }
    assert done.err.endswith(
        "3 policies written to new/policies; 0 were there as they are, 0 were there and differ, and stay; "
        "1 couldn't be made.\n"
    )


def test_what_is_not_whole_is_named_with_its_reason_and_everything_is_counted(gateway: Run, providers: str) -> None:
    done = gateway("import", "nango", f"{providers}/providers.yaml", "--to", "new")
    assert done.out.splitlines() == [
        "hand: written, in part",
        "    keys that are got by assuming a role (AWS STS); the person's own are asked for",
        "none: no policy, not at all",
        "    a kind of authentication that isn't known here (TELEPATHY)",
        "kind\tproviders\twhole\tin part\tnot at all",
        "API_KEY\t1\t1\t0\t0",
        "AWS_SIGV4\t1\t0\t1\t0",
        "NONE\t1\t1\t0\t0",
        "TELEPATHY\t1\t0\t0\t1",
        "all\t4\t2\t1\t1",
        "providers\twhat couldn't be expressed\tfor example",
        "1\ta kind of authentication that isn't known here\tnone",
        "1\tkeys that are got by assuming a role (AWS STS); the person's own are asked for\thand",
    ]


def test_a_file_that_is_there_is_never_overwritten(gateway: Run, place: Path, providers: str) -> None:
    """An edited policy stays as it is and is named; one with the same text is unchanged. policies_dir has a `keyed`."""
    edited = (place / "policies" / "keyed.toml").read_text()
    (place / "policies" / "hand.toml").symlink_to("nowhere")
    first = gateway("import", "nango", providers, "--only", "open", "--only", "keyed")
    again = gateway("import", "nango", providers, "--only", "open", "--only", "keyed")
    assert (first.status, again.status) == (0, 0)
    assert first.out.splitlines()[:2] == [
        "open: written, whole",
        "keyed: left as it is, for it is there and differs, whole",
    ]
    assert again.out.splitlines()[0] == "open: unchanged, whole"
    assert (place / "policies" / "keyed.toml").read_text() == edited
    assert gateway("import", "nango", providers, "--only", "hand").status == 1
    assert not (place / "policies" / "nowhere").exists()
    assert not [file for file in (place / "policies").iterdir() if file.name.startswith(".")]


def test_a_dry_run_writes_nothing(gateway: Run, place: Path, providers: str) -> None:
    done = gateway("import", "nango", providers, "--to", "new", "--dry-run", "--json")
    assert not (place / "new").exists()
    said = json.loads(done.out)
    assert (said["dry_run"], said["to"]) == (True, "new")
    assert said["kinds"]["AWS_SIGV4"] == {"part": 1}
    assert said["providers"][0] == {
        "name": "open",
        "kind": "NONE",
        "outcome": "whole",
        "file": "new",
        "lacks": [],
        "notes": [],
    }
    assert said["providers"][3]["lacks"] == [
        {"what": "a kind of authentication that isn't known here", "detail": "TELEPATHY"}
    ]
    assert said["reasons"][0] == {"what": "a kind of authentication that isn't known here", "providers": ["none"]}


def test_a_name_that_the_list_has_not_is_an_error(gateway: Run, providers: str) -> None:
    done = gateway("import", "nango", providers, "--to", "new", "--only", "opne", "--only", "open")
    assert done.status == 1
    assert done.err.endswith("error: opne: the list has no provider of this name\n")


def test_nothing_that_could_be_made_is_a_no(gateway: Run, providers: str) -> None:
    assert gateway("import", "nango", providers, "--to", "new", "--only", "none").status == 1


WRONG_FILES = {
    "no file": ("absent.yaml", None, "absent.yaml is no file."),
    "a folder without it": ("empty", None, "empty has no providers.yaml; name the file, or the unpacked npm package."),
    "no list": ("list.yaml", b"- a", "list.yaml is no table of providers by their names."),
    "no text": ("list.yaml", b"\xff\xfe", "list.yaml is not UTF-8 text."),
    "laughs": ("list.yaml", b"a: &a [1]\nb: *a", "list.yaml has an alias (*a); write out what it stands for."),
}


@pytest.mark.parametrize(("file", "content", "error"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_file_that_is_no_list_is_one_line(
    gateway: Run, place: Path, file: str, content: bytes | None, error: str
) -> None:
    (place / "empty").mkdir()
    if content is not None:
        (place / file).write_bytes(content)
    done = gateway("import", "nango", file)
    assert (done.status, done.out, done.err) == (1, "", f"error: {error}\n")


def test_grants_profiles_are_read_where_they_stand_beside_its_list(gateway: Run, place: Path) -> None:
    (place / "config").mkdir()
    (place / "config" / "oauth.json").write_text(json.dumps(GRANT))
    (place / "config" / "profile.json").write_text(json.dumps({"note": {"profile_url": "https://api.note.test/me"}}))
    assert gateway("import", "grant", ".").status == 0
    policy = tomllib.loads((place / "policies" / "note.toml").read_text())
    assert policy["allow"]["urls"] == ["https://api.note.test"]
    assert policy["test"]["url"] == "https://api.note.test/me"


def test_an_apis_description_becomes_one_policy(gateway: Run, place: Path) -> None:
    source = str(LISTS / "notes.openapi.yaml")
    done = gateway("import", "openapi", source, "--name", "mine", "--scheme", "login")
    assert (done.status, done.out.splitlines()[0]) == (0, "mine: written, whole")
    policy = tomllib.loads((place / "policies" / "mine.toml").read_text())
    assert policy["auth"]["token"]["url"] == "https://login.notes.example/token"
    assert gateway("check", "mine").status == 0
    assert gateway("import", "openapi", source, "--scheme", "none").status == 1


TAKEN = {
    "none named": (
        (),
        'Made for "key". --scheme takes another: "login", "two (authorizationCode)", "two (clientCredentials)".',
    ),
    "one of several flows": (
        ("--scheme", "two"),
        'Made for "two (authorizationCode)". --scheme takes another: "two (clientCredentials)".',
    ),
}


@pytest.mark.parametrize(("given", "said"), TAKEN.values(), ids=TAKEN)
def test_which_scheme_was_taken_of_several_is_said(gateway: Run, given: tuple[str, ...], said: str) -> None:
    done = gateway("import", "openapi", str(LISTS / "notes.openapi.yaml"), *given)
    assert (done.status, done.out.splitlines()[1].strip()) == (0, said)


def test_a_scheme_that_is_named_in_full_is_the_one(gateway: Run, place: Path) -> None:
    source = str(LISTS / "notes.openapi.yaml")
    done = gateway("import", "openapi", source, "--scheme", "two (clientCredentials)")
    assert "Made for" not in done.out
    auth = tomllib.loads((place / "policies" / "notes.toml").read_text())["auth"]
    assert auth["token"]["url"] == "https://login.notes.example/machines"
    assert gateway("import", "openapi", source, "--scheme", "three").err == (
        f"error: {source} has no security scheme 'three' that can be used here; "
        'there are: "key", "login", "two (authorizationCode)", "two (clientCredentials)".\n'
    )


def test_a_name_that_is_too_long_is_said_by_the_one_rule(gateway: Run) -> None:
    source = str(LISTS / "notes.openapi.yaml")
    assert gateway("import", "openapi", source, "--name", "n").status == 0
    assert gateway("import", "openapi", source, "--name", "n" * 63).status == 0
    done = gateway("import", "openapi", source, "--name", "n" * 64)
    assert done.status == 1
    assert "at most 63" in done.out


def test_a_description_that_says_too_little_gives_no_policy(gateway: Run, place: Path) -> None:
    (place / "api.yaml").write_text("openapi: 3.0.0\ninfo: {title: Little}\npaths: {}\n")
    done = gateway("import", "openapi", "api.yaml")
    assert done.status == 1
    assert "    the description doesn't say it (allow.urls: is empty" in done.out
    assert not (place / "policies" / "little.toml").exists()


class _Descriptions(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", {"/moved": "/api.yaml", "/moved/on": "/moved/on"}[self.path])
            self.end_headers()
            return
        self.send_response(200 if self.path == "/api.yaml" else 404)
        self.end_headers()
        self.wfile.write((LISTS / "notes.openapi.yaml").read_bytes())

    def log_message(self, format: str, *_: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@contextmanager
def descriptions() -> Iterator[str]:
    """Serve a description on this machine."""
    with HTTPServer(("127.0.0.1", 0), _Descriptions) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_description_is_fetched_where_it_is(gateway: Run, place: Path) -> None:
    with descriptions() as at:
        assert gateway("import", "openapi", f"{at}/moved", "--name", "notes").status == 0
        lost = gateway("import", "openapi", f"{at}/lost?key=hush")
        round_and_round = gateway("import", "openapi", f"{at}/moved/on")
    assert tomllib.loads((place / "policies" / "notes.toml").read_text())["name"] == "Notes"
    assert lost.err == f"error: {at}/lost was answered with 404.\n"
    assert round_and_round.err == f"error: {at}/moved/on redirects too often.\n"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://8.8.8.8/api.yaml", "asked over plain http, which is for this machine alone"),
        ("https://10.0.0.1/api.yaml", "10.0.0.1"),
        ("https://ann:hush@api.provider.test/api.yaml", "has a name or a password in it"),
    ],
)
def test_a_description_is_not_fetched_from_where_the_gateway_does_not_go(gateway: Run, url: str, why: str) -> None:
    done = gateway("import", "openapi", url)
    assert done.status == 1
    assert why in done.err
    assert "hush" not in done.err
