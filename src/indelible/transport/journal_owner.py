"""Whether the process that writes a journal file is still there.

The owner holds an exclusive `flock` on its file, and the kernel lets go of it however the owner
ends. One case is left: a child forked behind Python's back inherits the descriptor, and with it the
lock. There the header decides, which names the process beyond any reuse of its number.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from indelible.transport.journal_frames import JournalHeader

_STARTED_FIELD: Final = 22  # of /proc/PID/stat, counted from 1 (proc_pid_stat(5))


def boot_id() -> str:
    """This boot of this machine; empty where the kernel doesn't tell."""
    return _read_text("/proc/sys/kernel/random/boot_id")


def pid_space() -> str:
    """The namespace in which process numbers mean something; empty where unknown."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def started(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 where there is none."""
    stat = _read_text(f"/proc/{pid}/stat")
    # The second field is the program's name in brackets, and may hold anything.
    fields = stat[stat.rfind(")") + 1 :].split()
    if len(fields) <= _STARTED_FIELD - 3 or fields[0] == "Z":
        return 0
    return int(fields[_STARTED_FIELD - 3])


def has_ended(header: JournalHeader | None) -> bool:
    """Whether the process named by `header` is surely gone. In doubt it lives.

    Asked only where the lock is held: then another boot means another machine, not an earlier one.
    """
    if header is None or not header.pid_space or header.boot != boot_id():
        return False
    return header.pid_space == pid_space() and started(header.pid) != header.started


def this_process() -> tuple[str, str, int, int]:
    """Boot, pid space, pid and start of the calling process."""
    pid = os.getpid()
    return boot_id(), pid_space(), pid, started(pid)


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
