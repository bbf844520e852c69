"""Which positions were received is known for ever, in whatever order they came."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from indelible.store.ranges import RangeSet, pack_ranges, unpack_ranges

ADDED = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda each: (each[0], sum(each))),
    max_size=30,
)


@given(ADDED)
def test_a_range_set_holds_exactly_what_was_added(added: list[tuple[int, int]]) -> None:
    """As a plain set of positions would, in ranges that neither overlap nor touch."""
    ranges = RangeSet()
    plain: set[int] = set()
    for first, last in added:
        ranges.add(first, last)
        plain.update(range(first, last + 1))
    assert {position for position in range(80) if position in ranges} == plain
    kept = ranges.ranges()
    assert all(left[1] + 1 < right[0] for left, right in pairwise(kept))
    assert unpack_ranges(pack_ranges(kept)) == kept
