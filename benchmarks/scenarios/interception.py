"""TLS interception: requests in tunnels that stay open, and handshakes.

mitmproxy is the one peer that does it. Both sign a certificate of their own for the target; mitmproxy's is RSA, the
gateway's is ECDSA: that is a part of the difference, and each one's choice.
"""

from benchmarks.bench import TOKEN, Bench
from benchmarks.contenders import Running
from benchmarks.figures import Column, Outcome, Sample
from benchmarks.goals import Goal
from benchmarks.rounds import in_turn, with_cost
from benchmarks.scenarios.scenario import HTTP, OTHERS, Scenario
from benchmarks.scenarios.small import start
from benchmarks.tunnels import Inside, keep_asking, keep_shaking_hands, prove_inside

NAMES = ("gateway", "mitmproxy")


def _inside(bench: Bench) -> Inside:
    return Inside(authority=f"127.0.0.1:{bench.tls_port}", path="/v1/users/42?page=2")


def _tls(bench: Bench) -> Outcome:
    inside = _inside(bench)

    def measure(one: Running, seconds: int) -> Sample:
        return with_cost(one, lambda: keep_asking(one, inside, connections=32, seconds=seconds))[0]

    return in_turn(bench, {n: start(n, bench) for n in NAMES}, lambda one: prove_inside(one, inside, TOKEN), measure)


def _handshakes(bench: Bench) -> Outcome:
    inside = _inside(bench)

    def measure(one: Running, seconds: int) -> Sample:
        sample, _ = with_cost(one, lambda: keep_shaking_hands(one, inside, seconds=seconds))
        return {**sample, "per_cpu_s": 1e6 / sample["cpu_us"]}

    return in_turn(bench, {n: start(n, bench) for n in NAMES}, lambda one: prove_inside(one, inside, TOKEN), measure)


TLS = Scenario(
    name="tls",
    what="small through TLS interception: 32 tunnels that stay open, TLS to upstream as well",
    columns=HTTP,
    plot="cpu_us",
    run=_tls,
    goals=(Goal(text="CPU per request, of mitmproxy's", key="cpu_us", against="mitmproxy", at_most=1 / 12, digits=3),),
)
HANDSHAKES = Scenario(
    name="handshakes",
    what="CONNECT and a whole TLS handshake with the proxy, one after another; no request inside",
    columns=(
        Column(key="per_cpu_s", title="handshakes per CPU s", digits=0, spread=True),
        Column(key="cpu_us", title="CPU µs each", digits=0),
        Column(key="p50_ms", title="p50 ms", digits=2),
        Column(key="p99_ms", title="p99 ms", digits=2),
        OTHERS,
    ),
    plot="per_cpu_s",
    run=_handshakes,
    goals=(Goal(text="handshakes per CPU second, of mitmproxy's", key="per_cpu_s", against="mitmproxy", at_least=5),),
)
