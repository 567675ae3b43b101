"""A text that says something else differs only where it says it, however it is written."""

import tomllib

import pytest

from gateway.authoring.patch import patched
from gateway.authoring.spelling import same, spelled
from gateway.authoring.statements import cut
from tests.authoring.test_form import REFERENCE, ROWS, SCATTERED, SHIPPED, TWISTED

ODD = r'''
a = "#" # c
 "b c" . 'd' = [ # x
  1, # ]
  "]", '\', """
# no comment "" \""" [ """", """""",
]
[ "t" . x ] # "y"
k={a=[{}], b='}', c = "\""}
   # below
[[u]]
[u.v]
w = 1
[[u]]
[u.v]
w = 2
# end'''


def test_the_odd_text_is_toml() -> None:
    """Else the next tests would show nothing."""
    assert tomllib.loads(ODD)["u"][1] == {"v": {"w": 2}}


@pytest.mark.parametrize("text", [ODD, REFERENCE, ROWS, SCATTERED, TWISTED, *SHIPPED, "", "\n", "# x", "a = 1"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_is_cut_into_statements_is_the_same_text_again(text: str, newline: str) -> None:
    text = text.replace("\n", newline)
    assert cut(text).text == text


def test_a_statement_has_its_whole_path() -> None:
    assert [statement.path for statement in cut(ODD).statements] == [
        ("a",),
        ("b c", "d"),
        ("t", "x"),
        ("t", "x", "k"),
        ("u", 0),
        ("u", 0, "v"),
        ("u", 0, "v", "w"),
        ("u", 1),
        ("u", 1, "v"),
        ("u", 1, "v", "w"),
    ]


@pytest.mark.parametrize(
    ("text", "new", "expected"),
    [
        ("a = 1 # x", {"a": 2}, "a = 2 # x"),
        ("a = 1", {"a": True}, "a = true"),
        ("a = 1", {"a": 1.0}, "a = 1.0"),
        ("a = 0x10 # x\nb = 1", {"a": 16, "b": 2}, "a = 0x10 # x\nb = 2"),
        ("a = 1", {"a": 1, "b": 2}, "a = 1\nb = 2\n"),
        ("a = 1\r\n", {"a": 1, "b": 2}, "a = 1\r\nb = 2\r\n"),
        ("a = 1 # end", {}, ""),
        ("# top\na = 1\n# b's\nb = 1\n", {}, "# top\n# b's\n"),
        (
            "t = { a = 0x10, b = [1,  2] }",
            {"t": {"a": 16, "b": [1, 3], "c": "d"}},
            't = { a = 0x10, b = [1, 3], c = "d" }',
        ),
        ("t = { b.c = 1, d = true }", {"t": {"b": {"c": 1}, "d": False}}, "t = { b = { c = 1 }, d = false }"),
        ("t.a = 1\n", {"t": {"a": 1, "b": {"c": 2}}}, "t.a = 1\nt.b = { c = 2 }\n"),
        ("a = [\n  1, # one\n  2, # two\n]\n", {"a": [2, 3]}, "a = [\n  2, # two\n  3,\n]\n"),
        ("[[u]]\na = 1\n[x]\n[[u]]\na = 2\n", {"u": [{"a": 2}], "x": {}}, "[[u]]\na = 2\n[x]\n"),
        ("[auth]\ngrant = 1\n[allow]\nx = 1", {"auth": {"grant": 1}}, "[auth]\ngrant = 1\n"),
    ],
)
def test_only_what_differs_is_written(text: str, new: dict[str, object], expected: str) -> None:
    assert patched(text, new) == expected
    assert tomllib.loads(expected) == new


TEXTS = [REFERENCE, SCATTERED, TWISTED, ROWS, ODD, "", *SHIPPED[::4]]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_can_come_to_say_what_another_does(text: str) -> None:
    for other in TEXTS:
        new = tomllib.loads(other)
        assert tomllib.loads(patched(text, new)) == new


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", '"a"'),
        ('a"b', '"a\\"b"'),
        ("\\d+", "'\\d+'"),
        ("\\d'", '"\\\\d\'"'),
        ("a\nb", '"""\na\nb"""'),
        ('a\n"', '"""\na\n\\""""'),
        ('a\n"""', '"""\na\n""\\""""'),
        ('a\n""""\\"', '"""\na\n""\\"\\"\\\\\\""""'),
        ('\n"""\\\r\x00', '"""\n\n""\\"\\\\\\u000d\\u0000"""'),
        ("\x7f", '"\\u007f"'),
        (float("inf"), "inf"),
        (1e16, "1e+16"),
        ([], "[]"),
        ({}, "{}"),
        ({"a b": [True, {"c": 1.5}]}, '{ "a b" = [true, { c = 1.5 }] }'),
        (["x" * 60, "y" * 60], f'[\n    "{"x" * 60}",\n    "{"y" * 60}",\n]'),
    ],
)
def test_a_value_is_spelled_so_that_it_is_read_as_itself(value: object, text: str) -> None:
    assert spelled(value, wide=True) == text
    assert same(tomllib.loads(f"x = {text}")["x"], value)
