"""What the system says of this process: read by itself, since nobody else may look into it (`app/process`)."""

import os
import resource
from functools import cache
from pathlib import Path

FIGURES = ("cpu", "resident", "virtual", "files", "files_limit", "started")
"""Seconds, bytes, bytes, files, files, seconds since the epoch."""

_SELF = Path("/proc/self")
_PAGE = resource.getpagesize()


def figures() -> dict[str, float]:
    """Return those of `FIGURES` that this system tells; cheap, however many files are open."""
    times = os.times()
    found = {"cpu": times.user + times.system, "files_limit": float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])}
    try:
        virtual, resident = (_SELF / "statm").read_text().split()[:2]
        found["virtual"], found["resident"] = float(int(virtual) * _PAGE), float(int(resident) * _PAGE)
        found["started"] = _started()
        # Linux 6.2 and newer say how many there are without listing them.
        found["files"] = float((_SELF / "fd").stat().st_size or sum(1 for _ in (_SELF / "fd").iterdir()))
    except (OSError, ValueError):  # there is no /proc here, or no room to open anything
        pass
    return found


@cache
def _started() -> float:
    """proc_stat(5): the 22nd field is ticks after the boot; what stands before the last `)` may have spaces in it."""
    ticks = int((_SELF / "stat").read_text().rpartition(")")[2].split()[19])
    booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    return int(booted.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
