"""The master key: read from a file or the environment; made, mode 0600, only where the store is new.

A key file holds 32 bytes as base64 on one line; hex is read too. It is never made where the store has keys already: a
new one could open nothing, and the old one may be on a backup.
"""

import base64
import binascii
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gateway.errors import Refusal, StartError
from gateway.keyring import create_master_key

KEY_BYTES = 32
_OTHERS = 0o077


def read_master_key(source: str, environ: Mapping[str, str] = os.environ) -> bytes | None:
    """Return the 32 bytes, or None where the file isn't there yet. Raises `StartError`; no message holds key text."""
    kind, _, name = source.partition(":")
    if kind == "file":
        return _read_file(Path(name))
    text = environ.get(name, "").strip()
    if not text:
        raise _refused(f"{name}: the master key is not in the environment", "Set it to 32 bytes as base64 or hex.")
    return _decoded(text, name)


def create_master_file(source: str) -> bytes:
    """Make the key file of a `file:` source and return the key; another process's key where that one was faster."""
    path = Path(source.removeprefix("file:"))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(path, base64.b64encode(create_master_key()) + b"\n")
    except OSError as error:
        raise _refused(
            f"{path}: the master key can't be written: {error.strerror}", "Choose another keys.source."
        ) from None
    key = _read_file(path)
    if key is None:
        raise _refused(f"{path}: the master key went away while it was made", "Start again.")
    return key


def _read_file(path: Path) -> bytes | None:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise _refused(f"{path}: the master key is not a regular file", "Point keys.source at the key's file.")
        if mode & _OTHERS:
            raise _refused(f"{path}: other users can read the master key", f"Run: chmod 600 {path}")
        return _decoded(path.read_bytes().decode("ascii", "replace").strip(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(
            f"{path}: the master key can't be read: {error.strerror}", "Run as the user who owns it."
        ) from None


def _decoded(text: str, place: str) -> bytes:
    for decode in (bytes.fromhex, lambda value: base64.b64decode(value, validate=True)):
        with suppress(ValueError, binascii.Error):
            key = decode(text)
            if len(key) == KEY_BYTES:
                return key
    raise _refused(f"{place}: this is not a master key", "It is 32 bytes as base64 (44 characters) or hex (64).")


def _write_new(path: Path, content: bytes) -> None:
    """Write the file whole before its name appears, and never over one that is there."""
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


def _refused(detail: str, hint: str) -> StartError:
    return StartError(Refusal(code="invalid", detail=detail, hint=hint))
