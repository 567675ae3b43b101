"""A proxy that runs, and the proof that it does what is measured.

The proof: a caller that sends an Authorization of its own is answered 200, and upstream saw the injected one instead.
During the load upstream answers 401 to everything else, and one such answer refuses the contender as well.
"""

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Refused


@dataclass(frozen=True, kw_only=True)
class Running:
    """A contender: where it listens, the process to measure, and the fields that its callers send.

    `ca` is the authority of its interception, `start_seconds` how long it took until it was ready, `web` its
    pages' port.
    """

    name: str
    port: int
    pid: int
    headers: tuple[str, ...] = ()
    version: str = ""
    log: Path | None = None
    start_seconds: float = 0.0
    ca: Path | None = None
    web: int = 0

    def shorten_log(self) -> None:
        """Empty its log: a minute of requests is a hundred megabytes."""
        if self.log is not None:
            with self.log.open("r+b") as file:
                file.truncate()


def fields_of(lines: Iterable[str]) -> dict[str, str]:
    """Return header fields by name."""
    return dict(line.split(": ", 1) for line in lines)


def prove(one: Running, target: str, token: str, *, fields: Mapping[str, str] | None = None, body: str = "") -> None:
    """Ask once, as a caller would, with the contender's fields or others.

    Raises `Refused` unless upstream saw exactly the injected Authorization.
    """
    host = target.split("/")[2] if target.startswith("http") else f"127.0.0.1:{one.port}"
    own = fields_of(one.headers) if fields is None else fields
    sent = {"Host": host, "Authorization": "Bearer the-callers-own", **own}
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=10)
    try:
        connection.putrequest("POST" if body else "GET", target, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body.encode() if body else None)
        answer = connection.getresponse()
        status, said = answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Refused(f"no answer: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    judge(status, said, token)


def judge(status: int, said: bytes, token: str) -> None:
    """Raise `Refused` unless this answer shows the injection."""
    if status != 200:
        raise Refused(f"it answers {status}: {said[:200].decode(errors='replace')}")
    try:
        saw = json.loads(said)["saw"]
    except (ValueError, KeyError, TypeError):
        raise Refused(f"the answer isn't upstream's: {said[:200].decode(errors='replace')}") from None
    if saw != f"Bearer {token}":
        raise Refused(f"upstream saw the Authorization {saw!r}, not the injected one")
