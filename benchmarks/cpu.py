"""CPU time for each proxied request, beside whichever of nginx and Envoy are installed, in turn in one run.

    python benchmarks/cpu.py [--rounds 3] [--seconds 3] [--connections 32]

Each contender is on the first CPU, the callers and the service on the last. The figure is the CPU time of the
contender's process and its children, from /proc, over the answers it gave: it moves far less with a busy machine than
requests per second do. Whoever doesn't inject exactly the token, or answers anything but 200, is not measured and the
run fails.
The gateway runs as it comes, access log included. nginx and Envoy do less: they set one header, check nothing, write
no log.
"""

import argparse
import base64
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from load import drive

HERE = Path(__file__).parent
TOKEN = "tok_abcdefghijklmnop"
TICK = os.sysconf("SC_CLK_TCK")
CPUS = sorted(os.sched_getaffinity(0))
PATH = "/v1/users/42?page=2"

POLICY = """
name = "Bench"
[allow]
urls = ["http://127.0.0.1:{upstream}"]
[[fields]]
name = "api_key"
secret = true
[auth]
grant = "api_key"
[inject.headers]
Authorization = "Bearer {{{{ api_key }}}}"
"""

NGINX = """
daemon off; master_process off; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    upstream service {{ server 127.0.0.1:{upstream}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 1000000000;
        location / {{
            proxy_pass http://service;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Proxy-Authorization "";
            proxy_set_header Authorization "Bearer {token}";
        }}
    }}
}}
"""

ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: callers
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: every
              domains: ["*"]
              request_headers_to_remove: [proxy-authorization]
              request_headers_to_add:
              - header: {{key: authorization, value: "Bearer {token}"}}
                append_action: OVERWRITE_IF_EXISTS_OR_ADD
              routes: [{{match: {{prefix: /}}, route: {{cluster: service}}}}]
  clusters:
  - name: service
    load_assignment:
      cluster_name: service
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}}}
"""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A running proxy."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    request: bytes


def main() -> int:
    """Measure, print the table, and return the exit status."""
    options = _options()
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        upstream = _free_port()
        stack.enter_context(
            _running([sys.executable, str(HERE / "upstream.py"), str(upstream), TOKEN], CPUS[-1], upstream)
        )
        contenders = [stack.enter_context(one) for one in _contenders(work, upstream)]
        os.sched_setaffinity(0, {CPUS[-1]})
        samples: dict[str, list[tuple[float, float]]] = {one.name: [] for one in contenders}
        for number in range(options.rounds + 1):
            for one in contenders:
                sample = _measure(one, options.connections, options.seconds if number else 0.5)
                if sample is None:
                    print(f"{one.name}: an answer was no 200, or a connection ended; nothing is measured")
                    return 1
                if number:  # the first round only warms up
                    samples[one.name].append(sample)
        _show(contenders, samples)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="CPU time for each proxied request.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=32)
    return parser.parse_args()


def _contenders(work: Path, upstream: int) -> list[contextlib.AbstractContextManager[Contender]]:
    found = [_gateway(work, upstream)]
    if shutil.which("nginx"):
        found.append(_peer("nginx", NGINX, ["nginx", "-p", str(work), "-c"], work, upstream))
    if shutil.which("envoy"):
        found.append(
            _peer("envoy", ENVOY, ["envoy", "--concurrency", "1", "--log-level", "error", "-c"], work, upstream)
        )
    return found


@contextlib.contextmanager
def _gateway(work: Path, upstream: int) -> Iterator[Contender]:
    (work / "policies").mkdir()
    (work / "policies" / "bench.toml").write_text(POLICY.format(upstream=upstream))
    (work / "key").write_text(TOKEN)
    port, web = _free_port(), _free_port()
    env = {
        "GATEWAY_DATA_DIR": str(work / "data"),
        "GATEWAY_POLICIES_DIR": str(work / "policies"),
        "GATEWAY_PROXY__LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_WEB__LISTEN": f"127.0.0.1:{web}",
        "GATEWAY_EGRESS__ALLOW_NETWORKS": "127.0.0.0/8",
    }
    _cli(work, env, "connect", "bench", "--id", "bench", "--secret", f"api_key=@{work}/key")
    token = _cli(work, env, "clients", "create", "bench", "--connection", "bench")
    tag = base64.b64encode(b"bench:" + token.strip()).decode()
    request = _request(upstream, tag, absolute=True)
    with _running([sys.executable, "-m", "gateway", "serve"], CPUS[0], port, env=env) as process:
        yield Contender(name="gateway", process=process, port=port, request=request)


def _cli(work: Path, env: dict[str, str], *arguments: str) -> bytes:
    command = [sys.executable, "-m", "gateway", *arguments]
    run = subprocess.run(
        command, env=_clean() | env, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True
    )
    return run.stdout


@contextlib.contextmanager
def _peer(name: str, configuration: str, command: list[str], work: Path, upstream: int) -> Iterator[Contender]:
    port = _free_port()
    file = work / (f"{name}.yaml" if name == "envoy" else f"{name}.conf")
    file.write_text(configuration.format(work=work, upstream=upstream, port=port, token=TOKEN))
    tag = base64.b64encode(b"bench:" + b"x" * 47).decode()  # so that everyone reads a request of one size
    with _running([*command, str(file)], CPUS[0], port) as process:
        yield Contender(name=name, process=process, port=port, request=_request(upstream, tag, absolute=False))


def _request(upstream: int, tag: str, *, absolute: bool) -> bytes:
    host = f"127.0.0.1:{upstream}"
    return (
        f"GET {f'http://{host}' if absolute else ''}{PATH} HTTP/1.1\r\nHost: {host}\r\n"
        "User-Agent: bench/1\r\nAccept: */*\r\n"
        f"Authorization: Bearer the-callers-own\r\nProxy-Authorization: Basic {tag}\r\n\r\n"
    ).encode()


@contextlib.contextmanager
def _running(
    command: list[str], cpu: int, port: int, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program on one CPU, wait until it listens, and end it with us. Its log goes to a file, as it would."""
    log = tempfile.TemporaryFile()  # noqa: SIM115 - ends with the process
    process = subprocess.Popen(
        ["taskset", "-c", str(cpu), *command],
        env=_clean() | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None:
                log.seek(0)
                said = log.read().decode(errors="replace")
                raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}: {said}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait()


def _clean() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if "proxy" not in name.lower() and not name.startswith("GATEWAY_")
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _measure(one: Contender, connections: int, seconds: float) -> tuple[float, float] | None:
    """Return CPU microseconds for each answer, and the median latency in milliseconds."""
    before = _cpu_seconds(one.process.pid)
    outcome = drive(one.port, one.request, connections=connections, seconds=seconds)
    spent = _cpu_seconds(one.process.pid) - before
    if outcome.failures or not outcome.latencies:
        return None
    return spent / len(outcome.latencies) * 1e6, statistics.median(outcome.latencies) * 1e3


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process and of all that it started."""
    text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(text[11]) + int(text[12])) / TICK + sum(_cpu_seconds(int(child)) for child in children)


def _show(contenders: list[Contender], samples: dict[str, list[tuple[float, float]]]) -> None:
    memory = {one.name: _resident(one.process.pid) for one in contenders}
    print(f"\n{'':10}{'CPU µs / request':>24}{'p50 ms':>10}{'MiB':>8}")
    for name, rounds in samples.items():
        costs = sorted(cost for cost, _ in rounds)
        spread = f"{statistics.median(costs):.1f} ({costs[0]:.1f} to {costs[-1]:.1f})"
        print(f"{name:10}{spread:>24}{statistics.median(latency for _, latency in rounds):>10.2f}{memory[name]:>8.0f}")


def _resident(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
