"""Bytes that two readers might take for different requests: what arrives is what was decided, or nothing.

Each case goes through every entrance, at once, and in two parts where something of it may go ahead. Behind each comes
one plain request, which nobody must take for content, or for more than the one it is.
"""

from pathlib import Path

import pytest

from tests.vectors.cases import ENTRANCES, request_cases
from tests.vectors.judge import Judge
from tests.vectors.speaking import recorded


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(("table", "at_least"), [("smuggling", 540), ("http_probe", 200)])
async def test_what_arrives_is_what_was_decided(tmp_path: Path, table: str, at_least: int, entrance: str) -> None:
    async with recorded(tmp_path) as (gateway, service):
        judge = Judge(gateway, service, entrance)
        for case in request_cases(table, entrance):
            await judge.hear(case)
            if case.late or (case.reads is not None and case.content):
                await judge.hear(case, in_two=True)
    tried = judge.close()
    assert not judge.faults, f"{len(judge.faults)} of {tried}:\n" + "\n".join(judge.faults)
    assert tried >= at_least
