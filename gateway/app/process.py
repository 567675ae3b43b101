"""What a process asks of its system: that nobody looks into its memory, and files enough for its limits."""

import ctypes
import resource
import sys
from contextlib import suppress

import structlog

from gateway.settings import Settings

_PR_SET_DUMPABLE = 4  # prctl(2)
_OTHER_FILES = 256
"""Files besides the two of each exchange: the store, the log, the web listener's, name look-ups."""

log = structlog.get_logger("gateway")


def conceal() -> None:
    """Keep the keys in this process's memory: no core dump, and no debugger of the same user (prctl(2), ptrace(2)).

    Call it before a key is read. A program that this process becomes or starts has its own say again.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def affordable(settings: Settings) -> Settings:
    """Take as many files as `limits.connections` needs; return settings with fewer where the system gives fewer.

    Each connection may have one upstream beside it. A limit that can't be kept would end in connections that nobody
    takes; this one ends in a clear answer.
    """
    wanted = 2 * settings.limits.connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):  # macOS takes no more than it says elsewhere
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings
    held = max((soft - _OTHER_FILES) // 2, 1)
    hint = "raise the limit of open files (ulimit -n, LimitNOFILE=)"
    log.warning("limits.lowered", connections=held, configured=settings.limits.connections, files=soft, hint=hint)
    return settings.model_copy(update={"limits": settings.limits.model_copy(update={"connections": held})})
