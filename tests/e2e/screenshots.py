"""Takes a picture of each page: `make screenshots`. Phone and desktop width, light and dark, into `screenshots/`.

It runs a gateway, the tests' provider and their upstream of its own, and goes through the pages as a person does.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.e2e.harness.chromium import Watched, chromium  # noqa: E402 - found only now
from tests.e2e.harness.gallery import Gallery, furnished  # noqa: E402 - as above

SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
SCHEMES = ("light", "dark")


def main() -> None:
    """Take the pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="the pictures to take; left out: all")
    parser.add_argument("--into", type=Path, default=ROOT / "screenshots")
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, furnished(Path(directory)) as house, chromium() as browser:
        pictures = Gallery(house).all
        for name in given.names or pictures:
            for size, (width, height) in SIZES.items():
                for scheme in SCHEMES:
                    watched = Watched(browser, viewport={"width": width, "height": height}, color_scheme=scheme)
                    pictures[name](watched)
                    file = given.into / f"{name}-{size}-{scheme}.png"
                    watched.page.screenshot(path=file, full_page=True)
                    wide = watched.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    print(file, f"is {wide} px too wide" if wide > 0 else "")  # noqa: T201 - says what it made
                    watched.close()


if __name__ == "__main__":
    main()
