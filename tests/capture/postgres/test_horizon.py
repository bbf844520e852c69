"""Up to which id an outbox is settled, and which transaction a context belongs to. No server."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from indelible.capture.context_ledger import TransactionLedger
from indelible.capture.postgres.outbox import Horizon

STEPS = st.lists(
    st.sampled_from(["begin", "take", "commit", "roll back", "look"]).flatmap(
        lambda what: st.tuples(st.just(what), st.integers(0, 3))
    ),
    max_size=80,
)


@given(STEPS)
def test_nothing_appears_below_the_horizon(steps: list[tuple[str, int]]) -> None:
    """However transactions overlap: what is settled stays as it was, and all is in the end."""
    horizon = Horizon()
    running: dict[int, tuple[int, list[int]]] = {}
    visible: set[int] = set()
    next_xid, newest = 1, 0

    def look() -> None:
        xids = [xid for xid, _ in running.values()]
        horizon.note(newest, min(xids, default=next_xid), next_xid)

    for what, who in steps:
        if what == "begin" and who not in running:
            running[who] = (next_xid, [])
            next_xid += 1
        elif what == "take" and who in running:
            newest += 1
            running[who][1].append(newest)
        elif what in ("commit", "roll back") and who in running:
            ids = running.pop(who)[1]
            if what == "commit":
                assert all(one > horizon.settled for one in ids)
                visible.update(ids)
        elif what == "look":
            before = horizon.settled
            look()
            assert horizon.settled >= before
            assert all(one > horizon.settled for _, ids in running.values() for one in ids)
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
