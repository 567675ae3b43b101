"""How deep a value nests is told for any depth."""

import pytest

from gateway.nesting import is_deeper


def nested(depth: int) -> object:
    value: object = "x"
    for number in range(depth):
        value = [value, 1] if number % 2 else {"a": value, "b": []}
    return value


@pytest.mark.parametrize("depth", [0, 1, 5, 40])
def test_a_value_is_as_deep_as_it_is(depth: int) -> None:
    # The innermost table of `nested` holds an empty list beside its text: one level more, where there is a table.
    deepest = depth + (depth > 0)
    assert not is_deeper(nested(depth), deepest)
    assert deepest == 0 or is_deeper(nested(depth), deepest - 1)


def test_a_value_of_any_depth_is_told_without_recursion() -> None:
    assert is_deeper(nested(100_000), 64)
