"""Every file under a folder, byte by byte: as it stands, each compressed frame in it, each cell."""

from __future__ import annotations

import base64
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import zstandard

_MAGIC = b"\x28\xb5\x2f\xfd"
_MAX = 1 << 24


def forms(value: str) -> tuple[bytes, ...]:
    """A value as it may stand: as text, as bytes in base64, in hexadecimal, in UTF-16."""
    raw = value.encode()
    encoded = [base64.b64encode(b"\0" * shift + raw)[4:-4] for shift in range(3)]
    return (raw, raw.hex().encode(), value.encode("utf-16-le"), *encoded)


def found_in(directory: Path, values: tuple[str, ...]) -> list[str]:
    """Which values are readable, and in which files."""
    wanted = [(value, form) for value in values for form in forms(value)]
    return sorted(
        {
            f"{file.relative_to(directory)}: {value}"
            for file in directory.rglob("*")
            if file.is_file()
            for text in _texts(file)
            for value, form in wanted
            if form in text
        }
    )


def _texts(file: Path) -> Iterator[bytes]:
    raw = file.read_bytes()
    yield raw
    yield from _frames(raw)
    if raw.startswith(b"SQLite format 3\0"):
        # A cell that is longer than a page doesn't stand in one piece.
        for cell in _cells(file):
            yield cell
            yield from _frames(cell)


def _frames(raw: bytes) -> Iterator[bytes]:
    at = raw.find(_MAGIC)
    while at >= 0:
        with contextlib.suppress(zstandard.ZstdError):
            yield zstandard.ZstdDecompressor().decompressobj().decompress(raw[at : at + _MAX])
        at = raw.find(_MAGIC, at + 1)


def _cells(file: Path) -> Iterator[bytes]:
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table'"
        ).fetchall()
        for (name,) in tables:
            for row in connection.execute(f'SELECT * FROM "{name.decode()}"'):
                yield from (cell for cell in row if isinstance(cell, bytes))
