"""A trail of known events over years, and an oracle that remembers them all."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from indelible.erasure import Erasures
from indelible.errors import StoreBusyError
from indelible.events.codec import format_time, parse_time
from indelible.events.model import Actor, Change, Event, Kind, Subject, TargetRows, Timestamp
from indelible.integrity.authorisations import ActKind, Authorisers
from indelible.integrity.keys import create_signing_key, load_signing_key
from indelible.integrity.retention import authorised_entry, parse_retention
from indelible.integrity.sealing import seal_trail
from indelible.integrity.verifier import Verification, verify_trail
from indelible.policy.durations import Duration
from indelible.policy.load import policy_for_url
from indelible.policy.model import RetentionSettings
from indelible.questions.asking import Questions
from indelible.retention import Retention
from indelible.store.keystore import Keystore
from indelible.store.places import open_place
from indelible.store.sealing import Sealer
from indelible.store.segment import Segment
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import SigningKey, add_signatures, format_note, parse_note, sign_note
from indelible.tlog.note import Note
from indelible.transport.delivery import Delivery
from tests.integrity.trails import EPOCH, ORIGIN, SOURCE, Clock, Maker

PLACE = "sealed"
DAY = 86_400_000_000
SECOND = 1_000_000
FIRST = EPOCH - EPOCH % DAY
"""The first day."""
LENGTHS = {"access_detail": "100 days", "accesses": "200 days", "changes": "300 days"}


class Did(NamedTuple):
    """What the oracle remembers of one event; `sealed` is a value sealed for its subject."""

    time: int
    kind: Kind
    actor: str
    subject: str
    secret: str
    sealed: str

    @property
    def day(self) -> str:
        return format_time(self.time)[:10]


def ordinary(day: int) -> Iterator[Did]:
    """Twelve events after noon, three of four reads; each has a secret of its own."""
    for n in range(12):
        kind: Kind = "change" if n % 4 == 3 else "access"
        yield Did(
            time=FIRST + day * DAY + DAY // 2 + n * SECOND,
            kind=kind,
            actor=f"s{n % 3}",
            subject=f"c{(day + n) % 5}",
            secret=f"secret-{day}-{n}-x",
            sealed=f"sealed-{day}-{n}-x" if kind == "change" else "",
        )


class Archive(Maker):
    """A trail with two authorisers, a verifier and a keystore, whose clock the test sets."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        keys = {
            name: create_signing_key(directory / name, f"shop.example/{name}") for name in "abv"
        }
        Keystore.create(directory / "keystore.db", directory / "master.key")
        super().__init__(directory / "trail.db", create_signing_key(directory / "key", ORIGIN))
        self._begin(directory, keys)

    @classmethod
    def again(cls, directory: Path) -> Archive:
        """The one in that folder, as another process finds it."""
        made = cls.__new__(cls)
        made.path = directory / "trail.db"
        made.key = load_signing_key(directory / "key")
        made.clock = Clock()
        made.store = SqliteTrail(made.path)
        made.seq = made.store.last_position(SOURCE, EPOCH)
        last = made.store.entry(int(made.store.size) - 1)
        made.clock.now = parse_time(last.received) + SECOND
        made.open()
        keys = {name: load_signing_key(directory / name) for name in "abv"}
        made._begin(directory, keys)
        return made

    def _begin(self, directory: Path, keys: dict[str, SigningKey]) -> None:
        self.directory = directory
        self.signing = keys
        a, b, v = (keys[name].verifier_key for name in "abv")
        self.authorisers = Authorisers(2, (a, b), (v,))
        self.keystore = Keystore(directory / "keystore.db", directory / "master.key")
        self.sealer = Sealer(self.keystore)
        self.lengths: dict[str, str] = dict(LENGTHS)
        self.lake: Path | None = None
        self.said: list[Delivery] = []

    # -- history ----------------------------------------------------------------------------------

    def at(self, day: int) -> None:
        """The clock moves to the noon of that day, counted from the first."""
        self.clock.now = max(self.clock.now, FIRST + day * DAY + DAY // 2)

    def days(self, first: int, last: int) -> None:
        """Those ordinary days, a batch each."""
        for day in range(first, last):
            self.at(day)
            batch = []
            for did in ordinary(day):
                self.clock.now = did.time
                batch.append(self.delivery(self._event(did), time=did.time))
            self.clock.now += SECOND
            self.sequencer.deliver(batch)

    def _event(self, did: Did) -> Event:
        changes: dict[str, Change] | None = None
        if did.sealed:
            with self.sealer:
                box = self.sealer.seal(("customer", did.subject), "invoice", "email", did.sealed)
            changes = {"email": (None, box)}
        return Event(
            action=f"invoice.{did.kind}",
            kind=did.kind,
            actor=Actor("staff", did.actor),
            targets=(TargetRows("invoice", ((did.secret,),)),),
            subjects=(Subject("customer", did.subject),),
            changes=changes,
        )

    # -- acting -----------------------------------------------------------------------------------

    @property
    def retention(self) -> Retention:
        settings = RetentionSettings(
            keystore=self.directory / "keystore.db",
            master_key=self.directory / "master.key",
            **{name: Duration(text) for name, text in self.lengths.items()},  # type: ignore[arg-type]
        )
        return Retention(
            self.store,
            settings,
            self.authorisers,
            self.keystore,
            subject_kinds=["customer"],
            lake=self.lake,
            say=self.say,
            repeat=self.say,
            carry=self.carry,
            seal=self.seal,
            clock=self.clock,
        )

    @property
    def erasures(self) -> Erasures:
        return Erasures(
            self.store,
            self.keystore,
            self.authorisers,
            say=self.say,
            carry=self.carry,
            clear=lambda: None,
            clock=self.clock,
        )

    def say(self, event: Event) -> None:
        self.clock.now += 1
        self.said.append(self.delivery(event, time=self.clock.now))

    def carry(self) -> None:
        self.sequencer.deliver(self.said)
        self.said.clear()

    def tell(self, note: bytes, *, leave_out: int | None = None) -> None:
        """Say all that an act of retention says before bodies go, and drop none."""
        act = parse_retention(parse_note(note).text)
        with self.retention.plan() as plan:
            self.say(authorised_entry(act, note))
            for n, event in enumerate(plan.statements(act.nonce)):
                if n != leave_out:
                    self.say(event)
        self.carry()

    def seal(self, before: Timestamp) -> Iterator[Segment]:
        return seal_trail(
            self.store,
            [self.key.verifier_key],
            open_place(PLACE, self.path),
            PLACE,
            before=before,
            only_full=False,
            most_blocks=4,
        )

    def request(self) -> str:
        """What is due, as it has to be signed."""
        list(self.retention.seal_due())
        with self.retention.plan() as plan:
            return self.retention.request(plan, reason="as every month")

    def sign(self, text: str, names: str = "abv") -> bytes:
        signed = [sign_note(text, self.signing[name]) for name in names]
        return format_note(add_signatures(Note(text, ()), signed))

    def retain(self) -> int:
        """All of it: asked for, attested, authorised, done."""
        return self.retention.apply(self.sign(self.request()))

    def retention_without_flush(self, text: str) -> None:
        """All but the end: somebody still reads the trail as it was before."""
        with contextlib.suppress(StoreBusyError):
            self.retention.apply(self.sign(text))

    def act(self, kind: ActKind, subject: str) -> bytes:
        """An act on a customer's data, authorised."""
        whose = Subject("customer", subject)
        return self.sign(self.erasures.request(kind, whose, reason="a request"), "ab")

    # -- asking -----------------------------------------------------------------------------------

    def verify(self) -> Verification:
        return verify_trail(
            self.path,
            self.key.verifier_key,
            authorisers=self.authorisers,
            keystore=self.keystore,
        )

    @property
    def questions(self) -> Questions:
        return Questions(self.store, policy_for_url(f"sqlite:///{self.path}"))

    @property
    def today(self) -> int:
        """Its first instant."""
        return self.clock.now - self.clock.now % DAY


def whole_day(time: int) -> dict[str, Any]:
    """The day (UTC) as a window."""
    start = time - time % DAY
    return {"since": moment(start), "until": moment(start + DAY)}


def moment(time: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(time / SECOND, dt.UTC)


@contextlib.contextmanager
def archive(directory: Path, days: int = 400) -> Iterator[Archive]:
    """One with so many ordinary days."""
    with contextlib.closing(Archive(directory)) as made:
        made.days(0, days)
        yield made
