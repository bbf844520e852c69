"""A search gives what looking at every entry would give, whatever runs the index has by then."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.events.codec import decode_event, format_time
from indelible.events.model import Actor, Event, TargetRows, Timestamp
from indelible.store.errors import MalformedBlockError
from indelible.store.index import MERGED_REFS
from indelible.store.protocol import StoredEntry
from indelible.store.sqlite import SqliteTrail
from indelible.store.sqlite_file import open_connection
from indelible.store.terms import actor_term, hash_terms, row_term, term_hashes_of
from tests.questions.trails import Maker

ACTORS = [Actor("staff", f"user{n}") for n in range(4)]
BATCHES = 30
SECOND = 1_000_000


def fill(maker: Maker, rng: random.Random, batches: int) -> None:
    """Events of 1 to 400 rows, so that some runs are merged, some are small, some events wait."""
    for _ in range(batches):
        events = []
        for _ in range(rng.randint(1, 130)):
            maker.clock.now += rng.randint(1, SECOND)
            changes = rng.random() < 0.4
            ids = tuple((rng.randrange(300),) for _ in range(1 if changes else rng.randint(1, 400)))
            events.append(
                Event(
                    action="invoice.update" if changes else "invoice.read",
                    kind="change" if changes else "access",
                    time=format_time(maker.clock.now - rng.randrange(100 * SECOND)),
                    # Who is rare is in few frames, who is busy in nearly all.
                    actor=ACTORS[min(int(rng.expovariate(1)), 3)],
                    targets=(TargetRows("invoice", ids),),
                )
            )
        maker.add(*events)


class Filled(NamedTuple):
    """A trail and, of each of its entries, what there is to find it by."""

    store: SqliteTrail
    indexed: int
    entries: list[StoredEntry]
    hashes: list[frozenset[int]]
    times: list[tuple[Timestamp, Timestamp]]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    maker = Maker(tmp_path_factory.mktemp("search") / "trail.db")
    fill(maker, random.Random(7), BATCHES)
    with contextlib.closing(open_connection(maker.store.path)) as connection:
        runs = connection.execute("SELECT refs, last + 1 FROM run ORDER BY id").fetchall()
    assert runs[0][0] >= MERGED_REFS > runs[-1][0]
    entries = list(maker.store.entries(0, 10**9))
    events = [decode_event(entry.body) for entry in entries]
    yield Filled(
        maker.store,
        runs[-1][1],
        entries,
        [frozenset(term_hashes_of(event)) for event in events],
        [(event.time, entry.received) for event, entry in zip(events, entries, strict=True)],
    )
    maker.store.close()


TERMS = st.lists(
    st.one_of(
        st.builds(actor_term, st.sampled_from(ACTORS), changes=st.booleans()),
        st.builds(
            row_term, st.just("invoice"), st.tuples(st.integers(0, 320)), changes=st.booleans()
        ),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(TERMS, st.data(), st.booleans())
def test_a_search_finds_what_looking_at_every_entry_finds(
    filled: Filled, terms: list[bytes], data: st.DataObject, newest_first: bool
) -> None:
    """In order, each once, nothing of the window missed, nothing that is known already."""
    edges = st.none() | st.sampled_from([entry.received for entry in filled.entries[::50]])
    since, until = data.draw(edges), data.draw(edges)
    known = data.draw(st.frozensets(st.integers(0, len(filled.entries)), max_size=30))
    found = list(
        filled.store.search(terms, since=since, until=until, newest_first=newest_first, known=known)
    )
    indexes = [entry.index for entry in found]
    assert indexes == sorted(set(indexes), reverse=newest_first)
    assert all(filled.entries[entry.index] == entry for entry in found)
    hits = {n for n, held in enumerate(filled.hashes) if not held.isdisjoint(hash_terms(terms))}
    inside = {
        n
        for n, times in enumerate(filled.times)
        if any((since or "") <= time < (until or "~") for time in times)
    }
    assert (hits & inside) - known <= set(indexes)
    # Entries behind the last run of the index are given without a look at their terms.
    assert {index for index in indexes if index < filled.indexed} <= hits - known


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("read_before", [1, 40, 700])
def test_a_search_isn_t_disturbed_by_what_is_appended_and_merged_meanwhile(
    tmp_path: Path, newest_first: bool, read_before: int
) -> None:
    """An answer that is read slowly is the one that there was when it began."""
    maker = Maker(tmp_path / "trail.db")
    fill(maker, random.Random(read_before), 15)
    terms = [actor_term(ACTORS[0], changes=changes) for changes in (False, True)]
    before = list(maker.store.search(terms, newest_first=newest_first))
    search = maker.store.search(terms, newest_first=newest_first)
    slowly = [next(search) for _ in range(min(read_before, len(before)))]
    fill(maker, random.Random(1), 12)
    assert [*slowly, *search] == before
    maker.store.close()


@pytest.mark.parametrize("what", ["block", "page"])
def test_what_is_missing_is_an_error_and_not_an_answer(tmp_path: Path, what: str) -> None:
    """A block or a page of the index that somebody deleted: the search ends by naming it."""
    maker = Maker(tmp_path / "trail.db")
    fill(maker, random.Random(3), 12)
    everybody = [actor_term(actor) for actor in ACTORS]
    assert len(list(maker.store.search(everybody))) > 0
    with contextlib.closing(open_connection(maker.store.path)) as connection:
        keys = connection.execute(f"SELECT rowid FROM {what} ORDER BY 1").fetchall()
        # Of an index's page only those are read that may hold one of the terms.
        doomed = [keys[1]] if what == "block" else keys
        connection.executemany(f"DELETE FROM {what} WHERE rowid = ?", doomed)
    with pytest.raises(MalformedBlockError, match=r"expected (entry|page)"):
        list(maker.store.search(everybody))
    maker.store.close()
