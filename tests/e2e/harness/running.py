"""The gateway itself: `gateway serve` in a process of its own, with a directory of its own."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.harness.provider import NOT_PROXIED
from tests.ports import free_port

ROOT = Path(__file__).parents[3]
START_LIMIT = 30.0
COMMAND_LIMIT = 40.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an HTTP call gave. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of the gateway's own answer; None where upstream answered."""
        is_own = self.headers.get("content-type", "").startswith("application/problem+json")
        return self.json()["code"] if is_own else None


def until(found, *, within: float, what: str) -> float:
    """Call `found` until it returns something true; returns after how many seconds that was."""
    began = time.monotonic()
    while not found():
        assert time.monotonic() - began < within, f"not within {within} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


class RunningGateway:
    """One gateway: its directory, its two ports, its process. `cli` and `api` work on it."""

    def __init__(self, directory: Path, *, trust: Path, policies: Mapping[str, str], log_level: str = "info") -> None:
        self.directory, self._trust, self._log_level = directory, trust, log_level
        self.data, self.policies = directory / "data", directory / "policies"
        self.log_file, self.out_file = directory / "gateway.log", directory / "gateway.out"
        self.policies.mkdir(parents=True)
        self.data.mkdir()
        for app, text in policies.items():
            self.write_policy(app, text)
        self.port, self.web_port = free_port(), free_port()
        self._write_config()
        self.process: subprocess.Popen[bytes] | None = None
        self.secrets: set[str] = set()

    def _write_config(self) -> None:
        (self.directory / "config.toml").write_text(
            f"""
            data_dir = "{self.data}"
            policies_dir = "{self.policies}"
            [proxy]
            listen = "127.0.0.1:{self.port}"
            [web]
            listen = "127.0.0.1:{self.web_port}"
            public_url = "http://127.0.0.1:{self.web_port}"
            [egress]
            allow_networks = ["127.0.0.0/8", "::1/128"]
            [log]
            format = "json"
            level = "{self._log_level}"
            """
        )

    @property
    def environment(self) -> dict[str, str]:
        """What its commands see: this source tree, the test's CA, and no proxy or gateway settings of ours."""
        kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("GATEWAY_")}
        return kept | {"SSL_CERT_FILE": str(self._trust), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}

    # The process.

    def start(self) -> float:
        """Start `gateway serve` and wait until it is ready; returns the seconds that took."""
        began = time.monotonic()
        with self.log_file.open("ab") as log, self.out_file.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve"],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )
        until(self._is_ready, within=START_LIMIT, what="gateway serve is ready")
        return time.monotonic() - began

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"gateway serve ended: {self.log()[-3000:]}"
        try:
            return self._fetch("GET", "/readyz").status == 200
        except OSError:
            return False

    def stop(self) -> int:
        """End the process as an operator does; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()

    def resident(self) -> int:
        """Return the bytes of memory the process holds."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def log(self) -> str:
        """Return everything that the process wrote."""
        return self.out_file.read_text() + self.log_file.read_text()

    # Its interfaces.

    def cli(self, *arguments: str, code: int | None = 0, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run one `gateway …` command on the same directory; fails unless it exits with `code`."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=self.directory,
            env=self.environment,
            input=given or "",
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT,
            check=False,
        )
        assert code is None or done.returncode == code, (
            f"{arguments} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    @property
    def admin_token(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    def api(self, method: str, path: str, json: Any = None) -> Answer:
        """Call the admin API, with the token that the first start wrote."""
        return self._fetch(method, "/api/v1" + path, json, {"Authorization": f"Bearer {self.admin_token}"})

    def _fetch(self, method: str, path: str, given: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        content = None if given is None else json.dumps(given).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.web_port}{path}", content, dict(headers or {}), method=method
        )
        if content is not None:
            request.add_header("Content-Type", "application/json")
        try:
            answer = NOT_PROXIED.open(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return Answer(
                status=answer.status, headers={k.lower(): v for k, v in answer.headers.items()}, body=answer.read()
            )

    def client(self, name: str, *patterns: str) -> str:
        """Make a client that may use the connections of these patterns; returns its token."""
        made = self.api("POST", "/clients", {"name": name, "connections": list(patterns)})
        assert made.status == 201, made.body
        token = made.json()["token"]
        self.secrets.add(token)
        return token

    def connect(
        self, app: str, connection: str, *, fields: Mapping[str, str] | None = None, **secrets: str
    ) -> dict[str, Any]:
        """Make a connection; returns what the API shows of it."""
        given = {"app": app, "id": connection, "fields": dict(fields or {}), "secrets": secrets}
        made = self.api("POST", "/connections", given)
        assert made.status == 201, made.body
        self.secrets.update(secrets.values())
        return made.json()

    def write_policy(self, app: str, text: str) -> None:
        (self.policies / f"{app}.toml").write_text(text)
