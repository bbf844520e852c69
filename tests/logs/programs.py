"""Programs that log, run for real: what their stderr holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from indelible.logs.following import Following, Irregular
from indelible.logs.frames import Frame, LineReader, StreamId, Unsigned
from indelible.logs.keys import FD_VARIABLE, LogKeys, hand_over

KEYS = LogKeys.new()
CONFIGURED = """
import logging, os, signal, sys, threading, time
from indelible import logs
logs.configure(service="test")
log = logging.getLogger("shop")
"""


class Said(msgspec.Struct):
    """What a program wrote, told apart."""

    frames: list[Frame]
    unsigned: list[Unsigned]
    irregular: list[Irregular]
    status: int

    def lines(self, line_class: str = "L") -> list[dict[str, Any]]:
        return [json.loads(frame.json) for frame in self.frames if frame.line_class == line_class]

    @property
    def messages(self) -> list[str]:
        return [line["m"] for line in self.lines() if "m" in line]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [line["e"] for line in self.lines("A")]


def started(
    code: str,
    *,
    stderr: int,
    configured: str = CONFIGURED,
    signed: bool = True,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] | None = None,
) -> subprocess.Popen[bytes]:
    """A process that runs `code` (or `command`) with the keys on a descriptor, and `stderr`."""
    fd = hand_over(KEYS)
    told = {FD_VARIABLE: str(fd)} if signed else {}
    try:
        return subprocess.Popen(
            command or [sys.executable, "-c", configured + textwrap.dedent(code)],
            stderr=stderr,
            stdout=subprocess.PIPE,
            pass_fds=(fd,) if signed else (),
            env={**os.environ, **told, **(environment or {})},
        )
    finally:
        os.close(fd)


def run(code: str = "", *, is_text: bool = False, **options: Any) -> Said:
    """Run `code` to its end, its stderr read all the while. With `is_text` a formatter's text is
    looked for in it, instead of frames."""
    process = started(code, stderr=subprocess.PIPE, **options)
    _, written = process.communicate(timeout=60)
    return (said_as_text if is_text else said)(written, process.returncode)


def said(written: bytes, status: int = 0) -> Said:
    """What `written` holds."""
    found = Said([], [], [], status)
    reader, following = LineReader(KEYS.master), Following()
    for line in written.splitlines():
        for part in reader.read(line):
            if isinstance(part, Unsigned):
                found.unsigned.append(part)
                continue
            irregular, is_new = following.take(part)
            if irregular is not None:
                found.irregular.append(irregular)
            if is_new:
                found.frames.append(part)
            if part.line_class == "C" and json.loads(part.json)["is"] == "end":
                following.end(part.stream)
    found.irregular += following.unended()
    return found


def said_as_text(written: bytes, status: int = 0) -> Said:
    """What `written` holds, where nothing is signed: whole lines of ours are taken for frames."""
    found = Said([], [], [], status)
    for number, padded in enumerate(written.split(b"\n")[:-1], 1):
        line = padded.rstrip(b" ")  # as rich pads it
        try:
            line_class = json.loads(line)["c"]
        except (ValueError, TypeError, KeyError):
            found.unsigned.append(Unsigned(line))
        else:
            found.frames.append(Frame(line_class, StreamId("0" * 16), number, line[:-1]))
    return found
