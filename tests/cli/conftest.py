"""A gateway's directory, and the command line in it: in this process for speed, or as a program where that matters."""

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from gateway.cli import app
from gateway.cli.frame import exit_status
from tests.cli.programs import Done

KEYED = """
name = "Keyed"
base_url = "http://127.0.0.1:9/v1"
[allow]
urls = ["http://127.0.0.1:9", "https://api.keyed.test/v1"]
[[fields]]
name = "api_key"
label = "API key"
secret = true
[[fields]]
name = "region"
label = "Region"
choices = ["us", "eu"]
[auth]
grant = "api_key"
[connection]
label = "keyed in {{ region }}"
[inject.headers]
Authorization = "Bearer {{ api_key }}"
"""

BY_BROWSER = """
name = "Browser"
[allow]
urls = ["https://api.browser.test"]
[auth]
grant = "authorization_code"
client_id = "public-id"
[auth.authorize]
url = "https://browser.test/authorize"
[auth.token]
url = "https://browser.test/token"
client_auth = "none"
[inject.headers]
Authorization = "Bearer {{ access_token }}"
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory to stand in, with two policies, and no settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("GATEWAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "keyed.toml").write_text(KEYED)
    (tmp_path / "policies" / "browser.toml").write_text(BY_BROWSER)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield tmp_path
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def gateway(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run `gateway …` in this process."""

    def run(*arguments: str, stdin: str = "") -> Done:
        assert place.is_dir()
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        status = exit_status(app, list(arguments))
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return run


@pytest.fixture
def connected(gateway: Callable[..., Done]) -> Callable[..., Done]:
    """The same, in a directory with one connection, `keyed-1`."""
    done = gateway(
        *("connect", "keyed", "--id", "keyed-1", "--field", "region=eu", "--secret", "api_key=-"), stdin="hush-hush\n"
    )
    assert done.status == 0, done.err
    return gateway
