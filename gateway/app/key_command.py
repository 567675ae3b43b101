"""A command whose output is the master key: any client of a key management service, run once at a start.

No shell; the environment as it is; nothing on its standard input. Neither of its outputs is ever shown: an error names
the program alone, for its arguments may be nobody's business either.
"""

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from threading import Timer

from gateway.errors import Refusal, StartError

SECONDS = 30.0
LONGEST = 1024  # bytes of output; a key has 64 at most


def run_key_command(command: str, seconds: float = SECONDS) -> str:
    """Return what the command prints, without white space around it. Raises `StartError`."""
    words = shlex.split(command)
    late = False

    def end() -> None:
        nonlocal late
        late = True
        _kill(process)

    try:
        # In a session of its own, so that whatever it has started can be ended with it.
        process = subprocess.Popen(  # noqa: S603 - the operator's own command, from the configuration
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        raise _refused(words[0], f"can't be run: {error.strerror}", "Check keys.source.") from None
    timer = Timer(seconds, end)
    timer.start()
    with process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        output = process.stdout.read(LONGEST + 1)
        if len(output) > LONGEST:
            _kill(process)
        status = process.wait()
        timer.cancel()
    if late:
        raise _refused(words[0], f"gave no key within {seconds:g} seconds", "Run it by hand to see why.")
    if len(output) > LONGEST:
        raise _refused(words[0], f"prints more than {LONGEST} bytes", "It is to print the key and nothing else.")
    if status != 0:
        raise _refused(words[0], f"ended with status {status}", "Run it by hand to see why.")
    if not output.strip():
        raise _refused(words[0], "prints nothing", "It is to print the key, as base64 or hex.")
    return output.decode("ascii", "replace").strip()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _refused(program: str, what: str, hint: str) -> StartError:
    detail = f"keys.source: the command {program!r} {what}."
    return StartError(Refusal(code="invalid", detail=detail, hint=hint))
