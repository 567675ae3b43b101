"""A gateway with a clock of its own: `python -m tests.chaos.replica CLOCK PACE serve`.

CLOCK is a file with one number in it, the seconds that this machine's clock is to be ahead; it may be changed at any
moment. PACE is how many times shorter the protocol's times are: everything that is measured against something else is
divided by it, so that what takes minutes can be seen in seconds.
"""

import mmap
import struct
import sys
import time
from pathlib import Path

SHORTENED = (
    "LEASE_SECONDS",
    "CALL_SECONDS",
    "SHORTEST_CALL",
    "WATCH_SECONDS",
    "WAIT_SECONDS",
    "CLAIM_SECONDS",
    "LONGEST_PAUSE",
    "LONGEST_LOOK",
    "BACK_OFF_FIRST",
    "LOOK_SECONDS",
)


def write_clock(file: Path, ahead: float) -> None:
    """Set a replica's clock: on the next look at it, it is so far ahead."""
    with file.open("r+b" if file.exists() else "w+b") as opened:
        opened.write(struct.pack("d", ahead))


def main(clock: str, pace: str, *arguments: str) -> None:
    """Serve."""
    with Path(clock).open("rb") as opened:
        ahead = mmap.mmap(opened.fileno(), 8, access=mmap.ACCESS_READ)
    true = time.time
    time.time = lambda: true() + struct.unpack("d", ahead[:8])[0]

    import gateway.app.serving  # noqa: PLC0415 - after the clock is as it is to be
    import gateway.store.clock  # noqa: F401, PLC0415 - as above
    from gateway.cli import main as command_line  # noqa: PLC0415 - as above

    for name, module in list(sys.modules.items()):
        if name.startswith(("gateway.vault.", "gateway.store.clock")):
            for constant in SHORTENED:
                if hasattr(module, constant):
                    setattr(module, constant, getattr(module, constant) / float(pace))
    sys.argv = ["gateway", *arguments]
    command_line()


if __name__ == "__main__":
    main(*sys.argv[1:])
