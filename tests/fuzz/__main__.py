"""Coverage-guided runs: `python -m tests.fuzz requests|answers|targets CORPUS [libFuzzer's own options]`.

Needs atheris, which the tests don't. What is found here becomes a literal case in the tests.
"""

import importlib
import sys
from pathlib import Path

import atheris

_INSTRUMENTED = [
    "gateway.http",
    "gateway.policy.entry",
    "gateway.policy.match",
    "gateway.policy.merge",
    "gateway.policy.template",
    "gateway.policy.url",
    "gateway.proxy",
]
_WORDS = r"""
Host:\x20 Content-Length:\x20 Transfer-Encoding:\x20chunked\x0d\x0a Connection:\x20 Upgrade:\x20websocket\x0d\x0a
Expect:\x20100-continue\x0d\x0a Authorization:\x20 X-Api-Key:\x20 X-Connection-Id:\x20crm-bea\x0d\x0a X_Key_Id:\x20
Proxy-Authorization:\x20 Content_Length:\x20 Content-Type:\x20application/json\x0d\x0a charset= Content-Encoding:\x20
application/x-www-form-urlencoded identity gzip Set-Cookie:\x20 Location:\x20 Trailer:\x20 Via:\x20 keep-alive close
HTTP/1.0 HTTP/1.1\x20 \x0d\x0a \x0d\x0a\x0d\x0a \x0a\x0a http://ok.test:8080/ https://ok.test/v1/ /c/crm-ann/
/c/crm-bea/ CONNECT\x20ok.test:8080 gwc_right tok_abcdefgh %2e%2e %252e %2f %5c \x5c ..; @ admin [::1] 0x7f %00
[::ffff:1.2.3.4] xn--
.ok.test key= version %6bey= \x5cu0076 {\x22 \x22: ; & + []= 0\x0d\x0a\x0d\x0a 5;a=b\x0d\x0a \x09 \x00 \x0b \x85
"""
"""What libFuzzer puts in now and then, in the spelling of its dictionaries."""


def main() -> None:
    """Seed the corpus, and run for as long as libFuzzer is told to."""
    name, corpus = sys.argv[1], Path(sys.argv[2])
    with atheris.instrument_imports(include=_INSTRUMENTED):
        target = importlib.import_module(f"tests.fuzz.{name}")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = corpus.with_suffix(".dict")
    words.write_text("".join(f'"{word}"\n' for word in _WORDS.split()))
    atheris.Setup([sys.argv[0], str(corpus), f"-dict={words}", *sys.argv[3:]], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
