"""What a manifest gives the gateway's container, read as the gateway itself would read it."""

import os
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

import gateway
from gateway.settings import PREFIX, Settings, find_config, load_settings
from tests.test_dockerfile import INSTRUCTIONS, environment

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
IMAGE = f"connection-gateway:{gateway.__version__}"
USER = 10001
"""Whom the image runs as."""
RENEWING = 30.0
"""Seconds beyond timeouts.shutdown, a lease's: a token that is being renewed then is waited for."""
NO_SECTION = {"CONFIG", "ADMIN_TOKEN"}
PORTS = {"proxy": 8080, "web": 8081}


def tool(name: str) -> str:
    """Return the program of this name; skip the test where there is none."""
    found = found_tool(name)
    if found is None:
        pytest.skip(f"needs {name}, which is not installed here (.ci/run says where it comes from)")
    return found


def found_tool(name: str) -> str | None:
    """Return the program of this name, None: there is none. `.ci/run` builds some into a place of their own."""
    return shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}{Path.home() / '.cache' / 'gateway-tools'}")


def settings_of(
    given: Mapping[str, str], files: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Settings:
    """Load the settings of a container of the image: its variables, then these; `files` are what is mounted, by path.

    No key stands in the file that a variable overrides, for then whoever edits the file changes nothing.
    """
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    variables = environment() | dict(given)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
        assert not name.startswith(PREFIX) or _is_ours(name.removeprefix(PREFIX)), name
    named = find_config(None, os.environ)
    if named is None:
        return load_settings(None)
    file = tmp_path / "config.toml"
    file.write_text(files[str(named)])
    alone = Settings.model_validate(load_settings(None))
    read = load_settings(file)
    assert read != alone, f"nothing in {named} has any effect"
    for section, keys in _sections(file).items():
        for key in keys:
            assert f"{PREFIX}{section}__{key}".upper() not in variables, f"{section}.{key} stands in both"
    return read


def _is_ours(name: str) -> bool:
    return name in NO_SECTION or "__" in name or name.lower() in Settings.model_fields


def _sections(file: Path) -> Mapping[str, Mapping[str, object]]:
    read = tomllib.loads(file.read_text())
    assert not [key for key in read if f"{PREFIX}{key}".upper() in environment()]
    return {name: value for name, value in read.items() if isinstance(value, dict)}


def user_of_the_image() -> int:
    """Return the number of the user that the image runs as."""
    (user,) = [one.rest for one in INSTRUCTIONS if one.word == "USER"]
    return int(user.partition(":")[0])
