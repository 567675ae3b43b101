"""The refresh protocol as a small model, and a search through everything that can happen to it.

What it models: a row with its token, version, fence and lease; replicas that take the lease, call, and write, as
`gateway/vault/renewal.py`, `commit.py`, `lease.py` and `store/leases.py` do; a provider that rotates strictly and ends
the family when a spent refresh token comes again. Time goes by in units of five seconds; the lengths are the code's.
What can go wrong is in `World`: each so many times, at any moment that there is.

`search` goes breadth-first through every state that can be reached and raises `Violated` with the shortest way to the
first that must not be. A token's number is its place in the order in which the provider issued it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gateway.vault.lease import LEASE_SECONDS, WATCH_SECONDS
from gateway.vault.provider import CALL_SECONDS

UNIT = 5.0
LEASE, CALL, WATCH = (int(seconds / UNIT) for seconds in (LEASE_SECONDS, CALL_SECONDS, WATCH_SECONDS))
BORNE = LEASE + WATCH - CALL  # units for which who has an answer in hand may be cut off from the store
FAILED, REFUSED = 0, -1  # what a call may come to, beside the number of a token
RECONNECTED = "a person reconnects"
ACTIVE, NEEDS, DISCONNECTED = "active", "needs a person", "disconnected"


@dataclass(frozen=True, kw_only=True)
class World:
    """What is so, and what may happen how often.

    `leases`: how many are taken. `skews`: what each replica's clock is ahead, in units. `lost`: calls that are given up
    at their time, whose request or answer may or may not arrive. `outages`: the store is away for all; `cuts`: for one,
    at most `longest_cut` units. `unsure`: a write is committed and the word of it is lost. `grace`: the provider takes
    the token before the newest, too. The last four are the code's own rules: without one it is another protocol.
    """

    skews: tuple[int, ...] = (0, 0)
    leases: int = 4
    crashes: int = 0
    lost: int = 0
    failures: int = 0
    outages: int = 0
    cuts: int = 0
    longest_cut: int = 99
    unsure: int = 0
    reconnects: int = 0
    disconnects: int = 0
    grace: bool = False
    lease: int = LEASE
    watch: int = WATCH
    fenced: bool = True
    counted_from_the_lease: bool = True


class Replica(NamedTuple):
    """One process. `left`: units until its call must have ended; `got`: what the call came to."""

    phase: str = "idle"
    token: int = 0
    version: int = 0
    fence: int = 0
    left: int = 0
    watched: int = 0
    got: int = 0
    cut: int = -1  # units since it was cut off from the store; -1: it isn't


class State(NamedTuple):
    """Everything there is. `lease`: units until it lapses, by the true time. `late`: requests whose sender is gone.

    `why`: what became of the answer with the newest token, where it was lost. `might`: how often each trouble may come.
    """

    replicas: tuple[Replica, ...]
    might: tuple[int, ...]
    token: int = 1
    version: int = 1
    fence: int = 0
    lease: int | None = None
    status: str = ACTIVE
    newest: int = 1
    family: int = 1  # the first token of the newest family
    revoked: bool = False
    away: bool = False
    late: tuple[tuple[int, str], ...] = ()
    why: str = ""


Step = tuple[str, State]
TROUBLES = ("crashes", "lost", "failures", "outages", "cuts", "unsure", "reconnects", "disconnects")


class Violated(AssertionError):
    """Something that must not be, and the shortest way there."""

    def __init__(self, what: str, way: list[str]) -> None:
        super().__init__("\n  ".join([what, *way]))
        self.what = what
        self.way = way


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search saw: how many states, and for what reasons a spent token was used again."""

    states: int
    reuses: frozenset[str]


def search(world: World) -> Found:
    """Go through every state. Raises `Violated`."""
    start = State(
        replicas=tuple(Replica() for _ in world.skews),
        might=tuple(getattr(world, name) for name in TROUBLES),
    )
    came_from: dict[State, tuple[State | None, str]] = {start: (None, "")}
    edge = [start]
    reuses: set[str] = set()
    while edge:
        further = []
        for state in edge:
            for said, after in _steps(world, state):
                wrong = _wrong(state, said, after)
                if wrong:
                    raise Violated(wrong, [*_way(came_from, state), said])
                if after.revoked and not state.revoked:
                    reuses.add(after.why)
                if after not in came_from:
                    came_from[after] = (state, said)
                    further.append(after)
        edge = further
    return Found(states=len(came_from), reuses=frozenset(reuses))


def _way(came_from: dict[State, tuple[State | None, str]], state: State) -> list[str]:
    said = []
    at: State | None = state
    while at is not None:
        at, word = came_from[at]
        said.append(word)
    return said[-2::-1]


# ---------------------------------------------------------------------- what must not be


def _wrong(before: State, said: str, after: State) -> str:
    """Return what is wrong with a step; nothing: it may be."""
    calls = [one.token for one in after.replicas if one.phase in {"sent", "answered"}]
    revived = before.status == DISCONNECTED and after.status != DISCONNECTED and said != RECONNECTED
    resting = all(one.phase in {"idle", "watching"} for one in after.replicas) and not after.late
    usable = after.status == ACTIVE and not after.revoked
    rules = (
        (
            after.revoked and not (before.revoked or after.why),
            "a spent refresh token was used again, and nobody had lost the answer",
        ),
        (len(calls) != len(set(calls)), "two calls with one token at a time"),
        (revived, "a connection that a person ended was brought back"),
        (0 < after.token < before.token, "an older token was written over a newer one"),
        (0 < after.token < after.family, "a token from before the person came was written over theirs"),
        (
            resting and usable and after.token != after.newest and not after.why,
            "the newest token is nowhere, and nothing had happened to it",
        ),
    )
    return next((what for broken, what in rules if broken), "")


# ---------------------------------------------------------------------- what can happen


def _steps(world: World, state: State) -> Iterator[Step]:
    for number, one in enumerate(state.replicas):
        name = "ABC"[number]
        for said, after in _own_steps(world, state, number, one):
            yield f"{name} {said}", after
        if one.phase != "idle":
            yield from _crash(state, number, one, name)
        if _reaches(state, one):
            if _left(state, "cuts"):
                yield f"{name} is cut off", _put(_spent(state, "cuts"), number, one._replace(cut=0))
        elif one.cut >= 0:
            yield f"{name} reaches the store again", _put(state, number, one._replace(cut=-1))
    yield from _beside(world, state)
    if _may_pass(world, state):
        yield "five seconds pass", _passed(world, state)


def _own_steps(world: World, state: State, number: int, one: Replica) -> Iterator[Step]:
    match one.phase:
        case "idle" | "watching":
            if _reaches(state, one) and state.status == ACTIVE and state.fence < world.leases:
                yield from _take(world, state, number, one)
        case "leased":
            yield from _leased(world, state, number, one)
        case "sent":
            yield from _sent(world, state, number, one)
        case "answered":
            yield from _answered(state, number, one)
        case "holding":
            if _reaches(state, one):
                yield from _write(world, state, number, one)
        case "overtaken":
            if _reaches(state, one):
                yield from _take_again(world, state, number, one)


def _leased(world: World, state: State, number: int, one: Replica) -> Iterator[Step]:
    """`Provider._tokens`: what is left of the call's time is reckoned when it is sent."""
    if one.left >= 1 or not world.counted_from_the_lease:
        left = one.left if world.counted_from_the_lease else CALL
        yield "sends its request", _put(state, number, one._replace(phase="sent", left=left))
    if one.left < CALL:
        yield "is too late to call", _put(state, number, one._replace(phase="holding", got=FAILED))


def _sent(world: World, state: State, number: int, one: Replica) -> Iterator[Step]:
    """What the provider makes of a request, and the network."""
    after, got = _provider(world, state, one.token)
    yield f"is answered by the provider ({got})", _put(after, number, one._replace(phase="answered", got=got))
    if _left(state, "failures"):
        failed = one._replace(phase="answered", got=FAILED)
        yield "is answered by the provider (503)", _put(_spent(state, "failures"), number, failed)
    if one.left == 0 and _left(state, "lost"):
        given_up = _put(_spent(state, "lost"), number, one._replace(phase="holding", got=FAILED))
        yield "gives up, and its request never arrives", given_up
        late = (*given_up.late, (one.token, "lost answer"))
        yield "gives up, and its request is still on its way", given_up._replace(late=late)


def _answered(state: State, number: int, one: Replica) -> Iterator[Step]:
    yield "has the answer", _put(state, number, one._replace(phase="holding"))
    if one.left == 0 and _left(state, "lost"):
        lost = _spent(_lose(state, one, "lost answer"), "lost")
        yield "gives up before the answer comes", _put(lost, number, one._replace(phase="holding", got=FAILED))


def _take(world: World, state: State, number: int, one: Replica) -> Iterator[Step]:
    """`Renewals._renew`: a free lease at once, a lapsed one after it was watched."""
    lapsed = state.lease is not None and state.lease < world.skews[number]
    if one.phase == "watching" and (not lapsed or one.fence != state.fence):
        yield "sees another lease", _put(state, number, Replica(cut=one.cut))
        return
    watched = one.phase == "watching" and one.watched >= world.watch
    if state.lease is None or (lapsed and (watched or world.watch == 0)):
        leased = state._replace(fence=state.fence + 1, lease=world.lease + world.skews[number])
        mine = Replica(
            phase="leased", token=state.token, version=state.version, fence=leased.fence, left=CALL, cut=one.cut
        )
        yield "takes the lease", _put(leased, number, mine)
    elif lapsed and one.phase == "idle":
        yield "watches the lapsed lease", _put(state, number, one._replace(phase="watching", fence=state.fence))


def _write(world: World, state: State, number: int, one: Replica) -> Iterator[Step]:
    """`Leases._finish`, and `Commits`, which writes again what may not have been written."""
    if state.fence != one.fence and world.fenced:
        if one.got > 0:
            yield "finds its lease taken", _put(state, number, one._replace(phase="overtaken"))
        else:
            yield "lets its failure be", _put(state, number, Replica(cut=one.cut))
        return
    written = state._replace(lease=None)
    if one.got > 0:
        written = written._replace(token=one.got, version=state.version + 1, status=ACTIVE)
        if one.got == state.newest:
            written = written._replace(why="")
    elif one.got == REFUSED:
        written = written._replace(status=NEEDS)
    yield f"writes {one.got}", _put(written, number, Replica(cut=one.cut))
    if _left(state, "unsure"):
        yield f"writes {one.got} and doesn't hear of it", _spent(written, "unsure")


def _take_again(world: World, state: State, number: int, one: Replica) -> Iterator[Step]:
    """`Commits._retake`: for what it has in hand, not for another call; so a lapsed lease needs no watching."""
    if state.version != one.version:
        yield "throws its token away", _put(state, number, Replica(cut=one.cut))
    elif state.lease is None or state.lease < world.skews[number]:
        taken = state._replace(fence=state.fence + 1, lease=world.lease + world.skews[number])
        yield "takes the lease again", _put(taken, number, one._replace(phase="holding", fence=taken.fence))


def _provider(world: World, state: State, token: int) -> tuple[State, int]:
    """Strict rotation: the newest token gives another one, an older one of the family ends the family."""
    good = token == state.newest or (world.grace and state.family <= token == state.newest - 1)
    if good and not state.revoked:
        return state._replace(newest=state.newest + 1, why=""), state.newest + 1
    return state._replace(revoked=state.revoked or token >= state.family), REFUSED


def _crash(state: State, number: int, one: Replica, name: str) -> Iterator[Step]:
    if not _left(state, "crashes"):
        return
    dead = _put(_spent(_lose(state, one, "crash"), "crashes"), number, Replica())
    yield f"{name} is killed", dead
    if one.phase == "sent":
        yield f"{name} is killed, and its request is on its way", dead._replace(late=(*dead.late, (one.token, "crash")))


def _lose(state: State, one: Replica, why: str) -> State:
    """The answer with the newest token goes down with whoever has it, unless it is in the store."""
    has_it = one.phase in {"answered", "holding", "overtaken"} and one.got == state.newest != state.token
    return state._replace(why=why) if has_it else state


def _beside(world: World, state: State) -> Iterator[Step]:
    for token, why in set(state.late):
        rest = list(state.late)
        rest.remove((token, why))
        after, got = _provider(world, state, token)
        if got > 0:
            after = after._replace(why=why)
        elif after.revoked != state.revoked:
            after = after._replace(why="late request")
        yield f"a late request arrives ({got})", after._replace(late=tuple(rest))
    if state.away:
        yield "the store is back", state._replace(away=False)
    elif _left(state, "outages"):
        yield "the store goes away", _spent(state, "outages")._replace(away=True)
    number = max(state.newest, state.token) + 1
    if _left(state, "reconnects"):
        yield (
            RECONNECTED,
            _taken_over(_spent(state, "reconnects"), number, ACTIVE)._replace(
                newest=number, family=number, revoked=False, why=""
            ),
        )
    if state.status != DISCONNECTED and _left(state, "disconnects"):
        yield "a person disconnects", _taken_over(_spent(state, "disconnects"), 0, DISCONNECTED)


def _taken_over(state: State, token: int, status: str) -> State:
    """`Connections.update`: the fence and the version rise, the lease ends."""
    return state._replace(token=token, version=state.version + 1, fence=state.fence + 1, lease=None, status=status)


def _may_pass(world: World, state: State) -> bool:
    """Whether time may go by: not past the end of a call, nor while somebody writes who can.

    A call that has its time is answered, or given up. Who has something to write and reaches the store has tried before
    five seconds are over (`commit.LONGEST_PAUSE`).
    """
    for one in state.replicas:
        if one.phase in {"sent", "answered"} and one.left == 0:
            return False
        if _reaches(state, one) and (one.phase == "holding" or (one.phase == "overtaken" and state.lease is None)):
            return False
        if one.cut >= world.longest_cut:
            return False
    return True


def _passed(world: World, state: State) -> State:
    floor = min(world.skews) - 1
    lease = None if state.lease is None else max(state.lease - 1, floor)
    aged = state._replace(lease=lease, replicas=tuple(_aged(world, state, one) for one in state.replicas))
    for one in aged.replicas:
        if one.cut > BORNE:
            aged = _lose(aged, one, "cut off")
    return aged


def _aged(world: World, state: State, one: Replica) -> Replica:
    if one.phase in {"leased", "sent", "answered"}:
        one = one._replace(left=max(one.left - 1, 0))
    if one.phase == "watching" and _reaches(state, one):
        one = one._replace(watched=min(one.watched + 1, world.watch))
    return one if one.cut < 0 else one._replace(cut=min(one.cut + 1, LEASE + WATCH + 1))


def _reaches(state: State, one: Replica) -> bool:
    return not state.away and one.cut < 0


def _put(state: State, number: int, one: Replica) -> State:
    replicas = list(state.replicas)
    replicas[number] = one
    return state._replace(replicas=tuple(replicas))


def _left(state: State, trouble: str) -> int:
    return state.might[TROUBLES.index(trouble)]


def _spent(state: State, trouble: str) -> State:
    at = TROUBLES.index(trouble)
    return state._replace(might=(*state.might[:at], state.might[at] - 1, *state.might[at + 1 :]))
