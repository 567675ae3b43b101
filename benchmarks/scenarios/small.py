"""Small JSON answers over plain HTTP: the same request again and again, requests that all differ, and the entrances."""

from dataclasses import replace
from functools import partial

from benchmarks.bench import PATH, SOURCES, TOKEN, Bench
from benchmarks.contenders import Running, fields_of, prove
from benchmarks.figures import Outcome, Sample
from benchmarks.gateway_under_test import gateway
from benchmarks.goals import Goal
from benchmarks.peers import peer
from benchmarks.rounds import Start, in_turn, one_process, under_load
from benchmarks.scenarios.scenario import HTTP, Scenario
from benchmarks.wrk import Load

# Everything that differs is of the same length, so that each contender reads requests of one size. The counter walks
# through all numbers of ten digits: no two requests of a sample are alike.
VARIED = """
local format, fields, count, step = string.format, wrk.headers, 0, 7368787
request = function()
  count = (count + step) % 10000000000
  fields["X-Request-Id"] = format("%010.0f-bench-%010.0f", count, 9999999999 - count)
  return wrk.format("GET", format("{origin}/varied/users/%010.0f/orders?page=%03d&after=%010.0f", count, count % 997, count), fields)
end
"""  # noqa: E501 - a line of Lua


INTERPRETED = "gateway, interpreted"


def start(name: str, bench: Bench) -> Start:
    """Return what starts a contender: the gateway, the same from its sources, or a peer."""
    if name == "gateway":
        return partial(gateway, bench.home, bench.work)
    if name == INTERPRETED:
        return partial(gateway, replace(bench.home, site=SOURCES), bench.work, name=name)
    return partial(peer, name, bench)


def _gateways(bench: Bench) -> tuple[str, ...]:
    return ("gateway",) if bench.site == SOURCES else ("gateway", INTERPRETED)


def _small(bench: Bench) -> Outcome:
    target = bench.origin + PATH

    def measure(one: Running, seconds: int) -> Sample:
        return under_load(one, Load(target=target, headers=one.headers), seconds=seconds, bench=bench)

    names = (*_gateways(bench), "nginx", "envoy", "squid", "proxy.py", "mitmproxy")
    return in_turn(bench, {name: start(name, bench) for name in names}, lambda one: prove(one, target, TOKEN), measure)


def _varied(bench: Bench) -> Outcome:
    script = VARIED.format(origin=bench.origin)

    def measure(one: Running, seconds: int) -> Sample:
        load = Load(target=f"{bench.origin}/varied/", headers=one.headers, script=script)
        return under_load(one, load, seconds=seconds, bench=bench)

    starts = {name: start(name, bench) for name in (*_gateways(bench), "nginx", "envoy")}
    return in_turn(bench, starts, lambda one: prove(one, f"{bench.origin}/varied/users/1", TOKEN), measure)


def _path(bench: Bench) -> Outcome:
    """One gateway, asked in three ways."""
    entrances = {
        "absolute-form": bench.origin + PATH,
        "path-style": f"/c/bench/{bench.origin}{PATH}",
        "relative": f"/c/bench{PATH}",
    }

    def headers(one: Running) -> tuple[str, ...]:
        return one.headers if one.name == "absolute-form" else (f"Authorization: Bearer {bench.home.token}",)

    def check(one: Running) -> None:
        prove(one, entrances[one.name], TOKEN, fields=fields_of(headers(one)))

    def measure(one: Running, seconds: int) -> Sample:
        load = Load(target=entrances[one.name], headers=headers(one))
        return under_load(one, load, seconds=seconds, bench=bench)

    return one_process(bench, start("gateway", bench), list(entrances), check, measure)


SMALL = Scenario(
    name="small",
    what="a small JSON answer, absolute-form, 32 connections; the gateway with all its checks and its access log",
    columns=HTTP,
    plot="cpu_us",
    run=_small,
    goals=(
        Goal(text="CPU per request, of Envoy's", key="cpu_us", against="envoy", at_most=0.8),
        Goal(text="CPU per request, of Squid's", key="cpu_us", against="squid", at_most=0.65),
        Goal(text="CPU per request, of mitmproxy's", key="cpu_us", against="mitmproxy", at_most=1 / 25, digits=3),
    ),
)
VARIED_SCENARIO = Scenario(
    name="varied",
    what="the same with another path, query and request id in each request, and answers whose fields differ",
    columns=HTTP,
    plot="cpu_us",
    run=_varied,
    goals=(Goal(text="CPU per request, of Envoy's", key="cpu_us", against="envoy", at_most=0.8),),
)
PATH_SCENARIO = Scenario(
    name="path",
    what="small, path-style: with the whole URL in the path, and relative to the policy's base_url",
    columns=HTTP,
    run=_path,
    goals=(
        Goal(
            text="whole URL, of absolute-form",
            key="cpu_us",
            of="path-style",
            against="absolute-form",
            at_most=1.1,
            digits=3,
        ),
        Goal(
            text="relative, of absolute-form",
            key="cpu_us",
            of="relative",
            against="absolute-form",
            at_most=1.1,
            digits=3,
        ),
    ),
)
