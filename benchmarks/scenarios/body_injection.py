"""A JSON body that is rewritten: the same request through a policy with `[inject.body]` and through one without.

The gateway beside itself: no peer does this. Upstream answers 400 to a body in which the injected member isn't.
"""

import json

from benchmarks.bench import TOKEN, Bench
from benchmarks.contenders import Running, fields_of, prove
from benchmarks.figures import Outcome, Sample
from benchmarks.goals import Goal
from benchmarks.rounds import one_process, under_load
from benchmarks.scenarios.scenario import HTTP, Scenario
from benchmarks.scenarios.small import start
from benchmarks.wrk import Load

EXPECT = 'X-Expect: "injected":'
SIZE = 2048


def body() -> str:
    """Return an order of 2 KiB, as a program would send it."""
    rows = [{"sku": f"A-{number:05d}", "quantity": number % 9 + 1, "price": number * 1.25} for number in range(36)]
    text = json.dumps({"customer": "Ann Example", "settings": {"locale": "de"}, "rows": rows, "note": ""})
    return text[: -len('"}')] + "n" * (SIZE - len(text)) + '"}'


def _body_injection(bench: Bench) -> Outcome:
    target, sent = f"{bench.sink}/sink", body()

    connections = {"header": "bench", "body and header": "json"}

    def headers(one: Running) -> tuple[str, ...]:
        expected = (EXPECT,) if one.name == "body and header" else ()
        return (bench.home.tag(connections[one.name]), "Content-Type: application/json", *expected)

    def check(one: Running) -> None:
        prove(one, target, TOKEN, fields=fields_of(headers(one)), body=sent)

    def measure(one: Running, seconds: int) -> Sample:
        load = Load(target=target, headers=headers(one), method="POST", body=sent)
        return under_load(one, load, seconds=seconds, bench=bench)

    return one_process(bench, start("gateway", bench), list(connections), check, measure)


BODY_INJECTION = Scenario(
    name="json",
    what="a POST of 2 KiB of JSON, with body and header injection and with header injection alone, 32 connections",
    columns=HTTP,
    run=_body_injection,
    goals=(
        Goal(
            text="CPU with body injection, of without",
            key="cpu_us",
            of="body and header",
            against="header",
            at_most=1.5,
        ),
    ),
)
