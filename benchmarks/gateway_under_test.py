"""The gateway as its users run it: a directory with policies, connections made by its command line, `gateway serve`.

The directory is made once for a run; every start works on a copy, so that no measurement finds another's leavings. The
access log is on and goes to a file, in the format that is the default.
"""

import base64
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Running
from benchmarks.ports import free_port
from benchmarks.processes import PROXY_CPU, environment, running

CLIENT = "bench"
AUTHORITY = "gateway-ca.pem"
NOT_PROXIED = urllib.request.build_opener(urllib.request.ProxyHandler({}))

HEADER = '\n[inject.headers]\nAuthorization = "Bearer {{ api_key }}"\n'
BODY = '[inject.body]\ninjected = "by the gateway"\nsettings = { locale = "en", page_size = 50 }\n'
POLICY = """
name = "Bench"
base_url = "{origin}"
[allow]
urls = ["{origin}", "{tls}", "{sink}"]
[[fields]]
name = "api_key"
secret = true
[auth]
grant = "api_key"
[connection]
label = "{{{{ connection.id }}}}"
"""
OAUTH = """
name = "Storm"
base_url = "{sink}"
[allow]
urls = ["{sink}/guarded"]
[[fields]]
name = "client_secret"
secret = true
[auth]
grant = "client_credentials"
client_id = "bench"
client_secret = {{ field = "client_secret" }}
[auth.token]
url = "{sink}/token"
[inject.headers]
Authorization = "Bearer {{{{ access_token }}}}"
"""


@dataclass(frozen=True, kw_only=True)
class Home:
    """A gateway's directory, the token of a client that may use everything in it, and where its code stands."""

    folder: Path
    ca: Path
    token: str
    site: Path

    @classmethod
    def make(cls, folder: Path, *, origin: str, tls: str, sink: str, token: str, ca: Path, site: Path) -> "Home":
        """Make the directory with the connections `bench` (a header), `json` (and body fields), `storm` (a token)."""
        policies = folder / "policies"
        policies.mkdir(parents=True)
        text = POLICY.format(origin=origin, tls=tls, sink=sink)
        (policies / "bench.toml").write_text(text + HEADER)
        (policies / "json.toml").write_text(text + HEADER + BODY)
        (policies / "storm.toml").write_text(OAUTH.format(sink=sink))
        key = folder / "api_key"
        key.write_text(token)
        home = cls(folder=folder, ca=ca, token="", site=site)
        for app in ("bench", "json"):
            home.command("connect", app, "--id", app, "--secret", f"api_key=@{key}")
        home.command("connect", "storm", "--id", "storm", "--secret", f"client_secret=@{key}")
        home.command("ca", "export", str(folder / AUTHORITY))
        client = home.command("clients", "create", CLIENT, "--connection", "*").strip()
        return cls(folder=folder, ca=ca, token=client, site=site)

    def command(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """Run one `gateway …` command on it and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=self.folder,
            env=environment(self.settings | dict(env or {})),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"gateway {' '.join(arguments)} ended with status {done.returncode}: {done.stderr}")
        return done.stdout

    def copy(self, folder: Path) -> "Home":
        """Return a copy in another folder."""
        shutil.copytree(self.folder, folder)
        return Home(folder=folder, ca=self.ca, token=self.token, site=self.site)

    @property
    def settings(self) -> dict[str, str]:
        """What differs from the defaults, as environment variables."""
        return {
            "PYTHONPATH": str(self.site),
            "SSL_CERT_FILE": str(self.ca),
            "GATEWAY_DATA_DIR": str(self.folder / "data"),
            "GATEWAY_POLICIES_DIR": str(self.folder / "policies"),
            "GATEWAY_EGRESS__ALLOW_NETWORKS": "127.0.0.0/8",
        }

    def tag(self, connection: str) -> str:
        """Return the Proxy-Authorization that names a connection."""
        return basic(connection, self.token)


def basic(user: str, password: str) -> str:
    """Return the header field of a tag."""
    return f"Proxy-Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@contextmanager
def gateway(
    home: Home,
    work: Path,
    *,
    name: str = "gateway",
    connection: str = "bench",
    cpus: Sequence[int] = (PROXY_CPU,),
    **settings: str,
) -> Iterator[Running]:
    """Start `gateway serve` on a copy of the directory. `settings` are keys of the configuration in upper case."""
    own = home.copy(work / f"home-{free_port()}")
    try:
        with serving(own, name=name, connection=connection, cpus=cpus, **settings) as one:
            yield one
    finally:
        shutil.rmtree(own.folder, ignore_errors=True)


@contextmanager
def serving(home: Home, *, name: str, connection: str, cpus: Sequence[int], **settings: str) -> Iterator[Running]:
    """Start `gateway serve` on this very directory."""
    port, web = free_port(), free_port()
    given = home.settings | {
        "GATEWAY_PROXY__LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_WEB__LISTEN": f"127.0.0.1:{web}",
        **{f"GATEWAY_{key}": value for key, value in settings.items()},
    }
    command = [sys.executable, "-m", "gateway", "serve"]
    log = home.folder / "gateway.log"
    began = time.perf_counter()
    with running(
        command, cpus=cpus, env=given, cwd=home.folder, log=log, ready=lambda: answers(web, "/readyz") and answers(port)
    ) as process:
        yield Running(
            name=name,
            port=port,
            pid=process.pid,
            headers=(home.tag(connection),),
            log=log,
            start_seconds=time.perf_counter() - began,
            ca=home.folder / AUTHORITY,
            web=web,
        )


def answers(port: int, path: str = "/") -> bool:
    """Whether the port answers a request: /readyz with 200, a proxy with anything."""
    try:
        with NOT_PROXIED.open(f"http://127.0.0.1:{port}{path}", timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return path == "/"
    except OSError:
        return False
