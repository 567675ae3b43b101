"""The policies that come with the gateway: in the wheel beside its code, in a checkout beside the package."""

import tomllib
from functools import cache
from pathlib import Path

import gateway

_HERE = Path(gateway.__file__).parent
PLACES = (_HERE / "shipped", _HERE.parent / "policies")


@cache
def shipped() -> dict[str, str]:
    """Return the names of the policies by their ids, in the order of the names."""
    found = {}
    for file in _files():
        found[file.stem] = str(tomllib.loads(file.read_text(encoding="utf-8"))["name"])
    return dict(sorted(found.items(), key=lambda pair: pair[1].casefold()))


def shipped_text(app: str) -> str:
    """Return the text of one. Raises `KeyError`: there is none of this id."""
    if app not in shipped():
        raise KeyError(app)
    return next(file for file in _files() if file.stem == app).read_text(encoding="utf-8")


def _files() -> list[Path]:
    place = next((one for one in PLACES if one.is_dir()), None)
    return [] if place is None else sorted(place.glob("*.toml"))
