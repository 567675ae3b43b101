"""The master key from a command's output: one clear error for whatever goes wrong, and its output in none of them."""

import base64
import shlex
import sys
import time
from pathlib import Path

import pytest

from gateway.app.key_command import run_key_command
from gateway.app.master import read_master_key, shown_source
from gateway.errors import StartError

KEY = bytes(range(32))
HEX = KEY.hex()


def python(code: str) -> str:
    """A command that runs this: quoted, as a person writes it into the configuration."""
    return shlex.join([sys.executable, "-c", code])


@pytest.mark.parametrize("text", [HEX, HEX.upper(), base64.b64encode(KEY).decode()])
def test_what_it_prints_is_the_key_white_space_around_it_or_not(text: str) -> None:
    assert read_master_key(f"command:{python(f'print(); print({text!r})')}") == KEY


def test_there_is_no_shell(tmp_path: Path) -> None:
    """What a shell would act on is an argument like any other."""
    code = f"import sys; print({HEX!r} if sys.argv[1:] == ['$HOME', ';', '>', 'x y'] else '')"
    assert read_master_key(f"command:{python(code)} $HOME ; > 'x y'") == KEY
    assert list(tmp_path.iterdir()) == []


def test_it_has_the_environment_and_an_empty_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", HEX)
    code = "import os, sys; print(os.environ['HERE'] if sys.stdin.read() == '' else '')"
    assert read_master_key(f"command:{python(code)}") == KEY


FAULTS = {
    "it fails": (f"print({HEX!r}); raise SystemExit(7)", "ended with status 7. Run it by hand to see why."),
    "it fails and complains": (
        f"import sys; sys.stderr.write({HEX!r}); sys.exit(1)",
        "ended with status 1. Run it by hand to see why.",
    ),
    "it is killed": ("import os; os.kill(os.getpid(), 9)", "ended with status -9."),
    "it prints nothing": ("print()", "prints nothing. It is to print the key, as base64 or hex."),
    "it prints without end": (f"while True: print({HEX!r})", "prints more than 1024 bytes."),
    "it prints the bytes themselves": (
        f"import sys; sys.stdout.buffer.write(bytes.fromhex({HEX!r}))",
        "this is not a master key It is 32 bytes as base64 (44 characters) or hex (64).",
    ),
    "it prints two keys": (f"print({HEX!r}); print({HEX!r})", "this is not a master key"),
    "its key is too short": (f"print({HEX[:-2]!r})", "this is not a master key"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_command_that_gives_no_key_is_named_and_nothing_that_it_said_or_was_told(case: str) -> None:
    code, expected = FAULTS[case]
    with pytest.raises(StartError) as raised:
        read_master_key(f"command:{python(code)} --token hush-hush")
    said = str(raised.value)
    assert sys.executable in said
    assert expected in said
    assert "hush-hush" not in said
    assert HEX[:16] not in said
    assert "\n" not in said


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(StartError, match=r"the command 'no-such-program' can't be run: No such file or directory"):
        read_master_key("command:no-such-program --token hush")


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    """It has begun another process, which holds its output open."""
    said = tmp_path / "pid"
    command = f"sh -c 'sleep 60 & echo $! > {said}; wait'"
    began = time.monotonic()
    with pytest.raises(StartError, match=r"gave no key within 1 seconds"):
        run_key_command(command, seconds=1.0)
    assert time.monotonic() - began < 10
    state = Path(f"/proc/{said.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_of_a_command_the_program_alone_is_shown() -> None:
    assert shown_source("command:vault read -token=hush secret/key") == "command:vault"
    assert shown_source("env:NAME") == "env:NAME"
