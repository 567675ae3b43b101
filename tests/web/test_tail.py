"""The live tail over the wire, read by a real client: nothing is missed, nothing comes twice, nobody is waited for."""

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.errors import Refusal, StoreError
from gateway.store.rows import EventRow
from gateway.web.ended import Ended
from gateway.web.logs import News, Place, Wanted
from gateway.web.session import LIFETIME
from gateway.web.tail import A_LOOK, KEPT, Listener
from gateway.web.wire import Bounds
from tests.web.harness import NOW, Web, form_token, running
from tests.web.reading import PATIENCE, reading, request_row, tail_of
from tests.web.test_hostile_words import HOSTILE
from tests.web.test_routes import _admins_cookie, sign_in

QUICK = {"look": 0.01, "session_check": 0.0, "heartbeat": 0.05}


@asynccontextmanager
async def signed_in(tmp_path, **bounds):
    async with running(tmp_path, bounds=Bounds(**QUICK | bounds)) as web:
        await sign_in(web)
        yield web


@pytest.fixture
async def admin(tmp_path):
    async with signed_in(tmp_path) as web:
        yield web


async def add(web: Web, *urls: str, **changes) -> None:
    await web.gateway.store.requests.add_many([request_row(f"https://a.test/{url}", **changes) for url in urls])


async def happen(web: Web, kind: str, **changes) -> None:
    await web.gateway.store.events.add(EventRow(at=NOW, kind=kind, actor="cli", **changes))


def urls(*names: str) -> list[str]:
    return [f"https://a.test/{name}" for name in names]


async def test_what_happens_comes_as_it_happens_oldest_first(admin):
    await add(admin, "before")
    async with reading(admin) as tail:
        assert (await tail.event()).comment == "here", "it begins with a word, and not with the past"
        await add(admin, "one", "two")
        assert await tail.whats(2) == urls("one", "two")
        await happen(admin, "client.revoked", client="runner")
        event = await tail.told()
        assert event.whats == ["A client was revoked"]
        assert event.told["entries"][0]["actor"] == "an administrator, on the command line"
        assert event.told["left_out"] == ""


async def test_who_comes_back_misses_nothing_and_gets_nothing_twice(admin):
    seen: list[str] = []
    place = ""
    for number in range(4):
        async with reading(admin, place=place) as tail:
            if place == "":
                await tail.event()
            await add(admin, f"{number}/during")
            await happen(admin, f"during.{number}")
            seen += await tail.whats(2 if number == 0 else 4)
            place = tail.place
        await add(admin, f"{number}/away")
        await happen(admin, f"away.{number}")
    expected = [f"{n}/{when}" for n in range(4) for when in ("during", "away")][:-1]
    assert [what for what in seen if "/" in what] == urls(*expected)
    assert len(seen) == len(set(seen)) == 14


async def test_nothing_is_missed_between_the_page_and_its_tail(admin):
    text = (await admin.get("/activity")).text
    query = text.split('data-stream="/activity/stream?')[1].split('"')[0].replace("&amp;", "&")
    await add(admin, "between")
    await happen(admin, "between.too")
    async with reading(admin, query) as tail:
        assert sorted(await tail.whats(2)) == ["between.too", *urls("between")]


async def test_a_reader_who_joins_while_others_listen_has_the_same_guarantee(admin):
    """Each begins at a place of its own, while looks are made for the others."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(reading(admin))
        await first.event()
        place = first.place
        readers = []
        for number in range(3):
            await add(admin, str(number))
            readers.append(await stack.enter_async_context(reading(admin, place=place)))
        await add(admin, "last")
        for reader in [first, *readers]:
            assert await reader.whats(4) == urls("0", "1", "2", "last")


async def test_each_reader_has_its_own_filter_and_a_place_that_moves_on_all_the_same(admin):
    async with reading(admin, "client=other") as others, reading(admin, "refused=1") as refused:
        await others.event()
        await refused.event()
        await add(admin, "a")
        await add(admin, "b", client="other")
        await add(admin, "c", status=403, code="target_not_allowed")
        await happen(admin, "client.revoked", client="other")
        assert sorted(await others.whats(2)) == ["A client was revoked", *urls("b")]
        assert await refused.whats(1) == urls("c")
        await add(admin, "d")
        while Place.parse(others.place).requests < await admin.gateway.store.requests.latest():
            assert (await others.event()).comment == "here"


async def test_a_place_from_another_store_is_no_reason_to_stay_silent(admin):
    async with reading(admin, place=f"{10**17}.{10**17}") as tail:
        await tail.event()
        await add(admin, "one")
        assert await tail.whats(1) == urls("one")


async def test_hostile_words_make_no_event_of_their_own(admin):
    async with reading(admin) as tail:
        await tail.event()
        for words in [*HOSTILE, "x\n\nevent: end\ndata: signed-out\n\n", "\r\rdata: {}\r\r"]:
            row = request_row(words, method=words, client=words, code=words, connection=words)
            await admin.gateway.store.requests.add_many([row])
            event = await tail.told()
            (entry,) = event.told["entries"]
            assert [entry[name] for name in ("what", "method", "client", "code", "connection")] == [words] * 5
            assert event.event == "message"


async def test_whoever_doesnt_ask_for_a_stream_isnt_given_one(admin):
    answer = await admin.get("/activity/stream", headers={"Accept": "text/html"})
    assert answer.status == 406
    assert "The page at /activity reads it." in answer.text
    assert (await admin.request("HEAD", "/activity/stream", headers={"Accept": "text/event-stream"})).status == 405


# How it ends.


async def test_it_ends_when_its_session_is_signed_out(admin):
    async with reading(admin) as tail:
        await tail.event()
        token = form_token(await admin.get("/"))
        await admin.request("POST", "/sign-out", data={"form_token": token})
        assert await tail.ended() == "signed-out"


async def test_it_ends_when_its_session_is_signed_out_at_another_server(admin):
    async with reading(admin) as tail:
        await tail.event()
        cookie = next(one.value for one in admin._session.cookie_jar)
        sessions = next(value for key, value in admin.server._runner.app.items() if key._name.endswith("sessions"))
        request = type("Request", (), {"cookies": {sessions.cookie: cookie}})()
        await Ended(admin.gateway.store.meta, admin.gateway.clock).add(sessions.read(request))
        assert await tail.ended() == "signed-out"


async def test_it_ends_with_its_session(admin):
    async with reading(admin) as tail:
        await tail.event()
        admin.gateway.now += LIFETIME
        assert await tail.ended() == "signed-out"


async def test_a_session_that_cannot_be_asked_about_is_not_believed(admin):
    async def away(_name):
        raise StoreError(Refusal(code="overloaded", detail="The store can't be reached."))

    async with reading(admin) as tail:
        await tail.event()
        admin.gateway.store.meta.get = away
        assert await tail.ended() == "again"


async def test_a_store_that_is_away_for_a_while_loses_nothing(admin):
    async def away(**_wanted):
        looked.set()
        raise StoreError(Refusal(code="overloaded", detail="The store can't be reached."))

    looked = asyncio.Event()
    async with reading(admin) as tail:
        await tail.event()
        there, admin.gateway.store.requests.list = admin.gateway.store.requests.list, away
        await add(admin, "meanwhile")
        async with asyncio.timeout(PATIENCE):
            await looked.wait()
        admin.gateway.store.requests.list = there
        assert await tail.whats(1) == urls("meanwhile")


async def test_nobody_is_waited_for_when_the_server_stops(tmp_path):
    """Neither a reader who takes everything, nor one who takes nothing."""
    async with signed_in(tmp_path) as web, reading(web) as tail, stuck(web):
        await tail.event()
        async with asyncio.timeout(PATIENCE):
            await web.server.stop(600.0)
        assert await tail.ended() == "again"


async def test_who_takes_nothing_is_let_go_of_and_its_place_is_free(tmp_path):
    async with signed_in(tmp_path, stalled=0.1) as web, stuck(web), asyncio.timeout(PATIENCE):
        while tail_of(web)._listeners:
            await tail_of(web).look()


@asynccontextmanager
async def stuck(web: Web):
    """Open a stream that is never read, and fill all that lies between."""
    host, port = web.server.addresses[0]
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        wire.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(wire, (host, port))
        head = f"GET /activity/stream HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n"
        cookie = await _admins_cookie(web)
        session = cookie.split(".")[1]
        await loop.sock_sendall(wire, f"{head}Cookie: {cookie}\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            listener = None
            while listener is None:
                await tail_of(web).look()  # until the request has arrived
                listener = next((one for one in tail_of(web)._listeners if one.session == session), None)
            number = 10**6
            while listener._abort is None or not listener._waiting:
                rows = tuple(request_row("x" * 4_000, id=number + n) for n in range(A_LOOK))
                number += A_LOOK
                listener.offer(News(entries=rows, place=Place(requests=number, events=0)), most=A_LOOK)
                listener.wake()
                await asyncio.sleep(0)
        yield


# How much.


async def test_a_session_has_so_many_streams_and_all_together_so_many(tmp_path):
    async with signed_in(tmp_path, streams=3, streams_each=2, heartbeat=1e9) as web:
        headers = {"Accept": "text/event-stream"}
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await (await stack.enter_async_context(reading(web))).event()
            answer = await web.get("/activity/stream", headers=headers)
            assert (answer.status, answer.headers["Retry-After"]) == (429, "5")
            assert "2 pages of this session follow what happens already. Close one of them." in " ".join(
                answer.text.replace("<p>", " ").replace("</p>", " ").split()
            )
            web.forget_cookies()
            await sign_in(web)
            third = await stack.enter_async_context(reading(web))
            await third.event()
            answer = await web.get("/activity/stream", headers=headers)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        async with asyncio.timeout(PATIENCE):
            while tail_of(web)._listeners:
                await tail_of(web).look()
        async with reading(web) as tail:
            assert (await tail.event()).comment == "here"


async def test_the_store_is_read_only_while_somebody_listens_and_once_for_everybody(admin):
    reads = 0
    there = admin.gateway.store.requests.list

    async def counted(**wanted):
        nonlocal reads
        reads += 1
        return await there(**wanted)

    tail = tail_of(admin)
    assert tail._looking is None
    async with reading(admin) as one, reading(admin) as other:
        await one.event()
        await other.event()
        looking = tail._looking
        looking.cancel()  # so that the looks are counted
        admin.gateway.store.requests.list = counted
        await tail.look()
        assert reads == 1
    tail._looking = asyncio.create_task(tail._keep_looking())
    async with asyncio.timeout(PATIENCE):
        await tail._looking
    assert (tail._looking, tail._place) == (None, None)


async def test_of_a_busy_second_the_newest_are_shown_and_how_many_were_not(admin):
    async with reading(admin) as tail:
        await tail.event()
        await add(admin, *map(str, range(A_LOOK + 7)))
        event = await tail.told()
        assert event.whats == urls(*map(str, range(7, A_LOOK + 7)))
        assert event.told["left_out"] == "Up to 7 more came at this moment, faster than this page reads."


async def test_a_filter_is_looked_through_the_newest_thousand_for(admin):
    async with reading(admin, "app=crm") as tail:
        await tail.event()
        await admin.gateway.store.requests.add_many(
            [
                request_row(f"https://a.test/{number}", app="crm" if number < A_LOOK + 7 else "hub")
                for number in range(1_000)
            ]
        )
        event = await tail.told()
        assert event.whats == urls(*map(str, range(7, A_LOOK + 7)))
        assert event.told["left_out"] == "7 more came at this moment, and aren't shown."
        await add(admin, *map(str, range(1_500)))
        event = await tail.told()
        assert event.whats == urls(*map(str, range(1_500 - A_LOOK, 1_500)))
        assert event.told["left_out"] == "Up to 1450 more came at this moment, faster than this page reads."


async def test_who_was_away_for_long_is_given_as_much_as_a_page_has(admin):
    async with reading(admin) as tail:
        await tail.event()
        place = tail.place
    await add(admin, *map(str, range(KEPT + 1)))
    async with reading(admin, place=place) as tail:
        event = await tail.told()
        assert event.whats == urls(*map(str, range(1, KEPT + 1)))
        assert event.told["left_out"] == "1 more came at this moment, and isn't shown."


def test_what_waits_for_a_slow_reader_is_bounded_and_it_is_told():
    listener = Listener(Wanted(), "s")
    listener.begin(Place(requests=0, events=0), News(entries=(), place=Place(requests=0, events=0)))
    for number in range(1, 1_001):
        row = request_row(f"https://a.test/{number}", id=number)
        listener.offer(News(entries=(row,), place=Place(requests=number, events=0)), most=A_LOOK)
    batch = listener.take()
    assert [entry.id for entry in batch.entries] == list(range(1_001 - KEPT, 1_001))
    assert (batch.left_out, batch.place) == (1_000 - KEPT, Place(requests=1_000, events=0))
    assert listener.take().entries == ()


def test_what_is_offered_while_a_listener_begins_is_not_lost_and_not_doubled():
    listener = Listener(Wanted(), "s")
    rows = [request_row(f"https://a.test/{number}", id=number) for number in range(1, 7)]
    listener.offer(News(entries=(rows[3],), place=Place(requests=4, events=0), skipped=2), most=A_LOOK)
    listener.offer(News(entries=tuple(rows[2:5]), place=Place(requests=5, events=0)), most=A_LOOK)
    listener.begin(Place(requests=1, events=0), News(entries=tuple(rows[1:4]), place=Place(requests=4, events=0)))
    listener.offer(News(entries=tuple(rows[5:]), place=Place(requests=6, events=0)), most=A_LOOK)
    batch = listener.take()
    assert [entry.id for entry in batch.entries] == [2, 3, 4, 5, 6]
    assert (batch.left_out, batch.skipped) == (0, 0)
