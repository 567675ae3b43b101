"""What may fail in which trouble, and what may not. Pure.

A failure is excused by a trouble that it met, in time and place, where it is of a kind that this trouble must bring. A
refresh token that came twice is excused where whoever had spent it was killed, or cut off, before it could have written
down what it got: nobody can save that one (docs/replicas.md).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.vault.lease import LEASE_SECONDS
from gateway.vault.provider import CALL_SECONDS
from tests.chaos.load import Failure, Tally
from tests.chaos.provider import Reuse, Rotation

EVERYONE = -1
SLACK = 0.2  # seconds between a thing and its being noted


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One thing that went wrong, from `began` to `ended` (monotonic seconds), for one replica or EVERYONE."""

    kind: str
    began: float
    ended: float
    replica: int = EVERYONE


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a trouble brings: `here` where it is, `elsewhere` at other replicas; and how long after it, in seconds.

    `again`: as long again as it lasted, for pauses between tries double.
    """

    here: frozenset[str]
    elsewhere: frozenset[str] = frozenset()
    after: float = 1.0
    again: float = 0.0


PAUSED = frozenset({"refresh_failed"})
STORE = frozenset({"overloaded", "refresh_failed", "timeout"})
PROVIDER = frozenset(
    {"refresh_failed", "upstream_connect", "upstream_protocol", "upstream_timeout", "upstream_tls", "timeout", "503"}
)
UNSAVED = frozenset({"reauthorization_required", "refresh_failed", "timeout", "401"})
RULES = {
    # A token call that died with its process holds its lease until it lapses.
    "killed": Rule(here=frozenset({"refused", "reset"}), elsewhere=PAUSED | {"timeout"}, after=LEASE_SECONDS + 10.0),
    "database restarted": Rule(here=STORE, elsewhere=STORE, after=10.0),
    "database cut off": Rule(here=STORE, elsewhere=PAUSED | {"timeout"}, after=10.0, again=1.0),
    "database silent": Rule(here=STORE, elsewhere=PAUSED | {"timeout"}, after=CALL_SECONDS, again=1.0),
    "provider failing": Rule(here=PROVIDER, after=4.0, again=1.0),
    "provider cut off": Rule(here=PROVIDER, elsewhere=PAUSED, after=4.0, again=1.0),
    "provider silent": Rule(here=PROVIDER, elsewhere=PAUSED | {"timeout"}, after=CALL_SECONDS, again=1.0),
    "provider slow": Rule(here=frozenset()),
    "clock set": Rule(here=frozenset()),
}


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A connection whose family the provider ended, until a person had come."""

    connection: str
    began: float
    ended: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found. `excused`: failures, by the trouble that brought them; `unavoidable`: tokens past saving."""

    findings: tuple[str, ...]
    excused: Counter[str]
    unavoidable: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def judge(
    tally: Tally,
    troubles: Sequence[Trouble],
    reuses: Iterable[Reuse],
    lost: Sequence[Lost],
    *,
    pace: float = 1.0,
    unanswered: Iterable[str] = (),
    began: float = 0.0,
) -> Verdict:
    """Weigh everything that happened. `unanswered`: connections that some replica had no answer for at the end.

    `began` is what the times that are told are counted from.
    """
    findings, unavoidable = [], []
    excused: Counter[str] = Counter()
    for reuse in reuses:
        why = excuse(reuse, troubles, pace)
        said = f"{reuse.owner}: rt-{reuse.number} came twice, from replicas {reuse.spent.replica} and {reuse.replica}"
        if why:
            unavoidable.append(f"{said}: {why}")
        else:
            findings.append(
                f"{said}, at {reuse.spent.at - began:.1f} and {reuse.at - began:.1f},"
                " and nothing had happened to its answer"
            )
    for failure in tally.failures:
        kind = _kind(failure, troubles, lost, pace)
        if kind:
            excused[kind] += 1
        else:
            took, at = failure.ended - failure.began, failure.ended - began
            where = f"{failure.connection} at replica {failure.replica}"
            findings.append(f"{where}: {failure.what} after {took:.1f} s, at {at:.1f}, in no trouble. {failure.detail}")
    findings += [f"{connection} has no answer at the end" for connection in unanswered]
    return Verdict(findings=tuple(findings), excused=excused, unavoidable=tuple(unavoidable))


def excuse(reuse: Reuse, troubles: Sequence[Trouble], pace: float = 1.0) -> str:
    """Return what kept the answer of a spent token from being written down; nothing: it is our fault."""
    spent = reuse.spent
    came = spent.at - spent.took
    for one in troubles:
        if one.began > reuse.at or one.replica not in (spent.replica, EVERYONE):
            continue
        meets = one.began <= spent.at + CALL_SECONDS / pace and one.ended + SLACK >= spent.at
        held = one.began <= came <= one.ended + SLACK  # its request stood in the line until the end
        too_late = held and spent.at + spent.took + SLACK >= one.began + CALL_SECONDS / pace
        for_long = one.ended - max(one.began, spent.at) > (LEASE_SECONDS - CALL_SECONDS) / pace
        match one.kind:
            case "killed":
                if came - SLACK <= one.began <= spent.at + _writing(spent, troubles):
                    return "its process was killed before it was written down"
            case "provider cut off" | "provider silent":
                if meets:
                    return "its answer was lost on the way"
                if too_late:
                    return "its request was held up, and the answer came after the call's time"
            case "database cut off" | "database silent":
                if meets and for_long and one.replica != EVERYONE:
                    return "its process was cut off from the database for longer than its lease"
    return ""


def _writing(spent: Rotation, troubles: Iterable[Trouble]) -> float:
    """Return for how long after the provider's answer it may not be written yet: a second, or while that can't be."""
    until = spent.at + spent.took + 1.0
    for one in troubles:
        is_its_own = one.replica in (spent.replica, EVERYONE) and one.kind.startswith(("database", "provider"))
        if is_its_own and one.began <= until and one.ended >= spent.at:
            until = max(until, one.ended + 3.0)
    return until - spent.at


def _kind(failure: Failure, troubles: Iterable[Trouble], lost: Iterable[Lost], pace: float) -> str:
    """Return what excuses a failure; nothing: it is a finding."""
    if failure.what in UNSAVED and any(_met(failure, one.began, one.ended + 1.0, one.connection) for one in lost):
        return "a token that nobody could save"
    for one in troubles:
        rule = RULES[one.kind]
        is_here = one.replica in (failure.replica, EVERYONE)
        if failure.what not in (rule.here | rule.elsewhere if is_here else rule.elsewhere):
            continue
        after = rule.after / pace + rule.again * (one.ended - one.began)
        if failure.what in {"refused", "reset"}:
            after = 0.0
        if _met(failure, one.began, one.ended + after + 1.0):
            return one.kind
    return ""


def _met(failure: Failure, began: float, ended: float, connection: str = "") -> bool:
    is_its = not connection or connection == failure.connection
    return is_its and began - SLACK <= failure.ended and failure.began <= ended
