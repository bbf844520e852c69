"""The order in which nested writes of one table happened, from what their rows say. Pure.

Each change takes a row away as it was, or puts one there, or both. In the order that is looked for
every row is there when it is taken, and none is put where another is. What is at a place in the end
is known where it was looked at when the last change of that place was recorded; so what was there
at first is what changes took and none of them had put. Where several orders are true, outer changes
come first.

Changes whose rows never shared a place don't bear on each other. Those that are in order stay where
they are.

What was delivered of a nest isn't delivered anew, so a later version must find the same orders.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

_MAX_TRIED: Final = 50_000
"""How many steps are tried for one nest once the straight way led nowhere."""
_MAX_SEARCHED: Final = 250
"""Of so many changes every order may be tried; each step costs as much as there are changes."""


class Put(NamedTuple):
    """What is at a place: all that is known of a row; None where no row is."""

    place: Hashable
    image: Hashable


class NestedChange(NamedTuple):
    """A row of the outbox at the number `seq`; `left` is what was found when it was written."""

    seq: int
    depth: int
    old: Put | None
    new: Put | None
    left: tuple[Put, ...] = ()


class Moves(NamedTuple):
    """For each number at which another change belongs than stands there, that other's number.

    `is_clear`: in that order changes lead from each other to what was found. Those for which none
    was found stay as they are.
    """

    numbers: dict[int, int]
    is_clear: bool


def find_moves(changes: Sequence[NestedChange]) -> Moves:
    """Put changes in order: all those of one nest, ascending."""
    found: dict[Hashable, Hashable] = {}
    for change in changes:
        found.update(change.left)
    moves: dict[int, int] = {}
    is_clear = True
    tries = iter(range(_MAX_TRIED))
    for group in _entangled(changes, _tangled_places(changes, found)):
        order = _Ordering(group, found, tries).find()
        if order is None:
            is_clear = False
            order = _Ordering(group, {}, tries).find() or group
        for change, other in zip(group, order, strict=True):
            if change.seq != other.seq:
                moves[change.seq] = other.seq
    return Moves(moves, is_clear)


def _tangled_places(
    changes: Iterable[NestedChange], found: Mapping[Hashable, Hashable]
) -> set[Hashable]:
    """The places whose changes don't follow on each other, or lead elsewhere than was found."""
    there: dict[Hashable, Hashable] = {}
    tangled: set[Hashable] = set()
    for _, _, old, new, _ in changes:
        if old is not None:
            if there.get(old.place, old.image) != old.image:
                tangled.add(old.place)
            there[old.place] = None
        if new is not None:
            # Rows that go by all their values don't say so otherwise.
            comes_back = new.place == new.image and new.place in there
            if comes_back or there.get(new.place) is not None:
                tangled.add(new.place)
            there[new.place] = new.image
    tangled.update(place for place, image in found.items() if there.get(place, image) != image)
    return tangled


def _entangled(
    changes: Iterable[NestedChange], tangled: set[Hashable]
) -> Iterator[list[NestedChange]]:
    """The changes of each tangled place, with those of all places that their rows came by."""
    if not tangled:
        return
    leads: dict[Hashable, Hashable] = {}

    def root(place: Hashable) -> Hashable:
        while (next_ := leads.get(place, place)) != place:
            leads[place] = leads.get(next_, next_)
            place = next_
        return place

    for _, _, old, new, _ in changes:
        if old is not None and new is not None and old.place != new.place:
            leads[root(old.place)] = root(new.place)
    groups: dict[Hashable, list[NestedChange]] = {root(place): [] for place in tangled}
    for change in changes:
        put = change.new or change.old
        if put is not None and (group := groups.get(root(put.place))) is not None:
            group.append(change)
    yield from groups.values()


class _Ordering:
    """Orders changes that bear on each other, given what was found at places in the end."""

    def __init__(
        self,
        changes: Sequence[NestedChange],
        found: Mapping[Hashable, Hashable],
        tries: Iterator[int],
    ) -> None:
        self._changes = sorted(changes, key=lambda change: (change.depth, change.seq))
        self._found = found
        self._tries = tries

    def find(self) -> list[NestedChange] | None:
        """None where no order is true, or none was found."""
        there = self._at_first()
        if there is None:
            return None
        if len(there) == 1:
            return self._walk(*there.values())
        return self._straight(dict(there)) or self._search(there)

    def _at_first(self) -> dict[Hashable, Hashable] | None:
        """What was at each place before all of the changes; None where they contradict."""
        taken: defaultdict[Hashable, Counter[Hashable]] = defaultdict(Counter)
        first: dict[Hashable, Hashable] = {}
        for _, _, old, new, _ in self._changes:
            if old is not None:
                taken[old.place][old.image] += 1
                first.setdefault(old.place, old.image)
            if new is not None:
                taken[new.place][new.image] -= 1
                first.setdefault(new.place, None)
        there: dict[Hashable, Hashable] = {}
        for place, counts in taken.items():
            if place in self._found:
                counts[self._found[place]] += self._found[place] is not None
                if min(counts.values()) < 0:
                    return None
            elif not any(counts.values()):
                # A circle may begin anywhere.
                there[place] = first[place]
                continue
            begun = list((+counts).elements())
            if len(begun) > 1:
                return None
            there[place] = begun[0] if begun else None
        return there

    def _walk(self, there: Hashable) -> list[NestedChange] | None:
        """At one place each change is a step from what was there to what is: all in one walk.

        Where the walk has gone on and left a circle behind, it goes round that before (Hierholzer).
        """
        steps: defaultdict[Hashable, list[NestedChange]] = defaultdict(list)
        for change in reversed(self._changes):
            steps[_image(change.old)].append(change)
        walked: list[NestedChange] = []
        taken: list[NestedChange] = []
        while True:
            if steps[there]:
                taken.append(steps[there].pop())
                there = _image(taken[-1].new)
            elif taken:
                walked.append(taken.pop())
                there = _image(walked[-1].old)
            else:
                break
        walked.reverse()
        leads = all(_image(a.new) == _image(b.old) for a, b in itertools.pairwise(walked))
        return walked if leads and len(walked) == len(self._changes) else None

    def _straight(self, there: dict[Hashable, Hashable]) -> list[NestedChange] | None:
        """Always the first change that can be; each waits for what it lacks."""
        order: list[NestedChange] = []
        ready = list(range(len(self._changes)))
        waiting: defaultdict[Put, list[int]] = defaultdict(list)
        had: dict[int, Put] = {}

        def wake(put: Put) -> None:
            if waiting[put]:
                number = heapq.heappop(waiting[put])
                had[number] = put
                heapq.heappush(ready, number)

        while ready:
            number = heapq.heappop(ready)
            change = self._changes[number]
            lacking = _lacking(change, there)
            if lacking is None:
                _make(change, there)
                order.append(change)
                for place in {put.place for put in (change.old, change.new) if put is not None}:
                    wake(Put(place, there[place]))
                continue
            heapq.heappush(waiting[lacking], number)
            before = had.pop(number, lacking)
            if before != lacking and there.get(before.place) == before.image:
                wake(before)
        return order if len(order) == len(self._changes) else None

    def _search(self, there: dict[Hashable, Hashable]) -> list[NestedChange] | None:
        """Every way there is, until one leads to the end or enough was tried.

        What is there depends on which changes were made and not on their order, so no set of them
        is tried twice.
        """
        if len(self._changes) > _MAX_SEARCHED:
            return None
        order: list[int] = []
        made = 0
        seen: set[int] = set()
        next_ = [0]
        while len(order) < len(self._changes):
            if next(self._tries, None) is None:
                return None
            number = next_[-1]
            if number == len(self._changes):
                next_.pop()
                if not order:
                    return None
                last = order.pop()
                _take_back(self._changes[last], there)
                made ^= 1 << last
                continue
            next_[-1] += 1
            with_it = made | 1 << number
            if with_it == made or with_it in seen or _lacking(self._changes[number], there):
                continue
            seen.add(with_it)
            _make(self._changes[number], there)
            order.append(number)
            made = with_it
            next_.append(0)
        return [self._changes[number] for number in order]


def _image(put: Put | None) -> Hashable:
    return put.image if put is not None else None


def _lacking(change: NestedChange, there: Mapping[Hashable, Hashable]) -> Put | None:
    """What has to be there before the change can be made; None for nothing more."""
    old, new = change.old, change.new
    if old is not None and there.get(old.place) != old.image:
        return old
    stays = old is not None and new is not None and old.place == new.place
    if new is not None and not stays and there.get(new.place) is not None:
        return Put(new.place, None)
    return None


def _make(change: NestedChange, there: dict[Hashable, Hashable]) -> None:
    if change.old is not None:
        there[change.old.place] = None
    if change.new is not None:
        there[change.new.place] = change.new.image


def _take_back(change: NestedChange, there: dict[Hashable, Hashable]) -> None:
    if change.new is not None:
        there[change.new.place] = None
    if change.old is not None:
        there[change.old.place] = change.old.image
