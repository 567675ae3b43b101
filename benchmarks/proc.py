"""What the kernel says of a process and everything below it. Parsing is apart from reading.

A process that ends while it is looked at counts as nothing.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
RESET_PEAK = "5"  # proc(5), clear_refs: the peak of resident memory begins anew


def stat_fields(text: str) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; a program's name may hold spaces and brackets."""
    return text.rpartition(")")[2].split()


def parent_of(stat: str) -> int:
    """Return the parent's id."""
    return int(stat_fields(stat)[1])


def seconds_of(stat: str) -> float:
    """Return user and system time, with that of children that have ended and were waited for."""
    return sum(map(int, stat_fields(stat)[11:15])) / TICK


def kibibytes(text: str, key: str) -> int:
    """Return one figure of /proc/PID/status or smaps_rollup in bytes; 0 where it isn't there."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    return 0


def busy_of(text: str, cpu: int) -> float:
    """Return the seconds that a processor has worked for anybody, from /proc/stat; stolen time is counted."""
    for line in text.splitlines():
        name, *values = line.split()
        if name == f"cpu{cpu}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, values[:8])
            return (user + nice + system + irq + softirq + steal) / TICK
    return 0.0


def tree(pid: int, parents: Callable[[], Iterable[tuple[int, int]]] | None = None) -> list[int]:
    """Return the process and everything below it. `parents` gives (process, parent) of all there are."""
    below: dict[int, list[int]] = {}
    for one, parent in (parents or _parents)():
        below.setdefault(parent, []).append(one)
    found = [pid]
    for one in found:  # grows while it is walked
        found += below.get(one, [])
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process tree."""
    return sum(cpu_by_process(pid).values())


def cpu_by_process(pid: int) -> dict[int, float]:
    """Return the CPU time of each process of a tree."""
    return {one: seconds_of(text) for one in tree(pid) if (text := _read(one, "stat"))}


def cpu_busy(cpu: int) -> float:
    """Return the seconds that a processor has worked for anybody."""
    return busy_of((PROC / "stat").read_text(), cpu)


def resident(pid: int) -> int:
    """Return the resident bytes of a process tree."""
    return sum(kibibytes(_read(one, "status"), "VmRSS") for one in tree(pid))


def proportional(pid: int) -> int:
    """Return the bytes of a process tree, shared pages split among those that share them."""
    return sum(kibibytes(_read(one, "smaps_rollup"), "Pss") for one in tree(pid))


def peak(pid: int) -> int:
    """Return the most bytes that were ever resident, or since `reset_peak`."""
    return sum(kibibytes(_read(one, "status"), "VmHWM") for one in tree(pid))


def reset_peak(pid: int) -> None:
    """Let the peak begin at what is resident now."""
    for one in tree(pid):
        with suppress(OSError):
            (PROC / str(one) / "clear_refs").write_text(RESET_PEAK)


def _parents() -> Iterable[tuple[int, int]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (text := _read(int(entry.name), "stat")):
            yield int(entry.name), parent_of(text)


def _read(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text()
    except OSError:
        return ""
