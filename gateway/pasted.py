"""Keys as people paste them: PEM without its line breaks, a shared secret in one encoding or another."""

import base64
import re
from collections.abc import Iterator
from typing import Literal

KeyEncoding = Literal["text", "base64", "hex"]

_BLOCK = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----(?P<body>[^-]*)-----END (?P=label)-----")
_LINE = 64  # characters of a line (RFC 7468 §2)


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield each PEM block's label, such as `PRIVATE KEY`, and the block with its line breaks put back.

    An input of one line takes them away, and JSON has them in letters.
    """
    for found in _BLOCK.finditer(text):
        body = "".join(found["body"].replace("\\r", "").replace("\\n", "").split())
        lines = "\n".join(body[at : at + _LINE] for at in range(0, len(body), _LINE))
        yield found["label"], f"-----BEGIN {found['label']}-----\n{lines}\n-----END {found['label']}-----\n"


def shared_secret(text: str, encoding: KeyEncoding) -> bytes:
    """Return a shared secret's bytes; base64 in either alphabet, with padding or without. Raises `ValueError`."""
    match encoding:
        case "hex":
            return bytes.fromhex(text)
        case "base64":
            plain = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
            return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        case "text":
            return text.encode()
