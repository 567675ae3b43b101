"""The judge of requests: what arrived is what was decided, no more and no other, and the caller knows how it ended."""

import asyncio

from gateway.errors import PROBLEMS
from tests.proxy.harness import Caller, Gateway
from tests.vectors.cases import RequestCase
from tests.vectors.recorder import Recorder
from tests.vectors.speaking import SECRET, Speaker, all_of
from tests.vectors.strict import Message, Unclear, read_answer

_PATIENCE = 5.0  # seconds; only a fault waits that long
_LAST = b"Connection: close\r\n"
_ENDS_HERE = ("proxy-", "x-api-key", "x-connection-id", "te", "trailer", "keep-alive", "connection")


class Judge:
    """Tries cases through one entrance, one after the other, on one gateway; `faults` says what didn't hold."""

    def __init__(self, gateway: Gateway, service: Recorder, entrance: str) -> None:
        self._service, self._speaker = service, Speaker(gateway, entrance)
        self._tried = 0
        self._partly: dict[str, RequestCase] = {}
        self.faults: list[str] = []

    async def hear(self, case: RequestCase, *, in_two: bool = False) -> None:
        """Send a case at once, or its head first and the rest when something of it has been heard."""
        self._tried += 1
        path = f"/v1/{self._tried}"
        before = len(self._service.requests)
        caller = await self._speaker.open()
        try:
            received = await self._send(case, path, caller, in_two=in_two)
            arrived = self._service.requests[before:]
            self._judge(case, path, arrived, received)
            if len(arrived) == 0:
                self._partly[path] = case
        except (AssertionError, Unclear, TimeoutError) as fault:
            self.faults.append(f"{case.name}{' (in two)' if in_two else ''}: {fault or type(fault).__name__}")
        finally:
            await caller.close()
        self._service.unclear.clear()

    def close(self) -> int:
        """Judge what came upstream and never became a request, once all is closed. Return how many were tried."""
        for connection in self._service.connections:
            rest = connection.data[connection.read :]
            target = rest.split(b" ", 2)[1].decode("latin-1") if rest.count(b" ") > 1 else "?"
            case = self._partly.get(target.partition("?")[0])
            if rest and (case is None or not (case.late or case.cut)):
                self.faults.append(f"{case.name if case else 'something'}: {rest[:200]!r} is a part of a request")
            if b"/follower" in rest:
                self.faults.append(f"{case.name if case else 'something'}: the follower went along: {rest!r}")
        return self._tried

    async def _send(self, case: RequestCase, path: str, caller: Caller, *, in_two: bool) -> bytes:
        speaker = self._speaker
        words = speaker.words(path)
        head, rest = case.head(words), case.rest(words)
        follower = b"" if case.cut else speaker.request(path + "/follower", fields=_LAST)
        if in_two:
            self._service.heard.clear()
            await caller.send(head)
            await asyncio.wait_for(self._service.heard.wait(), _PATIENCE)
            await caller.send(rest + follower)
        else:
            await caller.send(head + rest + follower)
        if case.cut:
            caller.writer.write_eof()
        return await asyncio.wait_for(all_of(caller), _PATIENCE)

    def _judge(self, case: RequestCase, path: str, arrived: list[Message], received: bytes) -> None:
        assert not self._service.unclear, f"what arrived is unclear: {self._service.unclear}"
        expected = self._expected(case, path)
        found = [(*message.start, message.content.decode("latin-1")) for message in arrived]
        assert found == expected, f"{found} arrived, not {expected}; the caller got {received[:300]!r}"
        for message in arrived:
            self._judge_fields(message)
        if case.field is not None:
            assert case.field[1] in arrived[0].all(case.field[0].lower()), f"{case.field} is not in {arrived[0].fields}"
        if case.lacks:
            assert not arrived[0].all(case.lacks.lower()), f"{case.lacks} is in {arrived[0].fields}"
        if not case.cut:
            self._judge_answers(case, received, expected)

    def _expected(self, case: RequestCase, path: str) -> list[tuple[str, str, str]]:
        expected = []
        if case.reads is not None:
            target, content = case.read()
            expected.append((case.method, path + target, content))
            for also in case.also:
                method, below, content = also.split(" ", 2)
                expected.append((method, path + below, content))
        if case.goes_on or (not case.refused_with and not case.cut and case.code is None):
            expected.append(("GET", path + "/follower", ""))
        return expected

    def _judge_fields(self, message: Message) -> None:
        assert message.all("host") == [self._speaker.authority], f"Host is {message.all('host')}"
        assert message.all("authorization") == [f"Bearer {SECRET}"], f"Authorization is {message.all('authorization')}"
        upgraded = bool(message.all("upgrade"))
        for name, _ in message.fields:
            ends = name.lower().startswith(_ENDS_HERE) and not (upgraded and name.lower() == "connection")
            assert not ends, f"{name} went along"

    def _judge_answers(self, case: RequestCase, received: bytes, expected: list[tuple[str, str, str]]) -> None:
        """One answer for each request, in their order, ours where one is refused, and nothing behind the last."""
        seen = [(method, target) for method, target, _ in expected]
        if case.refused_with:
            at = len(seen) - 1 if case.goes_on else len(seen)
            seen.insert(at, (case.method if case.goes_on else "GET", case.refused_with))
        at = 0
        for method, what in seen:
            answer = read_answer(received, at, method=method)
            while answer is not None and answer.start[0].startswith("1"):
                answer = read_answer(received, answer.end, method=method)
            assert answer is not None, f"an answer is missing: {received!r}"
            at = answer.end
            if what.startswith("/"):
                assert answer.start == ("200",), f"{what} was answered {answer.start[0]}"
                assert method == "HEAD" or answer.content == what.encode(), f"{what} got {answer.content!r}"
            else:
                said = "".join(answer.all("proxy-status"))
                assert answer.start == (str(PROBLEMS[what].status),), f"{answer.start[0]}, {said}, not {what}"
                assert f'details="{what}"' in said, f"{said}, not {what}"
                assert case.goes_on or answer.all("connection") == ["close"], "the connection isn't said to close"
        assert at == len(received), f"behind its answers the caller got {received[at:]!r}"
