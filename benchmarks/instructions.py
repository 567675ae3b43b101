"""Counts the instructions of a request's pure parts by valgrind: the same on a busy machine and on an idle one.

    python benchmarks/instructions.py             compare with the baseline; status 1 where a part has grown too much
    python benchmarks/instructions.py --update    write the baseline, for the commit that changes it knowingly

`make check` runs the first. A count depends on the interpreter, so the baseline has one for each that it was taken
with; another interpreter, or a machine without valgrind, has nothing to compare with, and is told so.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

BASELINE = Path(__file__).with_suffix(".json")
ROOT = Path(__file__).parents[1]
ALLOWED_GROWTH = 0.15
WARM_UP, ROUNDS = 100, 200  # the interpreter specialises code that it has run some times
_SUMMARY = re.compile(r"^summary: (\d+)$", re.MULTILINE)


def main() -> int:
    """Count, compare, and return the exit status."""
    parser = argparse.ArgumentParser(description="Instructions of the pure parts, against the baseline.")
    parser.add_argument("--update", action="store_true", help="write the baseline")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)  # what is counted, inside valgrind
    options = parser.parse_args()
    if options.run:
        _run()
        return 0
    if shutil.which("valgrind") is None:
        print("Instructions are not counted: there is no valgrind (Debian, Ubuntu: apt-get install valgrind)")
        return 0
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if not options.update and interpreter() not in known:
        print(f"Instructions are not compared: {BASELINE.name} has none for {interpreter()} (--update adds them)")
        return 0
    counts = count()
    if options.update:
        BASELINE.write_text(json.dumps(known | {interpreter(): counts}, indent=1, sort_keys=True) + "\n")
        print("\n".join(compare(counts, counts)[0]))
        return 0
    lines, grown = compare(known[interpreter()], counts)
    print("\n".join(lines))
    if grown:
        print(f"More than {ALLOWED_GROWTH:.0%} over the baseline: {', '.join(grown)}.")
        print("Find out why; where it is worth it: python benchmarks/instructions.py --update, in the same commit.")
    return int(bool(grown))


def interpreter() -> str:
    """Return which interpreter the counts are of."""
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}"


def compare(before: Mapping[str, int], now: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Return a line for each part, and the names of those that have grown too much, or that the baseline hasn't."""
    lines, grown = [], []
    for name, number in now.items():
        known = before.get(name)
        change = "new" if known is None else f"{number / known - 1:+.1%}"
        lines.append(f"{name:24}{number:>10,} instructions {change:>8}")
        if known is None or number > known * (1 + ALLOWED_GROWTH):
            grown.append(name)
    return lines, grown


def count() -> dict[str, int]:
    """Return the instructions of one call of each part."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={out}",
                "--zero-before=getpgrp",  # `_run` calls these two around each part
                "--dump-before=getppid",
                sys.executable,
                __file__,
                "--run",
            ],
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=True,
        )
        return {name: _counted(Path(f"{out}.{number}")) for number, name in enumerate(_parts(), start=1)}


def _counted(file: Path) -> int:
    found = _SUMMARY.search(file.read_text())
    if found is None:
        raise SystemExit(f"valgrind has written no sum into {file.name}")
    return round(int(found[1]) / ROUNDS)


def _run() -> None:
    for part in _parts().values():
        for _ in range(WARM_UP):
            part()
        os.getpgrp()
        for _ in range(ROUNDS):
            part()
        os.getppid()


def _parts() -> dict[str, Callable[[], object]]:
    """Return what is counted, each as one call; the order is that of a request."""
    from gateway.http.request import forwarded_head, read_request_head  # noqa: PLC0415  counted, not measured with
    from gateway.http.response import read_response_head  # noqa: PLC0415
    from gateway.http.scrub import Scrubber  # noqa: PLC0415
    from gateway.http.target import parse_target  # noqa: PLC0415
    from gateway.policy.inject import Injection  # noqa: PLC0415
    from gateway.policy.match import Matcher  # noqa: PLC0415
    from gateway.policy.merge import merge_body, merge_query  # noqa: PLC0415
    from gateway.policy.model import Allow  # noqa: PLC0415
    from gateway.proxy.answer_reader import AnswerReader  # noqa: PLC0415
    from gateway.secret import Secret  # noqa: PLC0415

    url = "http://api.example.com/v1/users/42/orders?page=2&after=2026-11-25"
    fields = [
        (b"Host", b"api.example.com"),
        (b"User-Agent", b"runner/1.0"),
        (b"Accept", b"application/json"),
        (b"Accept-Encoding", b"gzip, deflate"),
        (b"X-Request-Id", b"0b9f8c1e-bench"),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"2048"),
        (b"Proxy-Authorization", b"Basic Y3JtLWFubjpnd2NfdG9rZW4="),
    ]
    answered = [
        (b"Server", b"example"),
        (b"Date", b"Wed, 25 Nov 2026 21:00:00 GMT"),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"152"),
        (b"Connection", b"keep-alive"),
        (b"X-Request-Id", b"4f1c2a7d"),
    ]
    raw = b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % field for field in answered) + b"\r\n" + b"x" * 152
    token = Secret("tok_abcdefghijklmnop")
    injection = Injection(
        headers=((b"Authorization", b"Bearer " + token.reveal().encode()),),
        header_names=frozenset({b"authorization"}),
        query=((b"api_key", b"k"),),
        body={"version": "v2"},
    )
    rows = [{"sku": f"A-{number:05d}", "quantity": number % 9 + 1} for number in range(50)]
    body = json.dumps({"customer": "Ann Example", "version": "v1", "rows": rows}).encode()
    matcher = Matcher.compile(Allow(urls=("example.com",)), {})
    target = parse_target(url)
    reader, scrubber = AnswerReader(max_head=65_536, informed=lambda _: None), Scrubber((token,))

    def read_head() -> object:
        return read_request_head(
            method="POST", raw_target=url.encode(), version="1.1", keep_alive=True, fields=[*fields]
        )

    head = read_request_head(method="POST", raw_target=url.encode(), version="1.1", keep_alive=True, fields=fields)

    def rewrite() -> object:
        return forwarded_head(
            head,
            request_target=target.path_and_query,
            authority=target.authority,
            content_length=2048,
            drop=injection.header_names,
            injected=injection.header_lines,
            upgrade=None,
        )

    def read_answer() -> object:
        reader.begin(method="GET", cookies=False)
        reader.feed(raw)
        return reader.take()

    answer = read_response_head(
        status=200, reason=b"OK", version=lambda: "1.1", fields=answered, method="GET", cookies=False
    )
    return {
        "target": lambda: parse_target(url),
        "match": lambda: matcher.decide("POST", target),
        "request head": read_head,
        "inject: query": lambda: merge_query(injection, target.query),
        "inject: JSON body": lambda: merge_body(injection, b"application/json", body),
        "request head, rewritten": rewrite,
        "answer, parsed": read_answer,
        "answer head, rewritten": lambda: scrubber.text(answer.fields()) + answer.framing(chunked=False),
    }


if __name__ == "__main__":
    sys.exit(main())
