"""The OAuth provider of a test run: django-oauth-toolkit in a process of its own."""

import json
import os
import select
import sqlite3
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

PROJECT = Path(__file__).parents[1] / "oauth_server"
NOT_PROXIED = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, kw_only=True)
class Application:
    """A registered application: what a policy needs to ask for tokens."""

    client_id: str
    client_secret: str


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody with an account at the provider."""

    username: str
    password: str
    name: str


class Provider:
    """Starts the provider and speaks to its control addresses. `port` is where it listens on loopback."""

    def __init__(self, directory: Path) -> None:
        self.database = directory / "provider.db"
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        self._process = subprocess.Popen(
            [sys.executable, str(PROJECT), str(self.database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], 30)[0], "the provider did not start within 30 s"
        self.port = int(self._process.stdout.readline())
        self.secrets: set[str] = set()
        self._reader: sqlite3.Connection | None = None

    def close(self) -> None:
        """End the process; it leaves when its standard input does."""
        self._process.communicate(timeout=10)
        if self._reader is not None:
            self._reader.close()

    @property
    def token_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/o/token/"

    @property
    def login_url(self) -> str:
        """Where people sign in. Another site than the gateway's 127.0.0.1, so that browsers treat it as one."""
        return f"http://localhost:{self.port}/o/authorize/"

    @property
    def device_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/o/device-authorization/"

    @property
    def me_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/me/"

    @property
    def revoke_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/o/revoke_token/"

    def ask(self, action: str, **given):
        """Have the provider do one of `control.ACTIONS`."""
        url = f"http://127.0.0.1:{self.port}/control/{action}/"
        with NOT_PROXIED.open(url, json.dumps(given).encode(), timeout=30) as answer:
            return json.load(answer)

    def create_application(self, name: str, **given) -> Application:
        made = Application(**self.ask("create_application", name=name, **given))
        self.secrets.add(made.client_secret)
        return made

    def create_person(self, name: str) -> Person:
        """Add a person whose username nobody else has."""
        username = name.partition(" ")[0].lower() + f"-{token_hex(4)}"
        made = Person(username=username, password=f"pw+{token_hex(12)}/&", name=name)
        self.ask("create_user", username=made.username, password=made.password, name=name)
        self.secrets.add(made.password)
        return made

    def all_secrets(self) -> set[str]:
        """Return every secret that was issued here, or sent here, until now."""
        return self.secrets | set(self.ask("secrets")["secrets"])

    def calls(self, application: Application, *, at_least: int = 0, answered: int = 0) -> int:
        """Return how many token calls the application has made, after waiting for as many as asked for."""
        return self.ask("calls", client_id=application.client_id, at_least=at_least, answered=answered)["calls"]

    def revoke(self, application: Application) -> int:
        """Revoke the application's tokens behind the gateway's back; returns how many there were."""
        self.secrets.update(self.tokens(application))
        return self.ask("revoke", client_id=application.client_id)["revoked"]

    def tokens(self, application: Application) -> list[str]:
        return self.ask("tokens", client_id=application.client_id)["tokens"]

    def refresh_tokens(self, application: Application) -> list[str]:
        """Return the refresh tokens that may still be used."""
        return self.ask("refresh_tokens", client_id=application.client_id)["tokens"]

    def in_force(self, token: str) -> bool:
        """Say whether a resource server should take this token now. Read straight from the provider's database."""
        if self._reader is None:
            self._reader = sqlite3.connect(self.database, timeout=20, check_same_thread=False)
        row = self._reader.execute(
            "SELECT 1 FROM oauth2_provider_accesstoken WHERE token = ? AND expires > datetime('now')", (token,)
        )
        return row.fetchone() is not None
