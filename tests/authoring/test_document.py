"""An API's description is read within bounds, and what is none is called what it is."""

import json

import pytest

from gateway.authoring.document import MOST_JSON, MOST_YAML, DocumentInvalid, followed, parse


def test_json_and_yaml_are_read_alike_with_every_scalar_a_text() -> None:
    written = {"openapi": "3.1.0", "a": [1, 1.5, {"b": "x"}], "c": {}}
    assert parse(json.dumps(written)) == {"openapi": "3.1.0", "a": ["1", "1.5", {"b": "x"}], "c": {}}
    assert parse("openapi: 3.1.0\na: [1, 1.5, {b: x}]\nc: {}\n--- \nsecond: document") == parse(json.dumps(written))
    assert parse("\ufeffswagger: 2.0")["swagger"] == "2.0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("<!DOCTYPE html><html>", "is an HTML page"),
        ("<?xml version='1.0'?><definitions/>", "is XML"),
        ("#%RAML 1.0\ntitle: x", "is RAML"),
        ("https://example.com/openapi.json", "is a URL; open it"),
        ('{"openapi": "3.1.0",', "is no JSON: Expecting property name enclosed in double quotes in line 1"),
        ("[1]", "is a list"),
        ("hello", "is a text"),
        ("a: b: c", "is neither JSON nor YAML: mapping values are not allowed in this context in line 1"),
        ("a: \ud800", "is neither JSON nor YAML"),
        ("a: \x00", "is neither JSON nor YAML"),
        ("!!python/object/apply:os.system ['true']", "is a list"),
        ('{"openapi": "4.0.0"}', "is version '4.0.0'"),
        ('{"swaggerVersion": "1.2"}', "is version '1.2'"),
        ("asyncapi: 2.0.0", "is AsyncAPI"),
        ('{"info": {"_postman_id": "x", "schema": "y"}, "item": []}', "is a Postman collection"),
        ('{"data": {"__schema": {}}}', "is a GraphQL schema"),
        ('{"discoveryVersion": "v1", "resources": {}}', "is a Google discovery document"),
        ('{"b": 1, "a": 2}', 'has neither "openapi" nor "swagger" at its top (but a, b)'),
        ("[" * 500_000, "nests too deep"),
        ("- " * 500_000, "nests too deep"),
        ("openapi: " + "{a: " * 500, "nests too deep"),
        ('{"a":' * 100_000, "nests too deep"),
        ('{"a": ' + "9" * 5000 + "}", "has neither"),
        ("{" + "x" * MOST_JSON, "is over 8 MiB"),
        ("a" * (MOST_YAML + 1), "is over 2 MiB; take out the parts of the API that you don't need, or give it as JSON"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_description_is_called_what_it_is(text: str, said: str) -> None:
    with pytest.raises(DocumentInvalid) as raised:
        parse(text)
    assert said in str(raised.value)


def test_an_alias_bomb_is_as_small_as_it_is_written() -> None:
    """A billion laughs: each line is nine of the one before, and takes no more room than its nine names."""
    lines = ["openapi: 3.1.0", "a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    data = parse("\n".join(lines))
    assert data["a39"][0] is data["a39"][8] is data["a38"]


def test_a_bomb_of_merge_keys_is_not_merged() -> None:
    """Merging would double it with each line."""
    lines = ["openapi: 3.1.0", "a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], y{n}: 1}}" for n in range(1, 60)]
    assert parse("\n".join(lines))["a59"].keys() == {"<<", "y59"}


def test_what_holds_itself_is_read() -> None:
    data = parse("openapi: 3.1.0\na: &a {b: *a, c: *gone}")
    assert data["a"]["b"] is data["a"]
    assert data["a"]["c"] is None


def test_a_table_whose_key_is_a_list_goes_without_it() -> None:
    assert parse("openapi: 3.1.0\n? [a]\n: b\nc: d") == {"openapi": "3.1.0", "c": "d"}


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("#/a/b", {"x": 1}),
        ("#/a~1b~0", {"y": 1}),
        ("#/again", {"x": 1}),
        ("#/gone", {}),
        ("#/loop", {}),
        ("other.yaml#/a", {}),
    ],
)
def test_a_reference_is_followed_within_the_document(reference: str, found: dict[str, int]) -> None:
    root = {"a": {"b": {"x": 1}}, "a/b~": {"y": 1}, "again": {"$ref": "#/a/b"}, "loop": {"$ref": "#/loop"}}
    assert followed({"$ref": reference}, root) == found
