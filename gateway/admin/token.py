"""The admin token: from the environment, or from a file of the data directory that the first start makes.

Whoever has it may do everything that the admin API and the pages can. It is compared in constant time.
"""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gateway.errors import Refusal, StartError
from gateway.secret import Secret
from gateway.settings import Settings

VARIABLE = "GATEWAY_ADMIN_TOKEN"
FILE = "admin.token"
PREFIX = "gwa_"
LEAST = 16
"""Characters of the shortest token accepted: anything shorter can be guessed by trying."""

_OTHERS = 0o077


def token_file(settings: Settings) -> Path:
    """Return where the token stands when the environment doesn't give it."""
    return settings.data_dir / FILE


def load_admin_token(settings: Settings, environ: Mapping[str, str] = os.environ) -> Secret:
    """Return the token of the environment, or of the file, which is made (0600) where there is none.

    Raises `StartError` where the file can't be read or made, can be read by others, or the token is too short.
    Several processes may start at once: one of them makes the file, all read the same token.
    """
    given = environ.get(VARIABLE, "").strip()
    if given:
        return _checked(given, VARIABLE)
    path = token_file(settings)
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & _OTHERS:
            raise _refused(f"{path}: other users can read the admin token", f"Run: chmod 600 {path}")
        return _checked(path.read_text(encoding="utf-8").strip(), str(path))
    except OSError as error:
        raise _refused(f"{path}: the admin token can't be read or made: {error.strerror}", f"Set {VARIABLE}.") from None


def _make(path: Path) -> None:
    """Write a new token whole before its name appears, and never over one that another process made."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(PREFIX + secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _checked(token: str, place: str) -> Secret:
    if len(token) < LEAST:
        raise _refused(f"{place}: the admin token is shorter than {LEAST} characters", "Choose a long random one.")
    return Secret(token)


def _refused(detail: str, hint: str) -> StartError:
    return StartError(Refusal(code="invalid", detail=detail, hint=hint))
