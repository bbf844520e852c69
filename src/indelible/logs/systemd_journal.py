"""What a unit wrote to its standard output and error, from systemd's journal.

Read with `journalctl`, again and again from the last entry's cursor. Not with its `--follow`: that
begins with this boot and would pass over what came between our end and the machine's.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from indelible.errors import ConfigurationError, DeliveryError
from indelible.events.codec import UNDECODABLE

_BATCH_BYTES: Final = 65_536
_log = logging.getLogger(__name__)


_Message = str | list[int | str | list[int]] | None


class _Entry(msgspec.Struct):
    cursor: str = msgspec.field(name="__CURSOR")
    message: _Message = msgspec.field(name="MESSAGE", default=None)


_decode: Final = msgspec.json.Decoder(_Entry).decode


def matches_of(unit: str) -> list[str]:
    """What `journalctl` is to look for: `shop` and `shop.service` are a unit's standard output and
    error, `CONTAINER_NAME=shop` is a field and its value."""
    if "=" in unit:
        return [unit]
    name = unit if "." in unit else f"{unit}.service"
    # Entries about a unit, and what its processes sent by other ways, are no lines of its stderr.
    return [f"_SYSTEMD_UNIT={name}", "_TRANSPORT=stdout"]


class SystemdJournal:
    """The lines of one unit, from the oldest that the journal has, or behind `cursor`.

    journald cuts lines longer than `LineMax=` (48 KiB); ours are shorter. Entries that it dropped
    or removed are missing from their stream.
    """

    has_end: ClassVar = False

    def __init__(
        self,
        matches: Sequence[str],
        cursor: str = "",
        *,
        directory: Path | None = None,
        once: bool = False,
        poll_s: float = 1.0,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._matches = list(matches)
        self._cursor = cursor
        self._directory = directory
        self._once = once
        self._poll_s = poll_s
        self._is_stopping = is_stopping

    def read(self) -> Iterator[bytes]:
        """Whole lines; nothing, now and then, where nothing comes. Ends once `is_stopping`, or
        with `once` at the end.

        Raises `ConfigurationError` where there is no `journalctl`, and with `once` `DeliveryError`
        where it fails; without, it is asked again.
        """
        has_failed = False
        while not self._is_stopping():
            failure = yield from self._read_to_end()
            if self._once:
                if failure:
                    raise DeliveryError(f"expected entries from journalctl, got: {failure}")
                return
            if failure and not has_failed:
                _log.error("journalctl gives no entries, asking again: %s", failure)
            has_failed = bool(failure)
            yield b""
            time.sleep(self._poll_s)

    def place(self, unread: int) -> str:
        """The cursor of the last entry that `read` gave; entries are whole lines."""
        return self._cursor

    def _read_to_end(self) -> Generator[bytes, None, str]:
        """What there is now; what went wrong."""
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(  # noqa: S603 - no shell, and its owner's arguments
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    process_group=0,  # A terminal's Ctrl-C is for us; we end it.
                )
            except OSError as error:
                raise ConfigurationError(
                    f"expected journalctl, which reads systemd's journal, got {error.strerror}"
                ) from None
            try:
                yield from self._batches(process.stdout or ())
                is_ended = not self._is_stopping()
            except BaseException:
                process.kill()
                process.wait()
                raise
            if not is_ended:
                process.kill()
            status = process.wait()
            if process.stdout is not None:
                process.stdout.close()
            errors.seek(0)
            said = errors.read(500).decode("utf-8", "replace").strip()
        return (said or f"status {status}") if status and is_ended else ""

    def _command(self) -> list[str]:
        command = ["journalctl", "--output=json", "--all", "--quiet", "--no-pager"]
        command.append("--output-fields=MESSAGE")
        if self._directory is not None:
            command += ["--directory", str(self._directory)]
        if self._cursor:
            command += ["--after-cursor", self._cursor]
        return [*command, *self._matches]

    def _batches(self, entries: Iterable[bytes]) -> Iterator[bytes]:
        batch: list[bytes] = []
        size = 0
        cursor = self._cursor
        for line in entries:
            try:
                entry = _decode(line)
            except UNDECODABLE:
                continue  # What ends in the midst of an entry: it is asked for again.
            batch.append(_bytes_of(entry.message))
            size += len(batch[-1])
            cursor = entry.cursor
            if size >= _BATCH_BYTES:
                self._cursor = cursor
                yield b"\n".join(batch) + b"\n"
                batch, size = [], 0
            if self._is_stopping():
                return
        if batch:
            self._cursor = cursor
            yield b"\n".join(batch) + b"\n"


def _bytes_of(message: _Message) -> bytes:
    """A field as JSON has it: text, the bytes of what isn't text, or several of these."""
    if message is None:
        return b""
    if isinstance(message, str):
        return message.encode()
    said = bytearray()
    for each in message:
        if isinstance(each, int):
            said.append(each)
        else:
            said += (each.encode() if isinstance(each, str) else bytes(each)) + b"\n"
    return bytes(said)
