"""Running an application under the tee: its stderr is ours, all else is as if we weren't there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Final

import msgspec

from indelible.errors import ConfigurationError
from indelible.logs.inputs import DescriptorInput
from indelible.logs.keys import FD_VARIABLE, LogKeys, hand_over, name_of_pipe

_FORWARDED: Final = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)


class Application:
    """The command, started. Its standard input and output are ours; it finds the keys on an open
    descriptor whose number is in its environment."""

    def __init__(
        self,
        command: Sequence[str],
        keys: LogKeys,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Raises `ConfigurationError` where it can't be started."""
        # The first free one above what shells use: the command's own files get the usual numbers.
        read_end, write_end = os.pipe()
        fd = hand_over(msgspec.structs.replace(keys, pipe=name_of_pipe(write_end)))
        try:
            self._process = subprocess.Popen(  # noqa: S603 - that is what a tee is for
                list(command),
                stderr=write_end,
                pass_fds=(fd,),
                env={**environment, FD_VARIABLE: str(fd)},
            )
        except OSError as error:
            os.close(read_end)
            raise ConfigurationError(
                f"expected to run {command[0]!r}, got {error.strerror}"
            ) from None
        finally:
            os.close(write_end)
            os.close(fd)
        self._read_end = read_end

    @property
    def pid(self) -> int:
        return self._process.pid

    def stderr(self, linger_s: float) -> DescriptorInput:
        """What it writes to stderr, until that is closed; or, once the command ended, until nothing
        came for `linger_s`: a process that it left behind may hold the other end for ever."""
        ended = threading.Event()
        threading.Thread(target=self._wait, args=(ended,), daemon=True).start()
        return DescriptorInput(self._read_end, is_over=ended.is_set, linger_s=linger_s)

    def close(self) -> int:
        """Wait for its end; its exit status, as `subprocess` has it."""
        os.close(self._read_end)
        return self._process.wait()

    def _wait(self, ended: threading.Event) -> None:
        self._process.wait()
        ended.set()


@contextlib.contextmanager
def forwarded_signals(pid: Callable[[], int | None]) -> Iterator[None]:
    """Signals that are sent to us go to the application; what a terminal sends, it has already.

    A terminal's Ctrl-C reaches the whole foreground group, a `kill` only us. Python's handlers
    aren't told which it was, so the application is sent nothing where it is of the group that the
    terminal has in the foreground.
    """

    def forward(number: int, frame: FrameType | None) -> None:
        process = pid()
        if process is None or (number in _FROM_TERMINAL and _is_foreground()):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_FROM_TERMINAL: Final = frozenset((signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH))


def _is_foreground() -> bool:
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(fd)


def end_like(status: int) -> int:
    """Our exit code for the application's status; where a signal ended it, one ends us, too."""
    if status < 0:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
        return 128 - status
    return status
