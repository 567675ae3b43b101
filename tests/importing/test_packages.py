"""The npm packages themselves, as their users have them: fetched by npm, kept in the user's cache, never here."""

import os
import shutil
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from gateway.importing.grant import from_grant
from gateway.importing.nango import from_nango
from gateway.importing.outcome import Imported, Outcome

NANGO = "@nangohq/providers@0.71.10"
GRANT = "grant@5.4.24"
MAIN = ("OAUTH2", "OAUTH2_CC", "API_KEY", "BASIC", "NONE")
_TRIED: dict[str, Path | str] = {}


def package(name: str) -> Path:
    """Return the folder of an unpacked package; without npm, or its registry, the test is skipped."""
    if name not in _TRIED:
        _TRIED[name] = _fetched(name)
    found = _TRIED[name]
    if isinstance(found, str):
        pytest.skip(found)
    return found


def _fetched(name: str) -> Path | str:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = base / "connection-gateway-tests" / name.strip("@").replace("/", "-")
    if (kept / "package").is_dir():
        return kept / "package"
    npm = shutil.which("npm")
    if npm is None:
        return "there is no npm here"
    fresh = kept.with_name(f"{kept.name}.{os.getpid()}")
    try:
        fresh.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [npm, "pack", name, "--silent", "--fetch-retries=0", "--fetch-timeout=10000"],
            cwd=fresh,
            check=True,
            capture_output=True,
            timeout=30,
        )
        with tarfile.open(next(fresh.glob("*.tgz"))) as archive:
            archive.extractall(fresh, filter="data")
        fresh.rename(kept)
    except (subprocess.SubprocessError, OSError, StopIteration):
        shutil.rmtree(fresh, ignore_errors=True)
        return kept / "package" if (kept / "package").is_dir() else f"npm can't fetch {name} here"
    return kept / "package"


@pytest.fixture(scope="module")
def nango() -> list[Imported]:
    return list(from_nango((package(NANGO) / "providers.yaml").read_text()))


def test_nineteen_of_twenty_of_nangos_usual_providers_come_whole(nango: list[Imported]) -> None:
    outcomes = Counter(one.outcome for one in nango if one.kind in MAIN)
    assert outcomes.total() >= 890
    assert outcomes[Outcome.WHOLE] >= 0.95 * outcomes.total()


def test_every_provider_of_nangos_has_a_policy_or_a_reason_and_check_refuses_none(nango: list[Imported]) -> None:
    assert len(nango) >= 1_000
    assert all(one.text is not None or one.lacks for one in nango)
    refused = [one.name for one in nango if any("`gateway check` refuses" in lack.what for lack in one.lacks)]
    assert refused == []
    assert sum(one.text is not None for one in nango) >= 970


def test_every_login_of_grants_comes_over() -> None:
    config = package(GRANT) / "config"
    found = list(from_grant((config / "oauth.json").read_text(), (config / "profile.json").read_text()))
    assert len(found) >= 218
    assert all(one.text is not None for one in found)
    older = [one for one in found if one.kind == "OAuth 1.0a"]
    assert sum(one.outcome is Outcome.WHOLE for one in older) >= 23
    newer = [one for one in found if one.kind == "OAuth 2.0"]
    assert sum(one.outcome is Outcome.WHOLE for one in newer) >= 0.95 * len(newer)
