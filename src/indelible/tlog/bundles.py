"""Entry bundles: the entries under one level 0 tile, each with its length before it.

`u16be(len) ‖ entry`, at most 256 times, and not a byte more (c2sp.org/tlog-tiles).
"""

from collections.abc import Sequence

from indelible.errors import VerificationError
from indelible.tlog.tiles import FULL_WIDTH

MAX_ENTRY_BYTES = 65_535


class MalformedBundleError(VerificationError):
    """A bundle holds other than the entries that the tree's size says that it must."""


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """The bundle of 1 to 256 entries of at most 65,535 bytes, else `MalformedBundleError`."""
    if not 1 <= len(entries) <= FULL_WIDTH:
        raise MalformedBundleError(
            f"bundle: expected 1 to {FULL_WIDTH} entries, came {len(entries)}"
        )
    parts: list[bytes] = []
    for place, entry in enumerate(entries):
        if len(entry) > MAX_ENTRY_BYTES:
            raise MalformedBundleError(
                f"bundle entry {place}: expected at most {MAX_ENTRY_BYTES} bytes, came {len(entry)}"
            )
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def parse_bundle(bundle: bytes, width: int) -> list[bytes]:
    """The exactly `width` entries of a bundle; raises `MalformedBundleError` for any other bytes.

    Trailing bytes are refused even after 256 entries: a verifier that hashes the first 256 and
    stops would let an entry be added that no signature covers.
    """
    entries: list[bytes] = []
    end = 0
    for place in range(width):
        start = end + 2
        if start > len(bundle):
            raise MalformedBundleError(
                f"bundle: expected {width} entries, came {place} and {len(bundle) - end} bytes"
            )
        end = start + int.from_bytes(bundle[start - 2 : start], "big")
        if end > len(bundle):
            raise MalformedBundleError(
                f"bundle entry {place}: expected {end - start} bytes, came {len(bundle) - start}"
            )
        entries.append(bundle[start:end])
    if end != len(bundle):
        raise MalformedBundleError(
            f"bundle: expected its end after {width} entries, came {len(bundle) - end} more bytes"
        )
    return entries
