"""Which transaction ids were used: each is good for one transaction. Pure.

On SQLite, where one transaction writes at a time, that is one unbroken run of outbox rows. A
context text that was copied and used again is in a second run; that is what a ledger finds. It
can't find one that is used directly behind its own transaction, where nothing came between.
"""

from __future__ import annotations

from typing import Final

import msgspec

_MAX_HOLES: Final = 4_096
_MAX_CONNECTIONS: Final = 10_000

Span = tuple[int, int]
"""Numbers from the first to the last, both included."""


class Process(msgspec.Struct, array_like=True):
    """The highest counter of a process that came, and the ranges under it that didn't yet."""

    highest: int = 0
    holes: list[Span] = []


class _State(msgspec.Struct, omit_defaults=True):
    through: int = 0
    nonce: str | None = None
    is_contested: bool = False
    processes: dict[str, Process] = {}
    contested: list[Span] = []


class _TransactionState(msgspec.Struct, omit_defaults=True):
    through: int = 0
    owners: dict[str, int] = {}
    processes: dict[str, Process] = {}
    contested: list[Span] = []


class _ConnectionState(msgspec.Struct, omit_defaults=True):
    through: int = 0
    connections: dict[int, tuple[str | None, bool]] = {}
    processes: dict[str, Process] = {}
    contested: list[Span] = []


_decode: Final = msgspec.json.Decoder(_State).decode
_decode_transactions: Final = msgspec.json.Decoder(_TransactionState).decode
_decode_connections: Final = msgspec.json.Decoder(_ConnectionState).decode


class ContextLedger:
    """Judges rows in the order of their outbox ids, again and again with the same result.

    Nonces are given under the database's write lock, so they come in rising order but for a few;
    the state holds a number and some gaps for each process. More than 4,096 gaps of one process
    are forgotten, the oldest first: what turns up in one of those counts as a second use.
    """

    def __init__(self, state: bytes | None = None) -> None:
        """Begin with `state`, from `encode`. Raises `msgspec.MsgspecError` for anything else."""
        self._state = _decode(state) if state else _State()

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
            state.is_contested = nonce is not None and not take_nonce(state.processes, nonce)
        if state.is_contested:
            add_to_spans(state.contested, seq)
        state.through = seq
        return state.is_contested


class TransactionLedger:
    """The same where rows of concurrent transactions lie between each other, and name theirs.

    A nonce belongs to the transaction that it came in first. Which one that was is remembered until
    `forget`, then only that it was used.
    """

    def __init__(self, state: bytes | None = None) -> None:
        """Begin with `state`, from `encode`. Raises `msgspec.MsgspecError` for anything else."""
        self._state = _decode_transactions(state) if state else _TransactionState()

    @property
    def through(self) -> int:
        """The highest outbox id that was judged."""
        return self._state.through

    def encode(self) -> bytes:
        """The state; see `ContextLedger.encode`."""
        return msgspec.json.encode(self._state)

    def is_contested(self, seq: int, nonce: str | None, transaction: int) -> bool:
        """Whether the row `seq`, which names `nonce`, is of another transaction than it belongs to.

        `transaction` is the number under which the database ran it.
        """
        state = self._state
        if seq <= state.through:
            return any(first <= seq <= last for first, last in state.contested)
        state.through = seq
        if nonce is None:
            return False
        owner = state.owners.get(nonce)
        if owner is None and take_nonce(state.processes, nonce):
            state.owners[nonce] = transaction
            return False
        if owner == transaction:
            return False
        add_to_spans(state.contested, seq)
        return True

    def forget(self, before: int) -> None:
        """No row of a transaction with a lower number than `before` will come any more."""
        owners = self._state.owners
        for nonce in [nonce for nonce, owner in owners.items() if owner < before]:
            del owners[nonce]


class ConnectionLedger:
    """The same where a row names no transaction, only the connection that it came over, on which
    one transaction follows the other.

    A nonce belongs to the connection that it came over first, until another comes over it.
    """

    def __init__(self, state: bytes | None = None) -> None:
        """Begin with `state`, from `encode`. Raises `msgspec.MsgspecError` for anything else."""
        self._state = _decode_connections(state) if state else _ConnectionState()

    @property
    def through(self) -> int:
        """The highest outbox id that was judged."""
        return self._state.through

    def encode(self) -> bytes:
        """The state; see `ContextLedger.encode`."""
        return msgspec.json.encode(self._state)

    def is_contested(self, seq: int, nonce: str | None, connection: int) -> bool:
        """Whether the row `seq`, which names `nonce`, is part of a second use of it."""
        state = self._state
        if seq <= state.through:
            return any(first <= seq <= last for first, last in state.contested)
        state.through = seq
        # Taken out and put back, so that those which are in use stand last.
        known, is_contested = state.connections.pop(connection, (None, False))
        if nonce != known:
            is_contested = nonce is not None and not take_nonce(state.processes, nonce)
        state.connections[connection] = (nonce, is_contested)
        if len(state.connections) > _MAX_CONNECTIONS:
            del state.connections[next(iter(state.connections))]
        if is_contested:
            add_to_spans(state.contested, seq)
        return is_contested

    def forget(self, before: int) -> None:
        """Nothing: a connection may use its nonce for as long as it likes."""


def add_to_spans(spans: list[Span], seq: int) -> None:
    """Add a number that is higher than all."""
    if spans and spans[-1][1] == seq - 1:
        spans[-1] = (spans[-1][0], seq)
    else:
        spans.append((seq, seq))


def take_nonce(processes: dict[str, Process], nonce: str) -> bool:
    """Whether `nonce` is used for the first time; it is used then."""
    name, _, number = nonce.partition(":")
    if not number.isdecimal():
        return False
    counter = int(number)
    process = processes.setdefault(name, Process(0, []))
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
