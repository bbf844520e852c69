"""Up to which id an outbox is settled, and which transaction a context belongs to. No server."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from indelible.capture.context_ledger import TransactionLedger
from indelible.capture.horizon import Horizon

STEPS = st.lists(
    st.sampled_from(["begin", "take", "commit", "roll back", "look"]).flatmap(
        lambda what: st.tuples(st.just(what), st.integers(0, 3))
    ),
    max_size=80,
)


@given(STEPS)
def test_nothing_appears_below_the_horizon(steps: list[tuple[str, int]]) -> None:
    """However transactions overlap: what is settled stays as it was, and all is in the end.

    A snapshot ends one past the last transaction that ended, as the server's do: of younger ones
    that run it says nothing.
    """
    horizon = Horizon()
    running: dict[int, tuple[int, list[int]]] = {}
    visible: set[int] = set()
    taken: list[tuple[int, int]] = []
    next_xid, newest, last_ended = 1, 0, 0

    def ended_below() -> int:
        seen = [xid for xid, _ in running.values() if xid <= last_ended]
        return min(seen, default=last_ended + 1)

    def look() -> None:
        nonlocal next_xid, last_ended
        ended = ended_below()
        if horizon.needs_mark(newest):
            horizon.mark(newest, ended=ended, last=next_xid)
            last_ended = next_xid
            next_xid += 1
        horizon.note(ended_below())

    for what, who in steps:
        if what == "begin" and who not in running:
            running[who] = (next_xid, [])
            next_xid += 1
        elif what == "take" and who in running:
            newest += 1
            running[who][1].append(newest)
            taken.append((newest, running[who][0]))
        elif what in ("commit", "roll back") and who in running:
            xid, ids = running.pop(who)
            last_ended = max(last_ended, xid)
            if what == "commit":
                assert all(one > horizon.settled for one in ids)
                visible.update(ids)
        elif what == "look":
            before = horizon.settled
            look()
            assert horizon.settled >= before
            assert all(one > horizon.settled for _, ids in running.values() for one in ids)
            assert all(xid >= horizon.oldest for one, xid in taken if one > horizon.settled)
    running.clear()
    look()
    assert horizon.settled == newest


def test_a_context_belongs_to_the_transaction_that_it_came_in_first() -> None:
    """Also where rows of others lie between, after a restart, and once it was forgotten."""
    ledger = TransactionLedger()
    assert [
        ledger.is_contested(1, "a:1", 10),
        ledger.is_contested(2, "a:2", 11),
        ledger.is_contested(3, "a:1", 10),
        ledger.is_contested(4, "a:1", 12),
        ledger.is_contested(6, None, 13),
        ledger.is_contested(7, "a:2", 11),
    ] == [False, False, False, True, False, False]
    again = TransactionLedger(ledger.encode())
    assert [again.is_contested(seq, "a:1", 10) for seq in (3, 4)] == [False, True]
    again.forget(before=12)
    assert again.is_contested(8, "a:2", 11)
    assert not again.is_contested(9, "b:1", 14)
