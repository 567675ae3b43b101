"""What every scenario stands on: a folder, the services behind, a pace, and where the peers are."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks.certificates import write_certificates
from benchmarks.gateway_under_test import Home
from benchmarks.install import find
from benchmarks.ports import free_port
from benchmarks.processes import LOAD_CPU, running

TOKEN = "tok_abcdefghijklmnop"
PATH = "/v1/users/42?page=2"
FILES = {"100k": 100 * 1024, "10m": 10 * 1024 * 1024, "2g": 2 * 1024 * 1024 * 1024}
PROVIDER_SECONDS = 0.3
HERE = Path(__file__).parent
SOURCES = HERE.parent


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often and how long: samples of so many seconds, in so many rounds, after a warm-up."""

    rounds: int
    seconds: int
    is_full: bool

    @classmethod
    def of(cls, *, full: bool) -> "Pace":
        """Return the short pace, or the one for the documentation's figures."""
        return cls(rounds=5, seconds=3, is_full=True) if full else cls(rounds=3, seconds=1, is_full=False)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One run's surroundings. `port`, `tls_port` and `sink_port` are the services that contenders forward to.

    `site` is where the gateway's code stands: the sources, or the folder of `make fast`.
    """

    work: Path
    pace: Pace
    ca: Path
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    sink_port: int = field(default_factory=free_port)
    site: Path = SOURCES
    is_quiet: bool = False

    @property
    def origin(self) -> str:
        """The service over plain HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_origin(self) -> str:
        """The same over TLS."""
        return f"https://127.0.0.1:{self.tls_port}"

    @property
    def sink(self) -> str:
        """The service that reads bodies and issues tokens."""
        return f"http://127.0.0.1:{self.sink_port}"

    @cached_property
    def home(self) -> Home:
        """The gateway's directory, made when it is first needed; each start gets a copy."""
        return Home.make(
            self.work / "home",
            origin=self.origin,
            tls=self.tls_origin,
            sink=self.sink,
            token=TOKEN,
            ca=self.ca,
            site=self.site,
        )

    def render(self, name: str, **values: object) -> Path:
        """Fill in one of the files of `peers/`, and return where it is."""
        text = (HERE / "peers" / name).read_text()
        given: Mapping[str, object] = {
            "work": self.work, "token": TOKEN, "upstream": self.port, "sink": self.sink_port, **values
        }  # fmt: skip
        made = self.work / name
        made.write_text(text.format_map(given))
        return made

    def say(self, text: str) -> None:
        """Tell how far it is, on standard error."""
        if not self.is_quiet:
            print(text, file=sys.stderr, flush=True)


@contextmanager
def prepared(pace: Pace, *, site: Path = SOURCES, is_quiet: bool = False) -> Iterator[Bench]:
    """Make the folder, start the services, and take everything away at the end."""
    with ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        work.chmod(0o755)  # Squid steps down from root to a user of its own
        (work / "files").mkdir()
        for name, size in FILES.items():
            with (work / "files" / name).open("wb") as file:
                file.truncate(size)  # sparse: reading it costs no disk
        bench = Bench(work=work, pace=pace, ca=write_certificates(work), site=site, is_quiet=is_quiet)
        conf = bench.render("upstream.conf", port=bench.port, tls_port=bench.tls_port)
        nginx = [str(find("nginx")), "-p", str(work), "-c", str(conf)]
        stack.enter_context(running(nginx, cpus=(LOAD_CPU,), log=work / "upstream.log", ready=bench.port))
        service = [sys.executable, str(HERE / "service.py"), str(bench.sink_port), TOKEN, str(PROVIDER_SECONDS)]
        stack.enter_context(running(service, cpus=(LOAD_CPU,), log=work / "service.log", ready=bench.sink_port))
        yield bench
