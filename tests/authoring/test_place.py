"""Each finding is shown beside what mends it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.authoring.form import Unreadable, tidy, values_of
from gateway.authoring.names import CREDENTIALS, FIELD_BOXES, FIELD_TEXTS, LISTS, SINGLE, TABLES
from gateway.authoring.place import name_of
from gateway.policy.load import Finding, load
from tests.shipped import FEW

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "tests/policy/reference.toml"
CASES = sorted((ROOT / "tests/cases/policies").glob("*.toml"))
FILES = [*FEW, REFERENCE]
NOT_IN_THE_FORM = (
    "examples",
    "allow.connect_ports",
    "allow.cookies",
    "auth.assertion",
    *(f"auth.authorize.{key}" for key in ("fragment", "names", "response")),
    "auth.certificate",
    "auth.exchange",
    "auth.keep_alive",
    *(f"auth.refresh.{key}" for key in ("client_auth", "expires", "extends", "format", "headers", "method", "names")),
    *(f"auth.refresh.{key}" for key in ("params", "response", "token")),
    "auth.request_token",
    *(f"auth.revoke.{key}" for key in ("client_auth", "format", "headers", "method", "names", "params")),
    *(f"auth.token.{key}" for key in ("expires", "method", "names")),
    "inject.defaults",
    "lookup",
    "sign",
    "limits",
    "retry",
    "test.headers",
    "line ",
    "nme",
)
A_NAME = re.compile(
    "|".join(
        [
            *map(re.escape, SINGLE),
            *(rf"{re.escape(name)}\.\d+" for name in LISTS),
            rf"fields\.\d+\.({'|'.join([*FIELD_TEXTS, *FIELD_BOXES])})",
            *(rf"{re.escape(name)}\.\d+\.(name|value)" for name in TABLES),
        ]
    )
)
VALUES = values_of(REFERENCE.read_text())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("", None),
        ("line 3", None),
        ("name", "name"),
        ("base_url", "base_url"),
        ("auth", "auth.grant"),
        ("auth.grant", "auth.grant"),
        ("allow", "allow.urls.0"),
        ("allow.urls", "allow.urls.0"),
        ("allow.urls[1]", "allow.urls.1"),
        ("allow.deny[0]", "allow.deny.0"),
        ("allow.methods", "allow.methods"),
        ("allow.methods[1]", "allow.methods"),
        ("allow.connect_ports[0]", None),
        ("fields", "fields.0.name"),
        ("fields[2]", "fields.2.name"),
        ("fields[0].pattern", "fields.0.pattern"),
        ("fields[0].choices[1]", "fields.0.choices"),
        ("fields[1].secret", "fields.1.secret"),
        ("fields[1].odd", "fields.1.name"),
        ("auth.client_id", "auth.client_id.value"),
        ("auth.client_secret.env", "auth.client_secret.value"),
        ("auth.authorize", "auth.authorize.url"),
        ("auth.authorize.url", "auth.authorize.url"),
        ("auth.authorize.scopes[1]", "auth.authorize.scopes"),
        ('auth.authorize.scope_words."a:b"', "auth.authorize.scopes"),
        ("auth.authorize.params.access_type", "auth.authorize.params.0.value"),
        ("auth.device", "auth.device.url"),
        ("auth.device.scopes[1]", "auth.device.scopes"),
        ("auth.device.params.x", "auth.device.params.0.name"),
        ("fields[1].domains[0]", "fields.1.domains"),
        ("fields[0].from.js", "fields.0.from"),
        ("auth.token", "auth.token.url"),
        ("auth.token.params.otp", "auth.token.params.1.value"),
        ("auth.token.response.expires_in", "auth.token.response.1.value"),
        ("auth.token.response.gone", "auth.token.response.0.name"),
        ("auth.refresh", "auth.refresh.url"),
        ("auth.refresh.margin", "auth.refresh.margin"),
        ("auth.refresh.params.x", None),
        ("auth.revoke", "auth.revoke.url"),
        ("auth.keep_alive", None),
        ("test", "test.url"),
        ("test.body.a.b[0]", "test.body"),
        ("test.expect", "test.expect.status"),
        ("test.expect.status[0]", "test.expect.status"),
        ("test.headers.X", None),
        ("connection.label.js", "connection.label"),
        ("inject.headers", "inject.headers.0.name"),
        ("inject.headers.Authorization", "inject.headers.0.value"),
        ("inject.headers.Authorization.js", "inject.headers.0.value"),
        ("inject.query.api_key", "inject.query.0.value"),
        ("examples[0]", None),
        ("nme", None),
    ],
)
def test_a_key_path_has_its_place(path: str, name: str | None) -> None:
    assert name_of(path, VALUES) == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("inject.body.a", "inject.body.0.value"),
        ("inject.body.a.b", "inject.body.1.value"),
        ('inject.body."a.b"', "inject.body.1.value"),
        ("inject.body.a.c[0]", "inject.body.0.value"),
        ('inject.body."say \\"a\\""', "inject.body.2.value"),
        ("inject.body.ab", "inject.body.0.name"),
    ],
)
def test_a_row_is_found_however_its_key_is_quoted(path: str, name: str) -> None:
    """Checks write some keys in quotes and others not."""
    rows = {f"inject.body.{number}.name": key for number, key in enumerate(["a", "a.b", 'say "a"'])}
    assert name_of(path, rows) == name
    assert name_of(path, dict(reversed(rows.items()))) == name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_every_fault_that_is_known_has_a_name_of_the_form_or_none(case: Path) -> None:
    text = case.read_text()
    for finding in load(text, app="crm", file="x").findings:
        check(finding, text)


LINES = [(path, number) for path in FILES for number, line in enumerate(path.read_text().splitlines()) if "=" in line]


@given(st.sampled_from(LINES), st.sampled_from(['""', "5", "[]", "{}", "true", '["{{ x"]', '"http://{{ y }}"', None]))
def test_every_fault_of_a_real_policy_that_was_broken_has_one_too(place: tuple[Path, int], value: str | None) -> None:
    """One value becomes another, or goes."""
    path, number = place
    lines = path.read_text().splitlines()
    lines[number] = "" if value is None else f"{lines[number].partition('=')[0]}= {value}"
    text = "\n".join(lines)
    for finding in load(text, app="crm", file="x").findings:
        check(finding, text)


def check(finding: Finding, text: str) -> None:
    """A place is one of the form's own names, a row the fault's own; only what the form doesn't have has none."""
    path = finding.path
    try:
        values = values_of(text)
    except Unreadable:
        values = {}
    name = name_of(path, values)
    if name is None:
        unknown = "unknown key" in finding.message
        assert unknown or path in ("", "inject", "connection") or path.startswith(NOT_IN_THE_FORM), path
        return
    assert A_NAME.fullmatch(name), (path, name)
    table = name.rsplit(".", 2)[0]
    if table in TABLES and name.endswith(".value"):
        key = values[f"{name.removesuffix('.value')}.name"]
        assert key in path or f'"{key}"' in path
    elif name not in (*SINGLE, *CREDENTIALS) and not path.endswith("fields"):
        assert re.sub(r"\[(\d+)\]", r".\1", path).startswith(table.rsplit(".", 1)[0])


def test_the_names_that_are_places_are_the_ones_that_are_read() -> None:
    """`tidy` knows what `A_NAME` here knows."""
    assert all(A_NAME.fullmatch(name) or name.endswith(".kind") for name in tidy(VALUES))
