"""What is read from /proc: literal lines of it, and this very process."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import proc
from benchmarks.processes import LOAD_CPU, Refused, running

STAT = "4711 (a (strange) name) S 42 4711 4711 0 -1 4194560 10 20 0 0 150 50 7 3 20 0 1 0 100 1000000 500\n"
STATUS = "Name:\tproxy\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t1\n"
CPUS = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 20 30 999 888 4 5 6 0 0\ncpu10 1 1 1 1 1 1 1 1 0 0\n"


def test_a_programs_name_may_hold_brackets_and_spaces() -> None:
    assert proc.parent_of(STAT) == 42


def test_cpu_time_is_user_and_system_and_that_of_children_which_ended() -> None:
    assert proc.seconds_of(STAT) == (150 + 50 + 7 + 3) / proc.TICK


def test_memory_is_read_by_its_key_and_is_nothing_where_the_process_is_gone() -> None:
    assert proc.kibibytes(STATUS, "VmRSS") == 1024 * 1024
    assert proc.kibibytes(STATUS, "VmHWM") == 2048 * 1024
    assert proc.kibibytes("", "VmRSS") == 0


def test_a_processor_is_busy_with_all_but_idling_and_waiting() -> None:
    assert proc.busy_of(CPUS, 0) == (100 + 20 + 30 + 4 + 5 + 6) / proc.TICK
    assert proc.busy_of(CPUS, 7) == 0.0


def test_a_tree_is_the_process_and_all_below_it() -> None:
    parents = [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (6, 1)]
    assert proc.tree(2, lambda: parents) == [2, 3, 4, 5]


def test_the_work_of_a_process_below_is_counted() -> None:
    """Here a shell that waits for one that works."""
    work = f"'{sys.executable}' -c 'sum(range(10**7)); print(1, flush=True); input()'; true"
    with subprocess.Popen(["sh", "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        shell.stdout.readline()
        assert proc.cpu_seconds(shell.pid) > 0.03
        assert len(proc.cpu_by_process(shell.pid)) == 2
        assert proc.resident(shell.pid) > 2**20
        assert proc.proportional(shell.pid) > 0
        shell.communicate(b"\n")


def test_the_peak_of_memory_can_begin_anew() -> None:
    bytearray(64 * 2**20)
    proc.reset_peak(os.getpid())
    before = proc.peak(os.getpid())
    taken = bytearray(b"x") * (32 * 2**20)
    assert proc.peak(os.getpid()) - before > 24 * 2**20
    del taken


def test_a_program_is_pinned_and_ended_with_what_it_started(tmp_path: Path) -> None:
    marker = tmp_path / "ready"
    script = f"sleep 60 & echo $! > '{marker}.part'; mv '{marker}.part' '{marker}'; wait"
    with running(["sh", "-c", script], log=tmp_path / "log", cpus=(LOAD_CPU,), ready=marker.exists) as process:
        below = int(marker.read_text())
        assert os.sched_getaffinity(process.pid) == {LOAD_CPU}
        assert below in proc.tree(process.pid)
        ended = os.pidfd_open(below)
    assert process.returncode is not None
    assert select.select([ended], [], [], 5.0)[0] == [ended]
    os.close(ended)


def test_a_program_that_ends_before_it_is_ready_says_why(tmp_path: Path) -> None:
    failing = running(["sh", "-c", "echo no such file; exit 3"], log=tmp_path / "log", ready=lambda: False)
    with pytest.raises(Refused, match="it ended with status 3 before it was ready: no such file"):
        failing.__enter__()
