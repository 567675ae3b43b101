"""The admin token: from the environment, or from a file of the data directory that the first start makes.

Whoever has it may do everything that the admin API and the pages can. It is compared in constant time.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from gateway.errors import Refusal, StartError
from gateway.secret import Secret
from gateway.settings import Settings
from gateway.store.private_file import make_private_file, read_private_file

VARIABLE = "GATEWAY_ADMIN_TOKEN"
FILE = "admin.token"
PREFIX = "gwa_"
LEAST = 16
"""Characters of the shortest token accepted: anything shorter can be guessed by trying."""


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
    content = read_private_file(path, "the admin token")
    if content is None:
        try:
            make_private_file(path, f"{PREFIX}{secrets.token_urlsafe(32)}\n".encode())
        except OSError as error:
            detail = f"{path}: the admin token can't be made: {error.strerror}"
            raise _refused(detail, f"Set {VARIABLE}.") from None
        content = read_private_file(path, "the admin token") or b""
    return _checked(content.decode("utf-8", "replace").strip(), str(path))


def _checked(token: str, place: str) -> Secret:
    if len(token) < LEAST:
        raise _refused(f"{place}: the admin token is shorter than {LEAST} characters", "Choose a long random one.")
    return Secret(token)


def _refused(detail: str, hint: str) -> StartError:
    return StartError(Refusal(code="invalid", detail=detail, hint=hint))
