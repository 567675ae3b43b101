"""On what it was measured: the machine, the versions, the date."""

import datetime as dt
import os
import platform
from pathlib import Path

from benchmarks.install import find
from benchmarks.peers import PEERS, version


def machine() -> dict[str, str]:
    """Return the processors, the memory, the kernel and the Python."""
    kibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "processors": f"{len(os.sched_getaffinity(0))} CPUs, {_model()}",
        "memory": f"{kibibytes / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": f"Python {platform.python_version()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of the peers and tools that are here."""
    programs = {name: find(name) for name in (*PEERS, "wrk")}
    return {name: version(name, program) for name, program in programs.items() if program}


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
