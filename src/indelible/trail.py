"""`Trail`: the one place where everything is wired together, from one policy."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from indelible.capture.sealing import CLEAR, NO_SEALING, NoSealing, Sealing
from indelible.capture.sqlite_clearing import clear_outbox
from indelible.erasure import Erasures, authorisers_of, make_keystore, open_keystore
from indelible.errors import (
    ConfigurationError,
    DeliveryError,
    KeystoreError,
    ReversalError,
)
from indelible.events.codec import encode_draft
from indelible.events.context import current_frame
from indelible.events.model import Actor, Event
from indelible.events.personal import translate_words
from indelible.integrity.assurance import (
    load_trust_policy,
)
from indelible.integrity.faults import ContradictedError
from indelible.integrity.key_ring import ROTATIONS, PublicRing, load_rotations
from indelible.integrity.keys import TrailKeys, create_keys, load_keys
from indelible.integrity.leader import Leader
from indelible.integrity.numbering import ACKNOWLEDGED
from indelible.integrity.passphrases import Passphrase, unlock_of
from indelible.integrity.rotations import keys_of
from indelible.integrity.seen import Progress
from indelible.integrity.sequencer import add_first_entry
from indelible.invariants.differences import Difference, Summary, TableReport
from indelible.invariants.expecting import Progress as ReconcileProgress
from indelible.invariants.opening import open_live
from indelible.invariants.reconcile import reconcile
from indelible.keeping import Keeping
from indelible.policy import Policy, load_policy
from indelible.policy.load import policy_for_url
from indelible.questions.asking import When
from indelible.retention import Retention
from indelible.reversal.gather import select_changes
from indelible.reversal.reversal import (
    Database,
    Reversal,
    SqliteDatabase,
    database_path,
    server_database,
)
from indelible.store.names import Names
from indelible.store.protocol import Notice
from indelible.store.sealing import Opener, Sealer
from indelible.store.sqlite import SqliteTrail
from indelible.transport.databases import CapturedDatabases
from indelible.transport.delivery import Remark
from indelible.transport.journal import Journal
from indelible.transport.journal_files import JournalDirectory
from indelible.transport.outbox import OutboxReader
from indelible.transport.producer_signing import ProducerSigner
from indelible.trusting import open_signer

if TYPE_CHECKING:
    from indelible.invariants.verdicts import Verdict

_POLL_S: Final = 0.02
_DELIVERED_S: Final = 0.5
_CARRIED_S: Final = 60.0
_ACTOR_S: Final = 1.0
_log = logging.getLogger(__name__)


class Trail(Keeping):
    """A trail under one policy: what captures feed, and what questions are asked of.

    Opening takes part in relaying: one process at a time, whichever holds the lease, carries what
    all of them captured. A context manager; safe for threads. After a fork the child goes on with
    a journal of its own, and leaves relaying to others.
    """

    def __init__(self, policy: Policy, store: SqliteTrail, keys: TrailKeys, *, relay: bool) -> None:
        """Wire the parts; use `create` or `open`."""
        super().__init__(store, policy)
        self._policy = policy
        self._store = store
        self._keys = keys
        self._trust = load_trust_policy(policy.witness.policy) if policy.witness else None
        self._signer = keys.ring or (
            open_signer(policy, store, keys)
            if relay or policy.signer is not None
            else PublicRing(keys.verifier_key, load_rotations(policy.keys / ROTATIONS))
        )
        # Names that are tokens stand in everything: without the keystore none can be written down.
        must_be = bool(policy.personal) or (relay and policy.seals)
        self._keystore = open_keystore(policy, must_be=must_be)
        if self._keystore is not None:
            self._keystore.resume()
            store.opener = Opener(self._keystore)
            if policy.personal:
                store.names = Names(self._keystore, policy.personal)
        self._sealing, self._actor_sealing, self._names = self._sealings()
        self._authorisers = authorisers_of(
            policy, *keys_of(self._signer), keys.verifier_key, keys.enrolment_key.verifier_key
        )
        witnessing = self._witnessing()
        self._journal = Journal(
            policy.journals,
            buffer_events=policy.relay.buffer_events,
            new_signer=lambda producer_id, epoch: ProducerSigner(
                producer_id, epoch, keys.enrolment_key
            ),
            sealing=self._sealing,
            actor_sealing=self._actor_sealing,
            names=self._names,
        )
        self._databases = CapturedDatabases(
            policy, store, self._journal, keys.context_key, self.notice
        )
        self._leader = Leader(
            store,
            self._signer,
            [self._databases, JournalDirectory(policy.journals)],
            policy.relay,
            witnessing=witnessing,
            anchoring=self._anchoring() if relay else None,
            on_refusal=self._refused,
            on_signed=self._signed,
            holder=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
        )
        self._delivered: dict[str, tuple[float, int]] = {}
        self._relays = relay
        if relay:
            self._leader.start()

    def _sealings(self) -> tuple[Sealing, Sealing, Sealing]:
        """For rows that are read; for whoever acts, as a request waits for nobody's batch; and for
        names in what is journaled: without a token nothing is written, so that is waited for."""
        actors, personal = self._policy.sealed_actors, self._policy.personal
        if self._keystore is None:
            nowhere = NoSealing(actors) if actors else NO_SEALING
            return nowhere, nowhere, NO_SEALING
        return (
            Sealer(self._keystore, actors, personal),
            Sealer(self._keystore, actors, wait_s=_ACTOR_S),
            Sealer(self._keystore, personal=personal) if personal else NO_SEALING,
        )

    @classmethod
    def create(
        cls,
        source: str | Path | Policy,
        *,
        first: Remark | None = None,
        taken_over: TrailKeys | None = None,
        passphrase: Passphrase | None = None,
    ) -> Self:
        """Make a trail and its keys where `source` says, and open it.

        One that goes on from another has a `first` entry, and keys that are `taken_over`. Keys are
        under the `passphrase`; the one that signs checkpoints is made only where no `signer` has
        it. Raises `TrailExistsError` where there is one, or keys of one, and `DeliveryError` where
        the signer doesn't answer.
        """
        policy = policy_of(source)
        if policy.has_keystore:
            make_keystore(policy)
        signed_by = None
        if policy.signer is not None:
            from indelible.integrity.signer_client import fetch_signer_key

            signed_by = fetch_signer_key(policy.signer)
            if policy.origin not in (None, signed_by.name):
                raise ConfigurationError(
                    f"{policy.source}: expected origin = {signed_by.name!r}, which the signer "
                    f"signs, came {policy.origin!r}"
                )
        origin = policy.origin or (
            signed_by.name if signed_by is not None else f"localhost/{secrets.token_hex(6)}"
        )
        keys = create_keys(
            policy.keys, origin, taken_over=taken_over, signed_by=signed_by, passphrase=passphrase
        )
        store = SqliteTrail.create(
            policy.trail,
            origin=origin,
            vkey=str(keys.verifier_key),
            source_id=secrets.token_hex(8),
        )
        try:
            if first is not None:
                add_first_entry(store, keys.ring or open_signer(policy, store, keys), first)
            return cls(policy, store, keys, relay=True)
        except BaseException:
            store.close()
            raise

    @classmethod
    def open(
        cls,
        source: str | Path | Policy,
        *,
        relay: bool = True,
        ask: Callable[[str], str] | None = None,
    ) -> Self:
        """Open the trail of an `indelible.toml`, or of a URL (`sqlite:///trail.db`).

        With `relay=False` this process carries nothing, and only asks: the key that signs
        checkpoints isn't read. `ask` is called for the passphrase of the keys where the
        configuration names none. Raises `NoTrailError` where there is no trail (`create` makes
        one), and `ConfigurationError`.
        """
        policy = policy_of(source)
        store = SqliteTrail(policy.trail)
        try:
            signs = relay and policy.signer is None
            keys = load_keys(policy.keys, unlock_of(policy, ask), signs=signs)
            return cls(policy, store, keys, relay=relay)
        except BaseException:
            store.close()
            raise

    def close(self, timeout_s: float = 10.0) -> None:
        """Carry what this process captured, as far as it can in `timeout_s`, and let go.

        What isn't carried stays where it is, for the next process. In the same time witnesses and
        anchors may answer; who hasn't is asked by the next process.
        """
        deadline = time.monotonic() + timeout_s
        if self._relays:
            try:
                self.flush(timeout_s)
            except (DeliveryError, ContradictedError):
                _log.warning("not everything was carried before the trail was closed")
        self._leader.stop(max(0.0, deadline - time.monotonic()))
        self._journal.close()
        self._store.close()
        for sealing in (self._sealing, self._actor_sealing, self._names):
            if isinstance(sealing, Sealer):
                sealing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- what capture needs (`indelible.capture.host.CaptureHost`) ------------------------------

    @property
    def policy(self) -> Policy:
        return self._policy

    @property
    def journal(self) -> Journal:
        """This process's journal."""
        return self._journal

    @property
    def context_key(self) -> bytes:
        return self._keys.context_key

    def concealed(self, words: Sequence[str]) -> list[str]:
        """The words of a command line, names of persons in them (`KIND:ID`) as their tokens."""
        if not isinstance(self._names, Sealer):
            return [*words]
        return translate_words(words, self._policy.personal, self._names)

    def delivered_through(self, incarnation: str) -> int:
        """The outbox id below which all is in the trail; at most half a second old."""
        now = time.monotonic()
        known = self._delivered.get(incarnation)
        if known is None or now - known[0] > _DELIVERED_S:
            epoch = self._store.last_epoch(incarnation)
            ranges = self._store.received(incarnation, epoch).ranges
            known = self._delivered[incarnation] = (now, ranges[0][1] if ranges else 0)
        return known[1]

    def watch_database(self, path: Path) -> None:
        """Have this database's outbox carried from now on, by whichever process relays."""
        self._databases.known.add(path)

    def forget_database(self, path: Path) -> None:
        """Its outbox is gone: nobody looks for it any more."""
        self._databases.known.remove(path)

    def watch_server(self) -> None:
        """Have the outbox of the policy's server carried from now on."""
        self._databases.known.add_server()

    def forget_server(self) -> None:
        """Its outbox is gone: nobody looks for it any more."""
        self._databases.known.remove_server()

    # -- carrying -------------------------------------------------------------------------------

    @property
    def is_relaying(self) -> bool:
        """Whether this process holds the lease and carries what all of them captured."""
        return self._leader.is_leading

    @property
    def is_reading_restored(self) -> bool:
        """Whether this process relays and is still writing the baseline of a restored database."""
        return self._leader.is_leading and self._databases.is_writing_baseline

    def flush(self, timeout_s: float = 30.0) -> None:
        """When this returns, all that this process captured before the call is in the trail.

        So is what any process had written to the databases, and to its journal beside this one's,
        whether it lives or was killed. Whichever process relays carries it. Raises `DeliveryError`
        where it takes longer, and `ContradictedError` where this process would carry it, and a
        witness forbids that: then all of it stays where it is.
        """
        deadline = time.monotonic() + timeout_s
        self._journal.sync()
        marks = [(self._journal.producer_id, self._journal.epoch, self._journal.last_seq)]
        with contextlib.closing(JournalDirectory(self.policy.journals)) as journals:
            marks += journals.ends()
        while True:
            if self._leader.refusal is not None:
                raise self._leader.refusal
            if self._leader.flush(max(0.1, deadline - time.monotonic())):
                return
            if not any(self._is_behind(*mark) for mark in marks) and not self._outboxes_behind():
                return
            if time.monotonic() > deadline:
                raise DeliveryError(
                    f"expected all to be in the trail within {timeout_s:g} s; no process relays "
                    "it: is the application or `indelible relay` running?"
                )
            time.sleep(_POLL_S)

    def _is_behind(self, producer_id: str, epoch: int, seq: int) -> bool:
        if seq <= 0 or seq in self._store.received(producer_id, epoch):
            return False
        # What was reported as gone won't come any more.
        lost = self._store.lost(producer_id, epoch)
        return not any(first <= seq <= last for first, last in lost)

    def _outboxes_behind(self) -> bool:
        return any(
            end.last_id
            and self._is_behind(
                end.incarnation,
                max(end.opened, self._store.last_epoch(end.incarnation)),
                end.last_id,
            )
            for end in self._databases.ends()
        )

    # -- reversal -------------------------------------------------------------------------------

    def plan_reversal(
        self,
        *,
        by: Actor,
        since: When = None,
        until: When = None,
        also_as: bool = False,
        database: object = None,
        force: bool = False,
    ) -> Reversal:
        """What reversing all changes of `by` in the window would do: `str()` it, `apply` it.

        `database` is an engine, a connection or a path; without it the one of the configuration.
        With `force`, what others changed since is overwritten. Carries what was captured first, so
        that nothing is missed. Raises `ReversalError` and `DeliveryError`.
        """
        if self._relays:
            self.flush()
        selection = select_changes(
            self._store, by=by, window=self.window(since, until), also_as=also_as
        )
        where, outbox = self._reversible(database)
        return Reversal(selection, where, reader=self._store, outbox=outbox, force=force)

    def _reversible(self, database: object) -> tuple[Database, OutboxReader]:
        server = self._policy.server
        if database is None and server is not None:
            found = server_database(server, self._keys.context_key, self._kind_of)
            return found, self._databases.open_server(server, waits=False, alone=CLEAR)
        if database is None and self._policy.database is None:
            raise ReversalError(
                "expected a database to reverse in: name one in [database], or here"
            )
        path = database_path(database if database is not None else self._policy.database)
        return SqliteDatabase(path, self), self._databases.open_outbox(path, alone=CLEAR)

    def _kind_of(self, table: str) -> str:
        return self._policy.table(table).kind

    # -- reconciliation -------------------------------------------------------------------------

    def reconcile(
        self,
        *tables: str,
        progress: ReconcileProgress = lambda what, done, of: None,
    ) -> Iterator[Difference | TableReport | Summary]:
        """Every row and column that was changed without the trail seeing it, table by table.

        The rows that are there are held against those that the trail says there are: baseline and
        changes. Gives each `Difference`, behind those of a table its `TableReport`, which says what
        couldn't be compared, and last a `Summary`. The application may go on meanwhile. What was
        found is an entry of the trail: `reconcile.differs` for each table that differs, noticed,
        and `reconcile.finished` once all was taken. Raises `ConfigurationError` for a table that
        isn't there, `NotInstalledError`, and `DeliveryError` where the database can't be reached,
        or what was captured not be carried to the trail.
        """
        live = open_live(self._policy)
        self.flush()
        yield from reconcile(
            self._store,
            live,
            carry=self._await,
            say=self._say,
            tables=tables,
            progress=progress,
        )
        self.flush()

    # -- invariants -----------------------------------------------------------------------------

    def check(
        self,
        *,
        now: dt.datetime | None = None,
        progress: Progress | None = None,
    ) -> tuple[Verdict, ...]:
        """What the trail bears out of each `[[invariant]]`: see `indelible.invariants.check`.

        Carries what was captured first, as far as it can. Reversals are rehearsed as the
        invariants say. The verdicts are an entry, `invariants.checked`; what newly falls short is
        noticed. `now` is aware. Raises `DeliveryError`.
        """
        # The rules of what logs may hold, which a trail that is only written to doesn't need.
        from indelible.invariants.check import check, entries_of
        from indelible.invariants.home import Home

        if self._relays:
            with contextlib.suppress(ContradictedError):
                self.flush()
        home = Home(
            self,
            self,
            self._store,
            # What waits there is read with what it holds, and delivered to nobody.
            open_outbox=partial(self._databases.open_outbox, alone=CLEAR),
            witnesses=self._cosignatures,
        )
        verdicts = check(
            self._store,
            self._policy,
            home,
            now=now or dt.datetime.now(dt.UTC),
            progress=progress or (lambda done, of: None),
        )
        for event in entries_of(self._store, verdicts):
            self._say(event)
        self._journal.sync()
        return verdicts

    def _say(self, event: Event) -> None:
        self._journal.append(encode_draft(event))

    def _repeat(self, event: Event) -> None:
        """One that is made of entries: its names are tokens already."""
        self._journal.append(encode_draft(event), is_repeated=True)

    def _await(self, incarnation: str, opened: int, seq: int) -> None:
        """Return when outbox row `seq`, and all before it, are in the trail. Raises
        `DeliveryError`."""
        deadline = time.monotonic() + _CARRIED_S
        while True:
            epoch = max(opened, self._store.last_epoch(incarnation))
            if not self._is_behind(incarnation, epoch, seq):
                return
            if time.monotonic() > deadline:
                raise DeliveryError(
                    f"expected outbox row {seq} to be in the trail within {_CARRIED_S:g} s; does "
                    "a process relay, and is there no transaction that stays open? (`indelible "
                    "status`)"
                )
            time.sleep(_POLL_S)

    # -- erasure --------------------------------------------------------------------------------

    @property
    def erasures(self) -> Erasures:
        """What may be done to values that were sealed for a subject."""
        return Erasures(
            self._store,
            self._keystore,
            self._authorisers,
            say=self._say,
            carry=self.flush,
            clear=self._clear_outbox,
        )

    @property
    def retention(self) -> Retention:
        """What is kept for how long; see `[retention]` of the policy."""
        tiers = self._policy.tiers
        return Retention(
            self._store,
            self._policy.kept(),
            self._authorisers,
            self._keystore,
            subject_kinds=self._policy.subject_kinds,
            lake=None if tiers is None else tiers.lake,
            say=self._say,
            repeat=self._repeat,
            carry=self.flush,
            seal=lambda before: self.seal(before=before, only_full=False),
        )

    def opener(self) -> Opener:
        """What opens sealed values. Raises `KeystoreError` where keystore or master key is missing.

        Whoever gives away what it opens says so before (`disclosed`).
        """
        if self._keystore is None:
            raise KeystoreError(
                "expected a keystore: no table has columns to `seal`, so there is nothing to open"
            )
        self._keystore.check_master_key()
        return Opener(self._keystore)

    def _clear_outbox(self) -> None:
        for path in self._databases.known.paths():
            clear_outbox(path, self, self._await_row)
        self.flush()  # so that what was said is under a checkpoint, too

    def _await_row(self, incarnation: str, seq: int, transaction: str) -> None:
        """`_await`, and see that it is this row, and no other one of its number."""
        self._await(incarnation, 0, seq)
        found = self._store.bodies_at(incarnation, self._store.last_epoch(incarnation), seq)
        if not any(transaction.encode() in body for bodies in found for body in bodies):
            raise DeliveryError(
                f"expected outbox row {seq} in the trail as it was written, there is another: the "
                "database was restored from a backup; run it again once that was noticed"
            )

    # -- what was noticed -----------------------------------------------------------------------

    def notices(self) -> Sequence[Notice]:
        """What was noticed and nobody acknowledged yet."""
        return tuple(self._store.notices(unacknowledged_only=True))

    def acknowledge(self, index: int, *, reason: str | None = None) -> str:
        """Say that whoever is acting has seen the notice at `index`: an entry itself."""
        frame = current_frame()
        event = Event(
            action=ACKNOWLEDGED,
            kind="system",
            actor=frame.actor if frame else None,
            reason=reason if reason is not None else frame.reason if frame else None,
            details={"index": index},
        )
        return self._journal.append(encode_draft(event))


def policy_of(source: str | Path | Policy) -> Policy:
    """The policy that `source` is, or names: a file, or a URL of a trail."""
    if isinstance(source, Policy):
        return source
    if isinstance(source, str) and "://" in source:
        return policy_for_url(source)
    return load_policy(source)
