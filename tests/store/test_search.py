"""A search gives what looking at every entry would give, whatever runs the index has by then."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible.events.codec import decode_event, format_time
from indelible.events.model import Actor, Event, TargetRows, Timestamp
from indelible.store.index import MERGED_REFS
from indelible.store.protocol import StoredEntry
from indelible.store.sqlite_file import open_connection
from indelible.store.terms import actor_term, hash_terms, row_term, term_hashes_of
from tests.questions.conftest import maker
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


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    maker = Maker(tmp_path_factory.mktemp("search") / "trail.db")
    fill(maker, random.Random(7), BATCHES)
    with open_connection(maker.store.path) as connection:
        sizes = [refs for (refs,) in connection.execute("SELECT refs FROM run ORDER BY id")]
    assert sizes[0] >= MERGED_REFS > sizes[-1]
    yield maker
    maker.store.close()


TERMS = st.lists(
    st.one_of(
        st.builds(actor_term, st.sampled_from(ACTORS), changes=st.booleans()),
        st.builds(row_term, st.just("invoice"), st.tuples(st.integers(0, 320)), changes=st.booleans()),
    ),
    min_size=1,
    max_size=40,
)


def has_one(entry: StoredEntry, terms: list[bytes]) -> bool:
    return not set(hash_terms(terms)).isdisjoint(term_hashes_of(decode_event(entry.body)))


def is_in(entry: StoredEntry, since: Timestamp | None, until: Timestamp | None) -> bool:
    times = (decode_event(entry.body).time, entry.received)
    return any((since or "") <= time < (until or "~") for time in times)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TERMS, st.data(), st.booleans())
def test_a_search_finds_what_looking_at_every_entry_finds(
    filled: Maker, terms: list[bytes], data: st.DataObject, newest_first: bool
) -> None:
    """In order, each once, nothing of the window missed, nothing that is known already."""
    everything = list(filled.store.entries(0, 10**9))
    edges = st.none() | st.sampled_from([entry.received for entry in everything[::50]])
    since, until = data.draw(edges), data.draw(edges)
    known = data.draw(st.frozensets(st.integers(0, len(everything)), max_size=30))
    found = list(
        filled.store.search(
            terms, since=since, until=until, newest_first=newest_first, known=known
        )
    )
    indexes = [entry.index for entry in found]
    assert indexes == sorted(set(indexes), reverse=newest_first)
    assert known.isdisjoint(indexes)
    assert all(everything[entry.index] == entry for entry in found)
    expected = [e for e in everything if has_one(e, terms) and e.index not in known]
    assert {e.index for e in expected if is_in(e, since, until)} <= set(indexes)
    if since is until is None:
        # Behind the last run of the index are entries that nobody has looked at.
        with open_connection(filled.store.path) as connection:
            (indexed,) = connection.execute("SELECT max(last) + 1 FROM run").fetchone()
        assert {index for index in indexes if index < indexed} <= {e.index for e in expected}


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("read_before", [1, 40, 700])
def test_a_search_isn_t_disturbed_by_what_is_appended_and_merged_meanwhile(
    maker: Maker, newest_first: bool, read_before: int
) -> None:
    """An answer that is read slowly is the one that there was when it began."""
    fill(maker, random.Random(read_before), 15)
    terms = [actor_term(ACTORS[0], changes=changes) for changes in (False, True)]
    before = list(maker.store.search(terms, newest_first=newest_first))
    search = maker.store.search(terms, newest_first=newest_first)
    slowly = [next(search) for _ in range(min(read_before, len(before)))]
    fill(maker, random.Random(1), 12)
    assert [*slowly, *search] == before
