"""A file that only its owner may read or change, and that nobody else can put another file in the place of.

The owner is who runs this, or root, who may let a group of ours read what is root's: that is how Kubernetes and systemd
hand a secret to a process without root. What is looked at is what was opened, so that nothing changes in between; a
symbolic link is followed, and must be theirs as well.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from gateway.errors import Refusal, StartError

LONGEST = 65_536  # bytes that are read: keys and tokens have a hundred
_OTHERS = 0o077
_LENT = 0o040
"""What root may have given of a file to the group of whoever runs this."""


def read_private_file(path: Path, what: str) -> bytes | None:
    """Return what is in the file, None: it isn't there. `what` is its name in an error. Raises `StartError`."""
    try:
        # A pipe in its place isn't waited for: it is refused below.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _require_private(os.fstat(descriptor), path, what)
            _require_place(path, what)
            return os.read(descriptor, LONGEST)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(f"{path}: {what} can't be read: {error.strerror}", "Run as the user who owns it.") from None


def make_private_file(path: Path, content: bytes) -> None:
    """Write the file whole before its name appears, mode 0600, and never over one that is there. Raises `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    """Make the new name durable: a key that is lost to a power cut takes every sealed credential with it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_private(found: os.stat_result, path: Path, what: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _refused(f"{path}: {what} is not in a regular file", "Put a file there that holds it.")
    if not _is_ours(found):
        detail = f"{path}: {what} is in a file of another user ({found.st_uid})"
        raise _refused(detail, f"Run as that user, or run: chown {os.geteuid()} {path}")
    lent = _LENT if found.st_uid == 0 != os.geteuid() else 0
    if found.st_mode & _OTHERS & ~lent:
        mode = "640" if lent else "600"
        raise _refused(f"{path}: other users can read or change {what}", f"Run: chmod {mode} {path}")


def _require_place(path: Path, what: str) -> None:
    """See to it that what is at this path stays what it is: whoever may write to a directory may exchange its files."""
    if not _is_ours(path.lstat()):
        detail = f"{path}: {what} is behind a symbolic link of another user"
        raise _refused(detail, "Name the file itself.")
    for directory in {path.absolute().parent, path.resolve().parent}:
        found = directory.stat()
        if not _is_ours(found):
            detail = f"{directory}: it belongs to another user ({found.st_uid}), who can exchange {what}"
            raise _refused(detail, f"Move it, or run: chown {os.geteuid()} {directory}")
        mode = found.st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            detail = f"{directory}: every user can put other files there, in the place of {what} too"
            raise _refused(detail, f"Run: chmod o-w {directory}")


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid in {0, os.geteuid()}


def _refused(detail: str, hint: str) -> StartError:
    return StartError(Refusal(code="invalid", detail=f"{detail}.", hint=hint))
