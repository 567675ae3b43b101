"""A systemd of the test's own: process 1 of new namespaces, with its own mounts, network and group of processes.

Nothing of it is seen outside, and all of it ends with its first process. The gateway stands under /mnt in it: its user
can't read where a test's interpreter may be.
"""

import os
import shutil
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SYSTEMD = next(
    (path for path in map(Path, ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")) if path.exists()), None
)
PROGRAM = "/mnt/python/bin/python{}.{}".format(*sys.version_info)
TARGETS = ("basic", "shutdown", "sockets", "sysinit", "network", "network-online", "time-sync")
"""What units wait for: there is nothing behind them."""
PATIENCE = 30.0
_BOOT = 10.0
_GATEWAY = {
    "gateway": "#!/bin/sh\nexport LD_LIBRARY_PATH=/mnt/python/lib PYTHONPATH=/mnt/code:/mnt/packages\n"
    f'exec {PROGRAM} -m gateway "$@"\n'
}
_APART = """
echo $$ >"$GROUP/cgroup.procs" || exit
exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child --mount-proc sh -c "$1"
"""
_MOUNTED = """
set -e
mount --make-rprivate /
mount --make-rshared /
mount -t tmpfs none /mnt
mkdir /mnt/python /mnt/packages /mnt/code /mnt/units /mnt/place /mnt/etc
mount --bind "$PYTHON" /mnt/python
mount --bind "$PACKAGES" /mnt/packages
mount --bind "$CODE" /mnt/code
mount --bind "$PLACE" /mnt/place
cp -a /etc/. /mnt/etc
cp -a /mnt/place/etc/. /mnt/etc
mount --bind /mnt/etc /etc
for place in /run /tmp /var/tmp /var/lib /var/log; do mount -t tmpfs none $place; done
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
export container=test SYSTEMD_UNIT_PATH=/mnt/place/units:/lib/systemd/system
exec "$SYSTEMD" --system --unit=test.target --log-target=console --show-status=0
"""


class Machine:
    """What runs in there. Commands run as its root."""

    def __init__(self, process: "subprocess.Popen[bytes]", said: Path) -> None:
        self._process, self._said = process, said

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in there; return all that it says."""
        inside = ["nsenter", "--target", str(self._first()), "--mount", "--net", "--pid", "--", *command]
        done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert not check or done.returncode == 0, done.stdout + done.stderr + self.log()
        return done.stdout + done.stderr

    def log(self) -> str:
        """What systemd and its services have said."""
        return self._said.read_text()

    def is_up(self) -> bool:
        return self._process.poll() is None and "test.target" in self.run(
            "systemctl", "show", "test.target", check=False
        )

    def _first(self) -> int:
        task = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int((task.read_text().split() or ["0"])[0])


@contextmanager
def machine(files: Mapping[str, str], code: Path) -> Iterator[Machine]:
    """Boot with these files, theirs alone: units/NAME, `test.target` among them, etc/NAME, and programs by their names.

    /mnt/place has them, beside `gateway`, which runs the code. Skips where no systemd can be run.
    """
    if os.geteuid() != 0 or SYSTEMD is None or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("needs root, systemd, unshare, nsenter and ip")
    with _group() as group, tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        place = Path(directory)
        place.chmod(0o755)
        for name, text in (
            {f"units/{target}.target": "[Unit]\n" for target in TARGETS}.items() | _GATEWAY.items() | files.items()
        ):
            file = place / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o600 if name.endswith(".key") else 0o644 if "/" in name else 0o755)
        said = place / "said"
        with said.open("wb") as out:
            process = subprocess.Popen(
                ["sh", "-c", _APART, "sh", _MOUNTED],
                env={
                    "PATH": os.environ["PATH"],
                    "GROUP": str(group),
                    "SYSTEMD": str(SYSTEMD),
                    "PYTHON": sys.base_prefix,
                    "PACKAGES": site.getsitepackages()[0],
                    "CODE": str(code),
                    "PLACE": directory,
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            yield _booted(Machine(process, said), process)
        finally:
            process.kill()
            process.wait()


def _booted(made: Machine, process: "subprocess.Popen[bytes]") -> Machine:
    end = time.monotonic() + _BOOT
    while not made.is_up():
        if process.poll() is not None or time.monotonic() > end:
            pytest.skip(f"no systemd can be run in namespaces here: {made.log()[-500:]}")
        time.sleep(0.05)  # another process's start: there is nothing to wait on
    return made


@contextmanager
def _group() -> Iterator[Path]:
    """A group of processes below the one that systemd may take for its own."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    top = next((Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2"), None)
    if top is None:
        pytest.skip("needs a cgroup2 file system")
    group = top / f"gateway-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no group of processes can be made here: {error.strerror}")
    try:
        yield group
    finally:
        end = time.monotonic() + _BOOT
        while group.exists() and time.monotonic() < end:
            for one in [*sorted(group.rglob("*/"), reverse=True), group]:
                with suppress(OSError):  # its last processes are about to end
                    one.rmdir()
            time.sleep(0.02)
