"""Pages of the index give back what was put in, and find all of it."""

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import VerificationError
from indelible.store.index import (
    decode_page,
    encode_directory,
    encode_pages,
    find_in_page,
    pages_with,
    references,
)

HASHES = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 7, 2**32 - 1]))
DISTANCES = st.one_of(st.integers(0, 5_000), st.integers(0, 2**32 - 1))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(HASHES, DISTANCES), min_size=1, max_size=3_000), st.booleans())
def test_every_reference_is_found_under_its_hash(
    pairs: list[tuple[int, int]], compressed: bool
) -> None:
    """Nothing is lost between pages, compressed or not, and nothing is found under another hash."""
    refs = sorted({references([term_hash], distance)[0] for term_hash, distance in pairs})
    pages = encode_pages(refs, compressed=compressed)
    directory = encode_directory([page.first_hash for page in pages])
    assert [ref for page in pages for ref in decode_page(page.data)] == refs
    wanted = sorted({term_hash for term_hash, _ in pairs if term_hash % 3} | {12_345})
    found = [
        distance
        for number, some in pages_with(directory, wanted)
        for distance in find_in_page(pages[number].data, some, zstandard.ZstdDecompressor())
    ]
    assert found == [ref & 0xFFFFFFFF for ref in refs if ref >> 32 in wanted]


@pytest.mark.parametrize("page", [b"", b"X", b"H", b"Hrubbish", b"h12345", b"i1234567"])
def test_bytes_that_are_no_page_are_refused(page: bytes) -> None:
    """A damaged page is an error of its own, never a shorter answer."""
    with pytest.raises(VerificationError, match="expected a page"):
        decode_page(page)
