"""What every test has: the source tree on the path, and properties that hang on neither chance nor a busy machine."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # `tests.e2e.harness` is importable however pytest was started

# Files of tests stand in memory, where there is room and programs may stand there: databases wait for a disk at each
# commit.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4e9 and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
    os.environ.setdefault("TMPDIR", str(MEMORY))

# The same examples every time, so that a change is judged by what it changes; `make fuzz` draws new ones, and many.
settings.register_profile(
    "default", deadline=None, max_examples=50, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", deadline=None, max_examples=100_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

LONGEST = (
    "e2e/test_story.py",
    "e2e/test_every_page.py",
    "store/test_rotation_while_serving.py",
    "test_app.py",
    "cli/test_programs.py",
    "vault/test_life.py",
    "e2e/test_browser.py",
    "web/test_setup.py",
)
"""Files that take a minute or half of one, much of it waiting: at the end they would keep one process busy alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, then the tests that start programs, then the others in their order."""
    tests = Path(__file__).parent

    def turn(item: pytest.Item) -> tuple[int, bool]:
        place = item.path.relative_to(tests).as_posix()
        return LONGEST.index(place) if place in LONGEST else len(LONGEST), not place.startswith("e2e/")

    items.sort(key=turn)
