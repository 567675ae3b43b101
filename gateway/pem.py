"""PEM (RFC 7468), with its line breaks put back: an input of one line takes them away, and JSON has them in letters."""

import re
from collections.abc import Iterator

_BLOCK = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----(?P<body>[^-]*)-----END (?P=label)-----")
_LINE = 64  # characters of a line (§2)


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield each block's label, such as `PRIVATE KEY`, and the block."""
    for found in _BLOCK.finditer(text):
        body = "".join(found["body"].replace("\\r", "").replace("\\n", "").split())
        lines = "\n".join(body[at : at + _LINE] for at in range(0, len(body), _LINE))
        yield found["label"], f"-----BEGIN {found['label']}-----\n{lines}\n-----END {found['label']}-----\n"
