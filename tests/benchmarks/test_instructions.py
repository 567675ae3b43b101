"""Instruction counts against their baseline: what is a failure, and what is only told."""

import json

from benchmarks.instructions import BASELINE, _parts, compare


def test_a_part_that_grew_by_more_than_15_percent_is_named() -> None:
    lines, grown = compare({"match": 1000, "target": 1000, "head": 1000}, {"match": 1151, "target": 1150, "head": 500})
    assert grown == ["match"]
    assert [line.split()[-1] for line in lines] == ["+15.1%", "+15.0%", "-50.0%"]


def test_a_part_without_a_baseline_is_a_failure_too() -> None:
    assert compare({}, {"match": 1}) == (["match                            1 instructions      new"], ["match"])


def test_the_baseline_has_every_part_for_each_interpreter() -> None:
    for counts in json.loads(BASELINE.read_text()).values():
        assert set(counts) == set(_parts())


def test_every_part_does_its_work() -> None:
    results = {name: part() for name, part in _parts().items()}
    assert results["inject: query"].endswith("&api_key=k")
    assert b'"version":"v2"' in results["inject: JSON body"]
    assert b"Authorization: Bearer tok_" in results["request head, rewritten"]
    head, content, ended = results["answer, parsed"]
    assert (head.status, b"".join(content), ended) == (200, b"x" * 152, True)
