"""The policies that come with the gateway: in the wheel beside its code, in a checkout beside the package."""

import tomllib
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

import gateway

_HERE = Path(gateway.__file__).parent
PLACES = (_HERE / "shipped", _HERE.parent / "policies")


@cache
def shipped() -> dict[str, str]:
    """Return the names of the policies by their ids, in the order of the names."""
    found = {file.stem: str(tomllib.loads(file.read_text("utf-8"))["name"]) for file in files_in(PLACES)}
    return dict(sorted(found.items(), key=lambda pair: pair[1].casefold()))


def by_letter() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the pairs of id and name under the letter that the name begins with: there are too many for one list."""
    return [(letter, list(pairs)) for letter, pairs in groupby(shipped().items(), key=lambda pair: pair[1][0].upper())]


def shipped_text(app: str) -> str:
    """Return the text of one. Raises `KeyError`: there is none of this id."""
    texts = {file.stem: file for file in files_in(PLACES)}
    return texts[app].read_text("utf-8")


def files_in(places: Sequence[Path]) -> list[Path]:
    """Return the policies of the first place that is there."""
    place = next((one for one in places if one.is_dir()), None)
    return [] if place is None else sorted(place.glob("*.toml"))
