"""In which order nested writes happened, as far as their rows tell. No server."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.capture.postgres.nested_order import NestedChange, Put, find_moves

There = dict[Hashable, Hashable]
STEPS = st.lists(
    st.tuples(st.sampled_from("iuudm"), *[st.integers(0, 2)] * 3, st.integers(1, 3)), max_size=9
)


def make(steps: Sequence[tuple[str, int, int, int, int]]) -> list[NestedChange]:
    """Those of `steps` that could happen one after another, from one row at place 0."""
    there: There = {0: (0, 0)}
    made: list[NestedChange] = []
    for how, place, to, image, depth in steps:
        here = there.get(place)
        if how == "m" and there.get(to) is not None:
            continue
        if (here is None) != (how == "i"):
            continue
        target = to if how == "m" else place
        old = Put(place, here) if how != "i" else None
        new = Put(target, (target, image)) if how != "d" else None
        there[place] = None
        if new is not None:
            there[target] = new.image
        made.append(NestedChange(len(made), depth, old, new))
    return made


def fold(there: There, changes: Sequence[NestedChange]) -> There:
    there = dict(there)
    for change in changes:
        if change.old is not None:
            assert there.get(change.old.place) == change.old.image
            there[change.old.place] = None
        if change.new is not None:
            assert there.get(change.new.place) is None
            there[change.new.place] = change.new.image
    return there


def record(
    happened: Sequence[NestedChange], order: Sequence[int], at_end: There
) -> list[NestedChange]:
    """What was `happened`, in the order in which it was written down: looked at when the last was
    of each place, and at other times too, when it may have been as it never was again."""
    recorded: list[NestedChange] = []
    seen: set[Hashable] = set()
    for number in reversed(order):
        change = happened[number]
        places = {put.place for put in (change.old, change.new) if put is not None}
        left = tuple(
            Put(place, at_end.get(place) if place not in seen else "otherwise") for place in places
        )
        seen |= places
        recorded.append(change._replace(seq=len(order) - len(recorded), left=left))
    return recorded[::-1]


def moved(recorded: Sequence[NestedChange]) -> list[NestedChange]:
    moves = find_moves(recorded).numbers
    return [recorded[moves.get(change.seq, change.seq) - 1] for change in recorded]


@given(STEPS, st.randoms(use_true_random=False))
def test_any_order_is_put_right(
    steps: list[tuple[str, int, int, int, int]], rng: random.Random
) -> None:
    """However changes are shuffled: what they are put into leads from what was there at first to
    what was there in the end, and each goes on from the one before it."""
    happened = make(steps)
    at_first: There = {0: (0, 0)}
    at_end = fold(at_first, happened)
    order = rng.sample(range(len(happened)), len(happened))

    changes = moved(record(happened, order, at_end))

    made = Counter((change.old, change.new) for change in changes)
    assert made == Counter((change.old, change.new) for change in happened)
    assert fold(at_first, changes) == at_end


@given(
    st.lists(st.tuples(st.sampled_from("iuud"), *[st.just(0)] * 2, *[st.integers(1, 3)] * 2)),
    st.randoms(use_true_random=False),
)
def test_any_order_at_one_place_is_put_right(
    steps: list[tuple[str, int, int, int, int]], rng: random.Random
) -> None:
    """However many changes there are, and however often the row was the same again."""
    happened = make(steps)
    at_end = fold({0: (0, 0)}, happened)
    order = rng.sample(range(len(happened)), len(happened))

    assert fold({0: (0, 0)}, moved(record(happened, order, at_end))) == at_end


@given(STEPS)
def test_what_is_in_order_stays(steps: list[tuple[str, int, int, int, int]]) -> None:
    """Nothing moves that was written down as it happened."""
    happened = make(steps)
    at_end = fold({0: (0, 0)}, happened)

    assert find_moves(record(happened, range(len(happened)), at_end)) == ({}, True)


@pytest.mark.parametrize("images", [20_000, 2])
def test_long_nests(images: int) -> None:
    """A row that was written thousands of times over is put in order, whether it was ever the same
    again or not."""
    count = 20_001
    happened = [
        NestedChange(n, 1, Put(0, n % images), Put(0, (n + 1) % images)) for n in range(count)
    ]
    order = random.Random(1).sample(range(count), count)
    recorded = record(happened, order, {0: count % images})

    assert fold({0: 0}, moved(recorded)) == {0: count % images}


def test_what_contradicts_itself_stays() -> None:
    """Changes that can have happened in no order are left as they were written down, and it is
    said."""
    changes = [
        NestedChange(1, 1, Put(0, "a"), Put(0, "b")),
        NestedChange(2, 1, Put(0, "a"), Put(0, "c"), (Put(0, "d"),)),
    ]

    assert find_moves(changes) == ({}, False)


def test_only_so_much_is_tried() -> None:
    """Changes for which every order would have to be tried don't hold up the relay."""
    circles = [
        NestedChange(2 * n + way, 1, Put(0, here), Put(0, there))
        for n in range(40)
        for way, (here, there) in enumerate([("x", n), (n, "x")])
    ]
    never = [
        NestedChange(80, 2, Put(0, "p"), Put(0, "q")),
        NestedChange(81, 2, Put(0, "q"), Put(0, "p"), (Put(0, "x"),)),
        NestedChange(82, 2, Put(0, "x"), Put(1, "x")),
        NestedChange(83, 2, Put(1, "x"), Put(0, "x"), (Put(0, "x"), Put(1, None))),
    ]

    assert find_moves([*circles, *never]) == ({}, False)
