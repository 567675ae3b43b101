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

TOGETHER = ("e2e", "store")
"""Folders whose files go to one process: each would start a provider, or a PostgreSQL, of its own for them."""
ALONE = (
    "e2e/test_story.py",
    "e2e/test_every_page.py",
    "store/test_rotation_while_serving.py",
    "e2e/test_activity.py",
    "e2e/test_setting_up.py",
    "store/test_opening.py",
    "store/test_processes.py",
)
"""Files of those that are long, and need nothing of the others'."""
LONG = (
    "chaos/test_chaos.py",
    "cli/test_programs.py",
    "deploy/",
    "e2e/test_browser.py",
    "e2e/test_every_page.py",
    "e2e/test_secrets.py",
    "importing/test_packages.py",
    "store/test_copying.py",
    "store/test_opening.py",
    "store/test_processes.py",
    "store/test_rotation_while_serving.py",
    "test_handover.py",
    "test_workers.py",
    "vault/test_life.py",
    "vault/test_model.py",
    "vault/test_processes.py",
    "vectors/test_redirects.py",
)
"""What `make test-long` runs, and `make test` doesn't: processes that die one after the other, stores that are opened,
copied and searched through, every order of a protocol, people in a browser, other people's packages and tools."""
LONGEST = (*TOGETHER, *ALONE, "test_app.py", "cli/test_programs.py", "vault/test_life.py", "web/test_setup.py")
"""What takes long begins: at the end it would keep one process busy alone."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what goes to one process, a file or a folder, and in which order."""
    tests = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(tests).as_posix()
        folder = place.partition("/")[0]
        if place.startswith(LONG):
            item.add_marker(pytest.mark.long)
        item.add_marker(pytest.mark.xdist_group(folder if folder in TOGETHER and place not in ALONE else place))

    def turn(item: pytest.Item) -> int:
        (group,) = next(item.iter_markers("xdist_group")).args
        return LONGEST.index(group) if group in LONGEST else len(LONGEST)

    items.sort(key=turn)
