"""Which transaction ids were used: each is good for one unbroken run of outbox rows. Pure.

A context text that was copied and used again is in a second run; that is what a ledger finds. It
can't find one that is used directly behind its own transaction, where nothing came between.
"""

from __future__ import annotations

from typing import Final

import msgspec

_MAX_HOLES: Final = 4_096

Span = tuple[int, int]
"""Numbers from the first to the last, both included."""


class _Process(msgspec.Struct, array_like=True):
    """The highest counter of a process that came, and the ranges under it that didn't yet."""

    highest: int = 0
    holes: list[Span] = []


class _State(msgspec.Struct, omit_defaults=True):
    through: int = 0
    nonce: str | None = None
    is_contested: bool = False
    processes: dict[str, _Process] = {}
    contested: list[Span] = []


class ContextLedger:
    """Judges rows in the order of their outbox ids, again and again with the same result.

    Nonces are given under the database's write lock, so they come in rising order but for a few;
    the state holds a number and some gaps for each process. More than 4,096 gaps of one process
    are forgotten, the oldest first: what turns up in one of those counts as a second use.
    """

    def __init__(self, state: bytes | None = None) -> None:
        """Begin with `state`, from `encode`. Raises `msgspec.MsgspecError` for anything else."""
        self._state = msgspec.json.decode(state, type=_State) if state else _State()

    @property
    def through(self) -> int:
        """The highest outbox id that was judged."""
        return self._state.through

    def encode(self) -> bytes:
        """The state. Keep it with (or before) the events that were made by its judgement.

        A state that is ahead of the events is no harm: what was judged once stays judged so.
        """
        return msgspec.json.encode(self._state)

    def is_contested(self, seq: int, nonce: str | None) -> bool:
        """Whether the row `seq`, which names `nonce`, is part of a second use of it."""
        state = self._state
        if seq <= state.through:
            return any(first <= seq <= last for first, last in state.contested)
        if nonce != state.nonce:
            state.nonce = nonce
            state.is_contested = nonce is not None and not self._take(nonce)
        if state.is_contested:
            self._contest(seq)
        state.through = seq
        return state.is_contested

    def _contest(self, seq: int) -> None:
        spans = self._state.contested
        if spans and spans[-1][1] == seq - 1:
            spans[-1] = (spans[-1][0], seq)
        else:
            spans.append((seq, seq))

    def _take(self, nonce: str) -> bool:
        name, _, number = nonce.partition(":")
        if not number.isdecimal():
            return False
        counter = int(number)
        process = self._state.processes.setdefault(name, _Process(0, []))
        if counter > process.highest:
            if counter > process.highest + 1:
                process.holes.append((process.highest + 1, counter - 1))
                del process.holes[:-_MAX_HOLES]
            process.highest = counter
            return True
        for place, (first, last) in enumerate(process.holes):
            if first <= counter <= last:
                rest = [(first, counter - 1), (counter + 1, last)]
                process.holes[place : place + 1] = [(a, b) for a, b in rest if a <= b]
                return True
        return False
