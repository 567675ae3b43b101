"""The other proxies: each started with its own configuration from `peers/`, on the proxies' processor.

They check next to nothing and set one header. Their callers send a Proxy-Authorization too, of the gateway's size.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench import HERE, TOKEN, Bench
from benchmarks.contenders import Running
from benchmarks.gateway_under_test import basic
from benchmarks.install import find
from benchmarks.ports import free_port
from benchmarks.processes import running

PEERS = ("nginx", "envoy", "squid", "proxy.py", "mitmproxy")
TAG = basic("bench", "gwc_" + "x" * 43)
_VERSION = re.compile(r"\d+\.\d+[\w.]*")


class Absent(Exception):
    """A peer that isn't installed here."""


@contextmanager
def peer(name: str, bench: Bench) -> Iterator[Running]:
    """Start a peer. Raises `Absent`, `Refused`."""
    program = find(name)
    if program is None:
        raise Absent(name)
    port = free_port()
    arguments, env = _command(name, program, port, bench)
    log = bench.work / f"{name}.log"
    ca = bench.work / "mitmproxy" / "mitmproxy-ca-cert.pem" if name == "mitmproxy" else None
    with running(arguments, env={"BENCH_TOKEN": TOKEN, **env}, log=log, ready=port) as process:
        yield Running(name=name, port=port, pid=process.pid, headers=(TAG,), version=version(name, program), ca=ca)


def _command(name: str, program: Path, port: int, bench: Bench) -> tuple[Sequence[str], Mapping[str, str]]:
    start = str(program)
    match name:
        case "nginx":
            return [start, "-p", str(bench.work), "-c", str(bench.render("nginx.conf", port=port))], {}
        case "envoy":
            conf = str(bench.render("envoy.yaml", port=port))
            return [start, "-c", conf, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"], {}
        case "squid":
            return [start, "-N", "-f", str(bench.render("squid.conf", port=port))], {}
        case "proxy.py":
            listen = ["--hostname", "127.0.0.1", "--port", str(port), "--num-workers", "1", "--num-acceptors", "1"]
            plugin = ["--plugins", "proxy_py_plugin.Inject", "--log-level", "ERROR"]
            return [start, *listen, *plugin], {"PYTHONPATH": str(HERE / "peers")}
        case _:
            return [start, *_mitmproxy(port, bench)], {}


def _mitmproxy(port: int, bench: Bench) -> list[str]:
    # `lazy` and no look at upstream's certificate: a handshake with a caller costs none with upstream.
    options = {
        "confdir": bench.work / "mitmproxy",
        "flow_detail": "0",
        "ssl_verify_upstream_trusted_ca": bench.ca,
        "connection_strategy": "lazy",
        "upstream_cert": "false",
    }
    settings = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    addon = str(HERE / "peers" / "mitmproxy_addon.py")
    return ["-q", "--listen-host", "127.0.0.1", "-p", str(port), "-s", addon, *settings]


def version(name: str, program: Path) -> str:
    """Return a program's version as it says it."""
    flag = {"nginx": "-v", "squid": "-v", "wrk": "-v"}.get(name, "--version")
    done = subprocess.run([str(program), flag], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "?"
