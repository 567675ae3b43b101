"""wrk as the load: one thread on the load's processor, keep-alive connections, each sending as fast as answers come."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.install import find
from benchmarks.processes import LOAD_CPU, Refused, pinned

GRACE = 60
_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('OUTCOME {"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"failures":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What wrk does. `script` may define `init` and `request`, which then make each request."""

    target: str
    headers: Sequence[str]
    connections: int = 32
    method: str = "GET"
    body_bytes: int = 0
    body: str = ""
    script: str = ""
    cpus: Sequence[int] = (LOAD_CPU,)


@dataclass(frozen=True, kw_only=True)
class Driven:
    """What came back: whole answers, seconds, latencies in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float


def quoted(text: str) -> str:
    """Return a Lua string."""
    plain = (c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\{ord(c):03d}" for c in text)
    return f'"{"".join(plain)}"'


def script_of(load: Load) -> str:
    """Return the whole Lua program."""
    host = load.target.split("/")[2] if load.target.startswith("http") else "127.0.0.1"
    fields = {"Host": host, "User-Agent": "wrk", "Accept": "*/*"}
    fields |= dict(line.split(": ", 1) for line in load.headers)
    lines = [f"wrk.method = {quoted(load.method)}", f"wrk.path = {quoted(load.target)}"]
    lines += [f"wrk.headers[{quoted(name)}] = {quoted(value)}" for name, value in fields.items()]
    if load.body_bytes:
        lines.append(f'wrk.body = string.rep("x", {load.body_bytes})')
    elif load.body:
        lines.append(f"wrk.body = {quoted(load.body)}")
    return "\n".join([*lines, load.script, _DONE])


def drive(port: int, load: Load, *, seconds: int, work: Path) -> Driven:
    """Send for so many seconds. Raises `Refused` if one request failed."""
    file = work / f"load-{port}.lua"
    file.write_text(script_of(load))
    command = [str(find("wrk")), "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(file)]
    try:
        done = subprocess.run(
            pinned([*command, f"http://127.0.0.1:{port}"], load.cpus),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + GRACE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"wrk was not done {GRACE} s after its time") from None
    said = next((line for line in done.stdout.splitlines() if line.startswith("OUTCOME ")), None)
    if said is None:
        raise Refused(f"wrk said nothing: {(done.stderr or done.stdout)[-300:]}")
    found = json.loads(said.removeprefix("OUTCOME "))
    if found["failures"] or not found["requests"]:
        raise Refused(f"{found['failures']} of {found['requests']} requests failed under load")
    return Driven(
        requests=found["requests"],
        seconds=found["us"] / 1e6,
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
    )
