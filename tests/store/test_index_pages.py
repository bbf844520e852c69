"""Pages of the index give back what was put in, and find all of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.errors import VerificationError
from indelible.store.index import (
    decode_page,
    distances_in,
    encode_directory,
    encode_pages,
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
    for wanted in {term_hash for term_hash, _ in pairs[:20]} | {12_345}:
        found = [
            distance
            for number in pages_with(directory, wanted)
            if number < len(pages)
            for distance in distances_in(pages[number].data, wanted)
        ]
        assert found == [ref & 0xFFFFFFFF for ref in refs if ref >> 32 == wanted]


@pytest.mark.parametrize("page", [b"", b"X", b"H", b"Hrubbish", b"h12345", b"i1234567"])
def test_bytes_that_are_no_page_are_refused(page: bytes) -> None:
    """A damaged page is an error of its own, never a shorter answer."""
    with pytest.raises(VerificationError, match="expected a page"):
        decode_page(page)
