"""The bytes of a log in blocks of bounded size: plain, gzip or Zstandard, by its first bytes."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Final

import zstandard

from indelible.errors import UnreadableLogError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES: Final = 256 << 10
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_UTF16: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_OTHERS: Final = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
}
_MAX_WINDOW_BYTES: Final = 128 << 20
# A Zstandard block of 4 bytes may be 128 KiB of text: few bytes in, so that few come out.
_ZSTD_FEED_BYTES: Final = 128


def read_blocks(file: BinaryIO, name: str, progress: Callable[[int], None]) -> Iterator[bytes]:
    """The text in `file` in blocks; `progress` is told how many of its own bytes were read.

    Raises `UnreadableLogError` where it can't be read to its end, after what could be.
    """
    try:
        head = file.read(BLOCK_BYTES)
        for magic, program in _OTHERS.items():
            if head.startswith(magic):
                raise UnreadableLogError(
                    f"{name}: expected plain text, gzip or Zstandard, got {program}: decompress it "
                    "first, as in `xz -dc FILE | indelible scan -`"
                )
        if head.startswith(_GZIP):
            source = gzip.GzipFile(fileobj=_Rest(head, file, progress))
            while block := source.read1(BLOCK_BYTES):
                yield block
            return
        blocks = _plain(head, file, progress)
        if head.startswith(_ZSTD):
            blocks = _zstd(blocks)
        elif codec := _UTF16.get(head[:2]):
            blocks = _utf_16(blocks, codec)
        yield from blocks
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        raise UnreadableLogError(
            f"{name}: expected compressed data to its end, got {error}; what is before was scanned"
        ) from None
    except OSError as error:
        raise UnreadableLogError(f"{name}: {error.strerror or error}") from None


def _plain(head: bytes, file: BinaryIO, progress: Callable[[int], None]) -> Iterator[bytes]:
    done = 0
    while head:
        done += len(head)
        progress(done)
        yield head
        head = file.read(BLOCK_BYTES)


def _zstd(blocks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    frame = decompressor.decompressobj()
    is_open = False
    for block in blocks:
        at = 0
        while at < len(block):
            if frame.eof:
                frame = decompressor.decompressobj()
            fed = block[at : at + _ZSTD_FEED_BYTES]
            if text := frame.decompress(fed):
                yield text
            at += len(fed) - len(frame.unused_data)
            is_open = not frame.eof
    if is_open:
        raise EOFError("the end of the file within a frame")


def _utf_16(blocks: Iterator[bytes], codec: str) -> Iterator[bytes]:
    odd = b""
    for block in blocks:
        whole = odd + block
        cut = len(whole) - len(whole) % 2
        odd = whole[cut:]
        yield whole[:cut].decode(codec, "replace").encode("utf-8", "replace")


class _Rest(io.RawIOBase):
    """A file of which the beginning was read already; counts what is taken."""

    def __init__(self, head: bytes, file: BinaryIO, progress: Callable[[int], None]) -> None:
        super().__init__()
        self._head = head
        self._file = file
        self._progress = progress
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        taken, self._head = self._head[: len(view)], self._head[len(view) :]
        taken = taken or self._file.read(len(view))
        view[: len(taken)] = taken
        self._done += len(taken)
        self._progress(self._done)
        return len(taken)
