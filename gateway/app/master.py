"""The master key: read from a file, the environment or a command; made, mode 0600, only where the store is new.

A key file holds 32 bytes as base64 on one line; hex is read too. It is never made where the store has keys already: a
new one could open nothing, and the old one may be on a backup.
"""

import base64
import binascii
import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gateway.app.key_command import run_key_command
from gateway.errors import Refusal, StartError
from gateway.keyring import create_master_key
from gateway.store.private_file import make_private_file, read_private_file

KEY_BYTES = 32


def read_master_key(source: str, environ: Mapping[str, str] = os.environ) -> bytes | None:
    """Return the 32 bytes, or None where the file isn't there yet. Raises `StartError`; no message holds key text."""
    kind, _, name = source.partition(":")
    match kind:
        case "file":
            return _read_file(Path(name))
        case "command":
            return _decoded(run_key_command(name), shown_source(source))
        case _:
            text = environ.get(name, "").strip()
            if not text:
                hint = "Set it to 32 bytes as base64 or hex."
                raise _refused(f"{name}: the master key is not in the environment", hint)
            return _decoded(text, name)


def shown_source(source: str) -> str:
    """Return a source as it may be shown: of a command the program alone."""
    kind, _, name = source.partition(":")
    return f"command:{shlex.split(name)[0]}" if kind == "command" else source


def create_master_file(source: str) -> bytes:
    """Make the key file of a `file:` source and return the key; another process's key where that one was faster."""
    path = Path(source.removeprefix("file:"))
    try:
        make_private_file(path, base64.b64encode(create_master_key()) + b"\n")
    except OSError as error:
        raise _refused(
            f"{path}: the master key can't be written: {error.strerror}", "Choose another keys.source."
        ) from None
    key = _read_file(path)
    if key is None:
        raise _refused(f"{path}: the master key went away while it was made", "Start again.")
    return key


def _read_file(path: Path) -> bytes | None:
    content = read_private_file(path, "the master key")
    return None if content is None else _decoded(content.decode("ascii", "replace").strip(), str(path))


def _decoded(text: str, place: str) -> bytes:
    for decode in (bytes.fromhex, lambda value: base64.b64decode(value, validate=True)):
        with suppress(ValueError, binascii.Error):
            key = decode(text)
            if len(key) == KEY_BYTES:
                return key
    raise _refused(f"{place}: this is not a master key", "It is 32 bytes as base64 (44 characters) or hex (64).")


def _refused(detail: str, hint: str) -> StartError:
    return StartError(Refusal(code="invalid", detail=detail, hint=hint))
