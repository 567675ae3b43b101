"""What the long run would say: each failure is excused by a trouble that must bring it, or is a finding."""

from collections import Counter

import pytest

from tests.chaos.load import WRONG, Failure, Tally
from tests.chaos.provider import Reuse, Rotation
from tests.chaos.verdict import EVERYONE, Lost, Trouble, Verdict, judge

KILLED = Trouble(kind="killed", began=100.0, ended=104.0, replica=0)
FAILING = Trouble(kind="provider failing", began=100.0, ended=110.0)
AWAY = Trouble(kind="database restarted", began=100.0, ended=102.0)
CUT = Trouble(kind="database cut off", began=100.0, ended=112.0, replica=1)
SLOW = Trouble(kind="provider slow", began=100.0, ended=120.0)
CLOCK = Trouble(kind="clock set", began=100.0, ended=100.0, replica=0)


def failed(what: str, at: float, replica: int = 0) -> Failure:
    return Failure(began=at, ended=at + 0.1, replica=replica, connection="u1", what=what)


def weighed(failure: Failure, *troubles: Trouble, lost: tuple[Lost, ...] = ()) -> Verdict:
    return judge(Tally(failures=[failure]), troubles, (), lost)


@pytest.mark.parametrize(
    ("failure", "trouble"),
    [
        (failed("refused", 102.0), KILLED),
        (failed("reset", 100.0), KILLED),
        (failed("timeout", 130.0, replica=2), KILLED),
        (failed("503", 105.0), FAILING),
        (failed("refresh_failed", 120.0), FAILING),
        (failed("overloaded", 101.0, replica=2), AWAY),
        (failed("overloaded", 105.0, replica=1), CUT),
        (failed("refresh_failed", 105.0), CUT),
    ],
)
def test_a_failure_in_a_trouble_that_must_bring_it_is_excused(failure: Failure, trouble: Trouble) -> None:
    verdict = weighed(failure, trouble)
    assert verdict.holds
    assert verdict.excused == Counter({trouble.kind: 1})


@pytest.mark.parametrize(
    ("failure", "trouble"),
    [
        pytest.param(failed("refused", 102.0, replica=1), KILLED, id="another replica's"),
        pytest.param(failed("refused", 90.0), KILLED, id="too early"),
        pytest.param(failed("refused", 106.0), KILLED, id="it was ready again"),
        pytest.param(failed("401", 101.0), AWAY, id="not its kind"),
        pytest.param(failed("overloaded", 105.0), CUT, id="who wasn't cut off"),
        pytest.param(failed("timeout", 110.0), SLOW, id="slow is no reason to fail"),
        pytest.param(failed("refresh_failed", 101.0), CLOCK, id="nor is a clock"),
        pytest.param(failed(WRONG, 101.0), KILLED, id="nothing excuses another's credential"),
        pytest.param(failed("connection_not_permitted", 101.0), FAILING, id="nor a client that is refused"),
    ],
)
def test_any_other_is_a_finding(failure: Failure, trouble: Trouble) -> None:
    assert not weighed(failure, trouble).holds


def test_what_asks_for_a_person_is_excused_only_while_a_token_is_lost_that_nobody_could_save() -> None:
    lost = Lost(connection="u1", began=100.0, ended=102.0)
    assert weighed(failed("reauthorization_required", 101.0), lost=(lost,)).holds
    assert not weighed(failed("reauthorization_required", 104.0), lost=(lost,)).holds
    assert not weighed(failed("reauthorization_required", 101.0)).holds


def test_a_connection_without_an_answer_at_the_end_is_a_finding() -> None:
    assert judge(Tally(), (), (), (), unanswered=["u1"]).findings == ("u1 has no answer at the end",)


def reused(at: float, *, spent_at: float, by: int, took: float = 0.0) -> Reuse:
    spent = Rotation(at=spent_at, took=took, owner="u1", number=3, replica=by)
    return Reuse(at=at, owner="u1", number=3, replica=2, spent=spent)


@pytest.mark.parametrize(
    ("reuse", "trouble", "is_excused"),
    [
        pytest.param(reused(140.0, spent_at=99.9, by=0), KILLED, True, id="killed with the answer in hand"),
        pytest.param(reused(140.0, spent_at=98.0, by=0), KILLED, False, id="killed long after it was written"),
        pytest.param(reused(140.0, spent_at=96.0, by=0, took=5.0), KILLED, True, id="killed while a slow answer came"),
        pytest.param(reused(140.0, spent_at=101.0, by=0, took=5.0), KILLED, True, id="killed, and then it was spent"),
        pytest.param(reused(140.0, spent_at=106.0, by=0, took=5.0), KILLED, False, id="asked for by the next process"),
        pytest.param(reused(140.0, spent_at=92.0, by=0, took=5.0), KILLED, False, id="killed long after a slow answer"),
        pytest.param(reused(140.0, spent_at=99.9, by=1), KILLED, False, id="another was killed"),
        pytest.param(reused(90.0, spent_at=89.9, by=0), KILLED, False, id="it came twice before that"),
        pytest.param(reused(136.0, spent_at=101.0, by=1), CUT, True, id="cut off for longer than its lease"),
        pytest.param(reused(136.0, spent_at=105.0, by=1), CUT, False, id="cut off, and it had time to write it"),
        pytest.param(reused(104.0, spent_at=101.0, by=1), AWAY, False, id="the database was away for all"),
        pytest.param(reused(104.0, spent_at=101.0, by=1), SLOW, False, id="slow, and answered"),
        pytest.param(reused(104.0, spent_at=101.0, by=1), CLOCK, False, id="a clock was set"),
    ],
)
def test_a_token_that_came_twice_is_our_fault_unless_its_answer_was_lost(
    reuse: Reuse, trouble: Trouble, *, is_excused: bool
) -> None:
    verdict = judge(Tally(), (trouble,), (reuse,), ())
    assert (verdict.holds, len(verdict.unavoidable)) == (is_excused, int(is_excused))


def test_everyones_trouble_is_each_ones() -> None:
    everyones = Trouble(kind="provider silent", began=100.0, ended=110.0, replica=EVERYONE)
    assert judge(Tally(), (everyones,), (reused(140.0, spent_at=101.0, by=1),), ()).holds


@pytest.mark.parametrize(
    ("spent_at", "took", "is_excused"),
    [
        pytest.param(116.0, 6.0, True, id="it stood in the silent line, and was answered after 22 s"),
        pytest.param(114.0, 4.0, False, id="it stood there, and was answered after 18 s"),
        pytest.param(118.0, 5.0, False, id="it came when the line was whole again"),
    ],
)
def test_a_request_that_was_held_up_is_answered_too_late_only_where_that_took_longer_than_a_call(
    spent_at: float, took: float, *, is_excused: bool
) -> None:
    silent = Trouble(kind="provider silent", began=100.0, ended=110.0, replica=1)
    reuse = reused(140.0, spent_at=spent_at, by=1, took=took)
    assert judge(Tally(), (silent,), (reuse,), ()).holds is is_excused
