"""The form: what stands in a policy comes out as names and texts, and goes back without touching anything else."""

import difflib
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.authoring import patch
from gateway.authoring.form import Unreadable, apply, merged, repeated, tidy, values_of
from gateway.authoring.names import FIELD_BOXES, FIELD_TEXTS, LISTS, SINGLE, TABLES
from gateway.policy.load import load
from tests.shipped import FEW

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "tests/policy/reference.toml").read_text()
SHIPPED = [path.read_text() for path in FEW]


def changes(before: str, after: str) -> list[str]:
    """Return the lines that went and came."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


@pytest.mark.parametrize("text", [REFERENCE, *SHIPPED], ids=lambda text: tomllib.loads(text)["name"])
def test_a_policy_that_nobody_changed_stays_byte_for_byte(text: str) -> None:
    values = values_of(text)
    assert apply(text, values) == text
    assert tidy(values) == values
    assert apply(text.replace("\n", "\r\n"), values) == text.replace("\n", "\r\n")
    assert apply("\ufeff" + text, values) == "\ufeff" + text


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"name": "Other"}, ['-name = "Example CRM"', '+name = "Other"']),
        (
            {"auth.authorize.pkce": "off"},
            [
                f'-pkce = "S256"{" " * 35}# default; "plain", or "off" for providers that reject it',
                f'+pkce = "off"{" " * 35}# default; "plain", or "off" for providers that reject it',
            ],
        ),
        ({"auth.token.margin": "90"}, ["+margin = 90"]),
        ({"auth.token.margin": "90s"}, ['+margin = "90s"']),
        ({"connection.mask": "on"}, ["+mask = true"]),
        ({"allow.deny.0": ""}, ['-deny = ["https://api.example.com/v1/admin"]     # wins over urls']),
        (
            {"allow.urls.0": ""},
            ['-urls = ["example.com"]', "+urls = []"],
        ),
        (
            {"allow.urls.7": "b.test", "allow.urls.12": "c.test"},
            ['-urls = ["example.com"]', '+urls = ["example.com", "b.test", "c.test"]'],
        ),
        (
            {"test.expect.status": "\x85 200,\r\n 201 abc,"},
            [
                '-expect = { status = [200], path = "id" }',
                '+expect = { status = [200, 201, "abc"], path = "id" }',
            ],
        ),
        (
            {"test.body": '{"a": [1, true, {"js": "return 1"}]}'},
            [
                f"-body = {{}}{' ' * 39}# for apps with no GET: dummy values",
                f'+body = {{ a = [1, true, {{ js = "return 1" }}] }}{" " * 39}# for apps with no GET: dummy values',
            ],
        ),
        (
            {"auth.client_id.kind": "text", "auth.client_id.value": "abc"},
            None,
        ),
        (
            {"fields.0.secret": "on", "fields.0.required": "on", "fields.0.choices": "us\r\n\r\n asia \r\n"},
            [
                '-choices = ["us", "eu"]                          # or pattern = "[a-z0-9-]+"; checked on the server',
                '+choices = ["us", "asia"]                          # or pattern = "[a-z0-9-]+"; checked on the server',
                "-required = false",
                "+secret = true",
            ],
        ),
        (
            {"inject.headers.0.name": "X-Token"},
            ['-Authorization = "Bearer {{ access_token }}"', '+X-Token = "Bearer {{ access_token }}"'],
        ),
        (
            {"inject.body.1.name": "n", "inject.body.1.value": "5", "inject.body.1.kind": "json"},
            ["+n = 5"],
        ),
        (
            {"auth.token.params.2.name": "scope", "auth.token.params.2.kind": "off"},
            None,
        ),
    ],
)
def test_a_change_touches_its_own_lines(change: dict[str, str], lines: list[str] | None) -> None:
    after = apply(REFERENCE, values_of(REFERENCE) | change)
    found = changes(REFERENCE, after)
    if lines:
        assert found == lines
    else:
        assert [line[0] for line in found] == ["-", "+"]
    assert values_of(after) == tidy(values_of(REFERENCE) | change)


def swapped(values: dict[str, str], table: str, one: int, other: int) -> dict[str, str]:
    """Return the values with two rows of a table in each other's place."""
    homes = {f"{table}.{one}": f"{table}.{other}", f"{table}.{other}": f"{table}.{one}"}
    found = {}
    for name, value in values.items():
        row, _, key = name.rpartition(".")
        found[f"{homes.get(row, row)}.{key}" if row else key] = value
    return found


ROWS = """\
name = "X"

# What the person fills in
[[fields]]
name = "a"  # first

# about b
# and more
[[fields]]
name = "b"
odd = 1  # b's

[[fields]]
name = "c"

[allow]  # where
urls = [
    "a.test",  # one
    # two
    "b.test",
]

[inject.headers]
# all of them
A = "1"  # first
# about B
B = "2"
C = "3"
"""


def test_a_row_that_moves_takes_its_comments_along() -> None:
    values = swapped(swapped(values_of(ROWS), "fields", 0, 1), "inject.headers", 0, 1)
    assert (
        apply(ROWS, values)
        == """\
name = "X"

# What the person fills in
# about b
# and more
[[fields]]
name = "b"
odd = 1  # b's

[[fields]]
name = "a"  # first

[[fields]]
name = "c"

[allow]  # where
urls = [
    "a.test",  # one
    # two
    "b.test",
]

[inject.headers]
# all of them
# about B
B = "2"
A = "1"  # first
C = "3"
"""
    )


def test_a_row_that_goes_takes_its_comments_and_leaves_the_others() -> None:
    values = {
        name: value
        for name, value in values_of(ROWS).items()
        if not name.startswith(("fields.1.", "allow.urls.0", "inject.headers.1."))
    }
    after = apply(ROWS, values | {"fields.3.name": "d", "inject.headers.3.name": "D", "inject.headers.3.value": "4"})
    assert (
        after
        == """\
name = "X"

# What the person fills in
[[fields]]
name = "a"  # first

[[fields]]
name = "c"

[[fields]]
name = "d"
required = false

[allow]  # where
urls = [
    # two
    "b.test",
]

[inject.headers]
# all of them
A = "1"  # first
C = "3"
D = "4"
"""
    )


def test_a_field_that_gets_another_name_keeps_the_rest() -> None:
    after = apply(ROWS, values_of(ROWS) | {"fields.1.name": "z"})
    assert changes(ROWS, after) == ['-name = "b"', '+name = "z"']


def test_a_field_that_moves_and_changes_keeps_its_comments() -> None:
    after = apply(ROWS, swapped(values_of(ROWS), "fields", 0, 1) | {"fields.1.label": "First"})
    assert 'name = "a"  # first\nlabel = "First"\n' in after
    assert '[[fields]]\nname = "b"\nodd = 1  # b\'s\n' in after


def test_a_number_beside_a_row_that_changes_stays_a_number() -> None:
    text = "[auth.authorize.params]\nmax_age = 5\nprompt = 'x'\n"
    assert apply(text, values_of(text) | {"auth.authorize.params.1.value": "y"}) == text.replace("'x'", '"y"')


def test_words_of_a_scope_that_was_taken_away_go_with_it() -> None:
    """They would be a fault that no field of the form could mend."""
    after = apply(REFERENCE, values_of(REFERENCE) | {"auth.authorize.scopes": "write_data"})
    assert "scope_words" not in after
    assert load(after, app="crm", file="crm.toml").findings == ()


def test_a_new_table_stands_where_the_reference_has_it() -> None:
    after = apply(
        'name = "X"\n[allow]\nurls = ["a.test"]\n[auth]\ngrant = "none"\n[test]\nurl = "/me"\n',
        values_of('name = "X"\n[allow]\nurls = ["a.test"]\n[auth]\ngrant = "none"\n[test]\nurl = "/me"\n')
        | {"auth.token.url": "https://a.test/t", "auth.token.params.0.name": "x", "auth.token.params.0.value": "y"}
        | {"inject.headers.0.name": "A", "inject.headers.0.value": "return 1;\r\n", "inject.headers.0.kind": "js"}
        | {"fields.0.name": "region", "fields.0.pattern": "\\d+", "fields.0.required": "on"}
        | {"test.expect.path": "id", "auth.client_id.kind": "env", "auth.client_id.value": "ID"},
    )
    assert (
        after
        == """\
name = "X"
[allow]
urls = ["a.test"]

[[fields]]
name = "region"
pattern = '\\d+'
[auth]
grant = "none"
client_id = { env = "ID" }

[auth.token]
url = "https://a.test/t"
params = { x = "y" }
[test]
url = "/me"
expect = { path = "id" }

[inject.headers]
A = { js = \"\"\"
return 1;
\"\"\" }
"""
    )


@pytest.mark.parametrize("name", ["auth.client_id", "auth.client_secret"])
def test_a_secret_is_never_written_as_a_text_nor_shown(name: str) -> None:
    written = f'[auth]\n{name.removeprefix("auth.")} = "hunter2"\n'
    shows = [value for value in values_of(written).values() if "hunter2" in value]
    after = apply("", {f"{name}.kind": "text", f"{name}.value": "abc"})
    if name == "auth.client_secret":
        assert not shows
        assert tomllib.loads(after) == {"auth": {"client_secret": {"secret": "abc"}}}
    else:
        assert shows
        assert tomllib.loads(after) == {"auth": {"client_id": "abc"}}


def test_two_rows_of_one_name_are_both_kept_and_told() -> None:
    values = {f"inject.query.{number}.{key}": key for number in (0, 4, 7) for key in ("name", "value")}
    assert repeated(values) == ("inject.query.4.name", "inject.query.7.name")
    assert tomllib.loads(apply("", values)) == {
        "inject": {"query": {"name": "value", "name (2)": "value", "name (3)": "value"}}
    }


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[1",
        "null",
        '"\\ud800"',
        '{"a": null}',
        "NaN",
        "1e999",
        '{"a": 1, "a": 2}',
        "[" * 100 + "]" * 100,
        "[" * 99999,
        "9" * 5000,
    ],
    ids=lambda body: body[:12],
)
def test_what_is_no_json_or_no_toml_stays_what_was_typed(body: str) -> None:
    after = apply(REFERENCE, values_of(REFERENCE) | {"test.body": body})
    assert values_of(after)["test.body"] == body
    assert "test.body" in {finding.path for finding in load(after, app="crm", file="crm.toml").findings}


def test_a_form_of_one_step_leaves_the_others() -> None:
    values = values_of(REFERENCE)
    posted = {"auth.token.url": "https://b.test/", "form_token": "x", "name": "not of this step"}
    after = tidy(merged(values, ("auth.token",), posted))
    assert {name for name in after.keys() | values.keys() if after.get(name) != values.get(name)} == {
        name for name in values if name.startswith("auth.token.")
    }
    assert after["auth.token.url"] == "https://b.test/"


@pytest.mark.parametrize("text", ["name =", "a = 1\na = 2", "a." * 99 + "b = 1", "x = " + "[" * 99 + "]" * 99])
def test_what_is_no_toml_is_said_so(text: str) -> None:
    with pytest.raises(Unreadable):
        values_of(text)
    with pytest.raises(Unreadable):
        apply(text, {})


WORDS = st.sampled_from(
    ["", "a", "b", "A", " ", "x.y", 'q"', "l\nm", "l\r\nm", "\\d", "é", "\x00", "#", "[z]", "'", '"""', "\ud800"]
)
TEXTS = (
    WORDS
    | st.text(max_size=8)
    | st.sampled_from(["5", "{}", '{"js": "1"}', "[1, [2]]", "null", "off", "60", '"\\ud800"'])
)
KINDS = st.sampled_from(["", "text", "js", "json", "off", "secret", "env", "file", "field", "other"])
NUMBERS = st.sampled_from(["0", "1", "2", "3", "11"])
NAMES = st.one_of(
    st.sampled_from(sorted(SINGLE)),
    st.builds("{}.{}".format, st.sampled_from(LISTS), NUMBERS),
    st.builds("fields.{}.{}".format, NUMBERS, st.sampled_from([*FIELD_TEXTS, *FIELD_BOXES])),
    st.builds("{}.{}.{}".format, st.sampled_from(TABLES), NUMBERS, st.sampled_from(["name", "value"])),
)
KIND_NAMES = st.builds("{}.{}.kind".format, st.sampled_from(TABLES), NUMBERS) | st.sampled_from(
    ["auth.client_id.kind", "auth.client_secret.kind"]
)
VALUES = st.builds(
    dict[str, str].__or__, st.dictionaries(NAMES, TEXTS, max_size=12), st.dictionaries(KIND_NAMES, KINDS, max_size=4)
)
SCATTERED = """\
auth.client_id.env = "X"  # dotted
auth.token = { url = "u", params = { a = 1, "b c" = false } }
fields = [{ name = "a", choices = ["x"] }, 5]
inject.headers.A = "1"
[inject.query]
a = "1"
[auth.authorize]
[auth.authorize.params]
x = { js = 'y' }  # a script
[inject.body.deep]
js = '''
z'''
[allow]
urls = ["a", 5, ["b"], # five
  "c"]
methods = "GET"
[unknown."a.b"]
k = 1979-05-27  # a day
[test]
body = 5
expect = [1]
"""
TWISTED = """\
name = 5
[[fields]]
name = "a"
[auth.authorize.scope_words]
x = "y"
[[fields]]
[fields.more]
a = 1
[auth.token.params]
a = "b"
[auth.token.headers.H]
js = "1"
[auth]
client_id.file = "x"
[[allow.urls]]
a = 1
[inject]
headers = { A = "1", B.js = "2" }
query.a = "b"
query.c = { js = "d" }
"""
TEXT = st.sampled_from([REFERENCE, *SHIPPED, "", SCATTERED, TWISTED, ROWS])


@given(TEXT, VALUES)
def test_whatever_is_posted_the_text_says_it_and_nothing_else_changes(text: str, posted: dict[str, str]) -> None:
    """Values that come in are there afterwards; what the form has no name for is what it was."""
    values = values_of(text) | posted
    after = apply(text, values)
    assert after.encode().decode() == after
    assert tidy(values_of(after)) == tidy(values)
    assert apply(after, values_of(after)) == after
    assert apply(after, values) == after
    assert unnamed(after) == unnamed(text)


@given(TEXT, VALUES)
def test_a_form_that_starts_anew_leaves_only_what_was_posted(text: str, posted: dict[str, str]) -> None:
    after = apply(text, posted)
    assert values_of(after) == tidy(posted)
    assert unnamed(after) == unnamed(text)


@given(TEXT, st.sampled_from([*TABLES, "fields"]), st.permutations([0, 1, 2]))
def test_rows_are_in_the_order_in_which_they_were_posted(text: str, table: str, order: list[int]) -> None:
    values = values_of(text)
    moved = {}
    for name, value in values.items():
        match = re.fullmatch(rf"{re.escape(table)}\.([012])\.(\w+)", name)
        moved[f"{table}.{order[int(match[1])]}.{match[2]}" if match else name] = value
    assert tidy(values_of(apply(text, moved))) == tidy(moved)


def unnamed(text: str) -> object:
    """Return what a text says that no name of the form is for."""
    data = tomllib.loads(text.removeprefix("\ufeff"))
    return [data.get("examples"), data.get("unknown"), (data.get("allow") or {}).get("connect_ports")]


def test_the_shipped_policies_are_changed_in_place_and_never_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing anew is for texts that are scattered as nobody writes them."""
    monkeypatch.setattr(patch, "_anew", None)
    monkeypatch.setattr(patch, "_replaced", None)
    for text in [REFERENCE, *SHIPPED[::6]]:
        values = values_of(text)
        for name in values:
            for value in ("", "1"):
                after = apply(text, values | {name: value})
                assert values_of(after) == tidy(values | {name: value})
