"""The policies directory: `<app>.toml` for each app, read at the start and again whenever a file changes.

A file that is broken never takes an app away: the last good policy stays and its faults are in `findings`. Only a file
that is gone takes its app with it.
"""

import asyncio
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import structlog

from gateway.errors import ClientError, Refusal
from gateway.policy.load import APP, Finding, load
from gateway.policy.model import Policy

POLL_SECONDS = 0.5  # with the time to act on it, an edit holds within a second
SUFFIX = ".toml"
LARGEST = 1024 * 1024  # bytes; a policy is a page of text

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells one state of a file from another without reading it."""

    modified: int
    size: int
    inode: int


class Catalog:
    """The policies of one directory, by app."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._policies: dict[str, Policy] = {}
        self._findings: dict[str, tuple[Finding, ...]] = {}
        self._stamps: dict[str, _Stamp] = {}
        self._generations: dict[str, int] = {}

    @property
    def policies(self) -> Mapping[str, Policy]:
        """The last good policy of each app."""
        return MappingProxyType(self._policies)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every fault in the files as they are now."""
        return tuple(finding for app in sorted(self._findings) for finding in self._findings[app])

    def get(self, app: str) -> Policy | None:
        """Return the app's last good policy."""
        return self._policies.get(app)

    def generation(self, app: str) -> int:
        """Return a number that rises with each change of the app's policy; 0 for an app never seen."""
        return self._generations.get(app, 0)

    def path(self, app: str) -> Path:
        """Return the app's file. Raises `ClientError` (`invalid`) for a name that is none."""
        if not APP.fullmatch(app):
            detail = "An app's name is lower-case letters, digits, - and _, at most 63, such as my-crm."
            raise ClientError(Refusal(code="invalid", detail=detail))
        return self.directory / f"{app}{SUFFIX}"

    def load(self) -> tuple[str, ...]:
        """Read what changed since the last time, and return the apps whose policy is another one now.

        Raises `OSError` where the directory is there and can't be looked into: nothing changes then.
        """
        found, first = self._scan(), not self._generations
        changed = [app for app in self._stamps if app not in found and self._forget(app)]
        for app, (file, stamp) in found.items():
            if self._stamps.get(app) != stamp and self._read(app, file):
                changed.append(app)
        self._stamps = {app: stamp for app, (_, stamp) in found.items()}
        for app in changed:
            self._generations[app] = self.generation(app) + 1
            if not first and app in self._policies:
                _log.info("policy.loaded", app=app)
        if first and changed:
            _log.info("policies.loaded", count=len(changed))
        return tuple(changed)

    async def watch(self, on_change: Callable[[str], None]) -> None:
        """Look at the directory twice a second and call `on_change(app)` for each changed policy, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                stale = await asyncio.to_thread(self._is_stale)
            except OSError as error:
                _log.warning("catalog.unreadable", directory=str(self.directory), reason=error.strerror)
                continue
            try:
                # Reading is done here and not in the thread: a policy and its findings change in one step for everyone.
                for app in self.load() if stale else ():
                    on_change(app)
            except Exception:  # noqa: BLE001 - whoever stops looking goes on with what was taken away
                _log.exception("catalog.fault", directory=str(self.directory))

    def write(self, app: str, text: str) -> tuple[Finding, ...]:
        """Check a policy and, only if it has no fault, put it in place in one step. Returns the faults."""
        file = self.path(app)
        loaded = load(text, app=app, file=file.name)
        if loaded.policy is not None and not loaded.findings:
            _make(self.directory)
            _replace(file, text)
            self.load()
        return loaded.findings

    def delete(self, app: str) -> bool:
        """Remove a policy; False: there was none."""
        file = self.path(app)
        existed = file.exists()
        file.unlink(missing_ok=True)
        self.load()
        return existed

    def _is_stale(self) -> bool:
        return {app: stamp for app, (_, stamp) in self._scan().items()} != self._stamps

    def _scan(self) -> dict[str, tuple[Path, _Stamp]]:
        found: dict[str, tuple[Path, _Stamp]] = {}
        try:
            names = os.listdir(self.directory)  # noqa: PTH208 - `glob` takes what it can't look into for empty
        except FileNotFoundError:
            return found
        for file in sorted(self.directory / name for name in names if name.endswith(SUFFIX)):
            stamp = _Stamp(modified=0, size=0, inode=0)  # of one that can't be looked at: reading it says why
            try:
                status = file.stat()
                stamp = _Stamp(modified=status.st_mtime_ns, size=status.st_size, inode=status.st_ino)
            except FileNotFoundError:  # gone between listing and looking
                continue
            except OSError:
                pass
            found[file.name.removesuffix(SUFFIX)] = (file, stamp)
        return found

    def _read(self, app: str, file: Path) -> bool:
        """Read one file; True: the app has another policy now."""
        policy, findings = _load(app, file)
        self._findings[app] = findings
        for finding in findings:
            _log.warning("policy.invalid", file=finding.file, path=finding.path, message=finding.message)
        if policy is None or policy == self._policies.get(app):
            return False
        self._policies[app] = policy
        return True

    def _forget(self, app: str) -> bool:
        """Let go of an app whose file is gone; True: it had a policy."""
        self._findings.pop(app, None)
        gone = self._policies.pop(app, None) is not None
        if gone:
            _log.info("policy.removed", app=app)
        return gone


def _load(app: str, file: Path) -> tuple[Policy | None, tuple[Finding, ...]]:
    """Return the policy of a file if it has no fault, and the faults."""
    if not APP.fullmatch(app):
        name = file.name.encode("utf-8", "backslashreplace").decode()  # a file's name is bytes, whoever made it
        return None, (Finding(file=name, path="", message="is no app's name; use a-z, 0-9, - and _"),)
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, with everything else
            return None, (Finding(file=file.name, path="", message="is not a regular file"),)
        if status.st_size > LARGEST:
            return None, (Finding(file=file.name, path="", message=f"is over {LARGEST} bytes"),)
        loaded = load(file.read_text(encoding="utf-8"), app=app, file=file.name)
    except UnicodeDecodeError:
        return None, (Finding(file=file.name, path="", message="is not UTF-8 text"),)
    except OSError as error:
        return None, (Finding(file=file.name, path="", message=f"can't be read: {error.strerror}"),)
    return (None if loaded.findings else loaded.policy), loaded.findings


def add(directory: Path, app: str, text: str) -> bool:
    """Write an app's policy where none is; False: its file is there, whatever it says, and stays as it is."""
    _make(directory)
    file = directory / f"{app}{SUFFIX}"
    name = _beside(file, text)
    try:
        os.link(name, file, follow_symlinks=False)  # fails where a file is, and shows no half of one
    except FileExistsError:
        return False
    finally:
        name.unlink()
    return True


def _make(directory: Path) -> None:
    """Make the directory, and those above it, so that nobody else writes there, whatever the umask lets through."""
    for place in reversed([directory, *directory.parents]):
        if not place.exists():
            place.mkdir(mode=0o755, exist_ok=True)


def _replace(file: Path, text: str) -> None:
    """Write a file so that every reader sees the old text or the new one, whole."""
    name = _beside(file, text)
    try:
        name.replace(file)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def _beside(file: Path, text: str) -> Path:
    """Write a text into a new file beside another, and return where."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(name).chmod(0o644)  # a policy holds no secret, and people edit it
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
