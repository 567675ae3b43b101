"""What a service manager hears, played by a socket of the test's."""

import asyncio
import os
import re
import socket
from pathlib import Path

import pytest

from gateway.app.notify import Manager


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
async def test_a_service_manager_hears_of_every_turn_and_that_the_loop_turns(tmp_path: Path, *, abstract: bool) -> None:
    """sd_notify(3), sd_watchdog_enabled(3)."""
    name = f"@gateway-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name[1:]}" if abstract else name)
        heard.settimeout(10)
        manager = Manager({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000"})
        for turn, said in (
            (manager.ready, r"READY=1"),
            (manager.reloading, r"RELOADING=1\nMONOTONIC_USEC=[0-9]+"),
            (manager.stopping, r"STOPPING=1"),
            (lambda: manager.handed_over(123), r"MAINPID=123\nREADY=1"),
        ):
            turn()
            assert re.fullmatch(said, heard.recv(1000).decode())
        assuring = asyncio.create_task(manager.keep_assured())
        assert [await asyncio.to_thread(heard.recv, 1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        assuring.cancel()


async def test_nobody_is_told_where_nobody_asked_and_a_manager_that_is_away_is_no_fault(tmp_path: Path) -> None:
    for environ in (
        {},
        {"NOTIFY_SOCKET": str(tmp_path / "away")},
        {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
    ):
        manager = Manager(environ)
        manager.ready()
        async with asyncio.timeout(5):
            await manager.keep_assured()  # which returns: nobody wants it of this process
