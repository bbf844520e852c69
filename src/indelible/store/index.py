"""Runs of the index: sorted (term hash, entry) references in small compressed pages. Pure.

A reference is an int: the term's hash in the upper 32 bits, and below them the entry's distance
from the run's first entry. Sorting references sorts by hash, then entry.
"""

from __future__ import annotations

import operator
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import zstandard

from indelible.store.errors import MalformedBlockError

RUN_REFS: Final = 4_096
"""References that wait before they become a run of their own."""
MERGED_REFS: Final = 65_536
"""References from which runs are merged into one that stays."""
PAGE_REFS: Final = 784
"""Two compressed pages then fill one page of the file, but for those with rows that changed."""
SEALED_PAGE_REFS: Final = 1_100
"""The same for runs of sealed entries, whose references need a third less."""

_MANY: Final = 64
"""From so many hashes on it is cheaper to look at each of a page than to seek each in it."""

_MAX_PAGE_BYTES: Final = SEALED_PAGE_REFS * 8
_SEALED: Final = {b"S": "H", b"T": "I"}
"""Pages of sealed entries, by the width of their distances."""
_HIGH: Final = 1 if sys.byteorder == "little" else 0
"""Which of the two halves of a 64-bit number in memory is the upper one."""


class Page(NamedTuple):
    """Up to `PAGE_REFS` references; `first_hash` leads a reader to it."""

    first_hash: int
    data: bytes


def references(term_hashes: Iterable[int], distance: int) -> list[int]:
    """The references from terms to the entry `distance` behind the run's first."""
    return [term_hash << 32 | distance for term_hash in term_hashes]


def encode_pages(refs: Sequence[int], *, compressed: bool = True) -> list[Page]:
    """The pages of a run; `refs` are sorted. One that won't stay isn't worth compressing."""
    # A page at a time would look at each reference twice; an array is split in C.
    words = array("I", array("Q", refs).tobytes())
    hashes, distances = words[_HIGH::2], words[1 - _HIGH :: 2]
    return [
        Page(
            hashes[at],
            _encode_page(hashes[at : at + PAGE_REFS], distances[at : at + PAGE_REFS], compressed),
        )
        for at in range(0, len(refs), PAGE_REFS)
    ]


def encode_sealed_pages(refs: Sequence[int]) -> list[Page]:
    """The pages of a run that stays for good, and is longer than others: smaller, slower to make.

    Each hash is its difference from the one before, the first byte of all stands before the second
    of all, and so on: what is alike stands together.
    """
    words = array("I", array("Q", refs).tobytes())
    hashes, distances = words[_HIGH::2], words[1 - _HIGH :: 2]
    pages = []
    for at in range(0, len(refs), SEALED_PAGE_REFS):
        some = hashes[at : at + SEALED_PAGE_REFS]
        steps = array("I", some[:1])
        steps.extend(map(operator.sub, some[1:], some))
        places = distances[at : at + SEALED_PAGE_REFS]
        letter = b"S" if max(places) < 1 << 16 else b"T"
        raw = _planes(_to_bytes(steps), 4, 4)
        raw += _planes(_to_bytes(places), 4, 2 if letter == b"S" else 4)
        data = zstandard.ZstdCompressor(level=3, write_checksum=False).compress(raw)
        pages.append(Page(some[0], letter + data))
    return pages


def encode_directory(first_hashes: Sequence[int]) -> bytes:
    """The pages' first hashes, by which a page is found without reading it."""
    return _to_bytes(array("I", first_hashes))


def pages_with(directory: bytes, hashes: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """The pages that may hold some of these sorted hashes: (its number, which of them)."""
    firsts = _from_bytes("I", directory)
    page, at = -1, bisect_left(hashes, firsts[0]) if firsts else 0
    while at < len(hashes) and page + 1 < len(firsts):
        page = max(page + 1, bisect_left(firsts, hashes[at]) - 1)
        if page + 1 == len(firsts):
            yield page, hashes[at:]
            return
        # A page may end with the hash that the next one begins with.
        end = firsts[page + 1]
        yield page, hashes[at : bisect_right(hashes, end, at)]
        at = bisect_left(hashes, end, at)


def find_in_page(
    page: bytes, hashes: Sequence[int], decompressor: zstandard.ZstdDecompressor
) -> list[int]:
    """The distances that stand beside these sorted hashes. Raises `MalformedBlockError`."""
    held, distances = _decode_page(page, decompressor)
    if len(hashes) > _MANY:
        hashes = sorted(set(hashes).intersection(held))
    found: list[int] = []
    at = 0
    for term_hash in hashes:
        at = bisect_left(held, term_hash, at)
        if at == len(held):
            break
        if held[at] == term_hash:
            found += distances[at : bisect_right(held, term_hash, at)]
    return found


def decode_page(page: bytes) -> list[int]:
    """The references of a page, in order. Raises `MalformedBlockError`."""
    hashes, distances = _decode_page(page, zstandard.ZstdDecompressor())
    words = array("I", bytes(8 * len(hashes)))
    words[_HIGH::2], words[1 - _HIGH :: 2] = hashes, array("I", distances)
    return array("Q", words.tobytes()).tolist()


def _encode_page(hashes: array[int], distances: array[int], compressed: bool) -> bytes:
    """Hashes, then distances, of 16 bits (`H`) or 32 (`I`); small letters where uncompressed."""
    width = b"I"
    if max(distances) < 1 << 16:
        width, distances = b"H", array("H", distances.tobytes())[1 - _HIGH :: 2]
    raw = _to_bytes(hashes) + _to_bytes(distances)
    if not compressed:
        return width.lower() + raw
    # A compressor of each call's own: one isn't safe for threads, and two trails may append.
    return width + zstandard.ZstdCompressor(level=1, write_checksum=False).compress(raw)


def _decode_sealed_page(
    page: bytes, decompressor: zstandard.ZstdDecompressor
) -> tuple[array[int], array[int]]:
    width = _SEALED[page[:1]]
    try:
        if not 0 <= zstandard.frame_content_size(page[1:]) <= _MAX_PAGE_BYTES:
            raise MalformedBlockError("expected a page of the index")
        raw = decompressor.decompress(page[1:])
    except zstandard.ZstdError:
        raise MalformedBlockError("expected a page of the index") from None
    size = 2 if width == "H" else 4
    count, rest = divmod(len(raw), 4 + size)
    if rest:
        raise MalformedBlockError("expected a page of whole references")
    try:
        hashes = array("I", accumulate(_from_bytes("I", _interleave(raw[: count * 4], 4))))
    except OverflowError:
        raise MalformedBlockError("expected hashes of 32 bits in a page of the index") from None
    return hashes, _from_bytes(width, _interleave(raw[count * 4 :], size))


def _planes(raw: bytes, width: int, kept: int) -> bytes:
    """The first bytes of all numbers, then the second ones, as far as `kept`."""
    return b"".join(raw[at::width] for at in range(kept))


def _interleave(planes: bytes, width: int) -> bytes:
    count = len(planes) // width
    raw = bytearray(len(planes))
    for at in range(width):
        raw[at::width] = planes[at * count : (at + 1) * count]
    return bytes(raw)


def _decode_page(
    page: bytes, decompressor: zstandard.ZstdDecompressor
) -> tuple[array[int], array[int]]:
    if page[:1] in _SEALED:
        return _decode_sealed_page(page, decompressor)
    letter, raw = page[:1].decode("latin-1"), page[1:]
    width = letter.upper()
    try:
        if width not in ("H", "I"):
            raise MalformedBlockError("expected a page of the index")
        if letter == width:
            if zstandard.frame_content_size(raw) > _MAX_PAGE_BYTES:
                raise MalformedBlockError("expected a page of the index")
            raw = decompressor.decompress(raw)
    except zstandard.ZstdError:
        raise MalformedBlockError("expected a page of the index") from None
    count, rest = divmod(len(raw), 6 if width == "H" else 8)
    if rest:
        raise MalformedBlockError("expected a page of whole references")
    return _from_bytes("I", raw[: count * 4]), _from_bytes(width, raw[count * 4 :])


def _to_bytes(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()


def _from_bytes(typecode: str, raw: bytes) -> array[int]:
    numbers = array(typecode)
    numbers.frombytes(raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
