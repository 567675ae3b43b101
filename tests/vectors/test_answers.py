"""A hostile service: its caller sees one answer to one request, and so does the next caller on the same connection id.

The service's bytes are the answer to one request; all that it is asked besides is answered plainly, with the target.
So whoever gets anything but its own target has been given somebody else's answer.
"""

import asyncio
import contextlib
from pathlib import Path

import pytest

from gateway.errors import PROBLEMS
from tests.proxy.harness import Caller, Gateway
from tests.vectors.cases import ENTRANCES, AnswerCase, answer_cases
from tests.vectors.recorder import Connection, Recorder, echo
from tests.vectors.speaking import Speaker, all_of, recorded
from tests.vectors.strict import Message, Unclear, read_answer

_PATIENCE = 5.0  # seconds; only a fault waits that long


class Hostile:
    """Tries answers through one entrance; `faults` says what didn't hold."""

    def __init__(self, gateway: Gateway, service: Recorder, entrance: str) -> None:
        self._service, self._speaker = service, Speaker(gateway, entrance)
        self._case: AnswerCase | None = None
        self._on: Connection | None = None
        self.tried = 0
        self.faults: list[str] = []
        service.answer = self._answer

    async def hear(self, case: AnswerCase) -> None:
        """Let three requests be answered: the first by the case, on one connection with the second."""
        self.tried += 1
        self._case = case
        path = f"/v1/{self.tried}"
        first, last = await self._speaker.open(), await self._speaker.open()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._judge(case, path, first, last)
        except (AssertionError, Unclear, TimeoutError) as fault:
            self.faults.append(f"{case.name}: {fault or type(fault).__name__}")
        finally:
            await first.close()
            await last.close()

    async def _judge(self, case: AnswerCase, path: str, first: Caller, last: Caller) -> None:
        await first.send(self._speaker.request(path + "/hostile", case.method))
        received = await _answered(first, case.method)
        closes = self._judge_first(case, received)
        if case.later:
            assert self._on is not None
            self._on.send(case.later.encode("latin-1"))
        if not closes:
            await first.send(self._speaker.request(path + "/second"))
            _is_echo(await _answered(first, "GET"), path + "/second")
        await last.send(self._speaker.request(path + "/third", fields=b"Connection: close\r\n"))
        _is_echo(await all_of(last), path + "/third")

    def _judge_first(self, case: AnswerCase, received: bytes) -> bool:
        """Judge what the first caller got. Return whether its connection is at its end."""
        assert b"evil" not in received, f"the caller sees {received!r}"
        answer = _final(received, case.method)
        if case.cut:
            assert answer is None, f"a cut answer looks whole: {received!r}"
            return True
        assert answer is not None, f"there is no whole answer in {received!r}"
        assert answer.end == len(received), f"behind the answer comes {received[answer.end :]!r}"
        if case.code:
            assert answer.start == (str(PROBLEMS[case.code].status),), received
            assert f'details="{case.code}"' in "".join(answer.all("proxy-status")), received
        else:
            assert answer.start == (str(case.status),), received
            assert answer.content.decode("latin-1") == case.sees, received
        return answer.all("connection") == ["close"]

    def _answer(self, request: Message, connection: Connection) -> bytes | None:
        if not request.start[1].endswith("/hostile"):
            return echo(request)
        assert self._case is not None
        self._on = connection
        connection.send(self._case.send.encode("latin-1"))
        if self._case.closes:
            connection.close()
        return None


def _final(received: bytes, method: str) -> Message | None:
    answer = read_answer(received, method=method)
    while answer is not None and answer.start[0].startswith("1"):
        assert answer.start != ("101",), "it switched protocols"
        answer = read_answer(received, answer.end, method=method)
    return answer


async def _answered(caller: Caller, method: str) -> bytes:
    """What comes until there is one whole answer, or no more; what came before a reset counts."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while _final(received, method) is None and (piece := await caller.reader.read(1 << 16)):
            received += piece
    return received


def _is_echo(received: bytes, target: str) -> None:
    answer = _final(received, "GET")
    assert answer is not None, f"{target} got {received!r}"
    assert answer.content == target.encode(), f"{target} got the answer {received!r}"
    assert answer.end == len(received), f"behind the answer to {target} comes {received[answer.end :]!r}"


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_whatever_a_service_sends_each_request_has_one_answer_and_it_is_its_own(
    tmp_path: Path, entrance: str
) -> None:
    async with recorded(tmp_path) as (gateway, service):
        hostile = Hostile(gateway, service, entrance)
        for case in answer_cases("smuggling"):
            await hostile.hear(case)
    assert not hostile.faults, f"{len(hostile.faults)} of {hostile.tried}:\n" + "\n".join(hostile.faults)
    assert hostile.tried >= 110


EARLY = {
    "by its length": (b"Content-Length: 60\r\n", b"", b""),
    "in chunks": (b"Transfer-Encoding: chunked\r\n", b"3c\r\n", b"\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("framing", EARLY)
@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_content_that_comes_behind_an_early_answer_is_content_still(
    tmp_path: Path, entrance: str, framing: str
) -> None:
    """A service that answers a head alone, and a caller whose content is then a request: it is nobody's request."""
    fields, before, behind = EARLY[framing]
    early = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with recorded(tmp_path) as (gateway, service):
        speaker = Speaker(gateway, entrance)
        caller = await speaker.open()
        await caller.send(speaker.request("/v1/early", "POST", fields))
        async with asyncio.timeout(_PATIENCE):
            await service.heard.wait()
        service.connections[0].send(early)
        answer = _final(await _answered(caller, "POST"), "POST")
        assert answer is not None
        assert answer.content == b"ok"
        assert answer.all("connection") == ["close"]
        smuggled = speaker.request("/v1/smuggled")
        await caller.send(before + smuggled[:60].ljust(60) + behind + smuggled)
        assert await all_of(caller) == b""
        await caller.close()
    assert service.requests == []
    assert b"smuggled" not in b"".join(connection.data for connection in service.connections)
