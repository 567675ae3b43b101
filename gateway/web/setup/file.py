"""The app's file, as text."""

from gateway.catalog import LARGEST, Catalog


def text_of(catalog: Catalog, app: str) -> str | None:
    """Return the text of an app's policy as it stands in its file, right or wrong; None: there is none."""
    try:
        with catalog.path(app).open("rb") as file:
            return file.read(LARGEST).decode("utf-8", "replace")
    except OSError:
        return None


def same(one: str, other: str) -> bool:
    """Whether two texts are one, but for line ends, which a form doesn't keep."""
    return one.replace("\r\n", "\n") == other.replace("\r\n", "\n")
