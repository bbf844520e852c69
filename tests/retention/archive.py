"""A trail of known events over years, and an oracle that remembers them all."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from indelible.events.codec import format_time
from indelible.events.model import Actor, Event, Subject, TargetRows, Timestamp
from indelible.integrity.authorisations import Authorisers
from indelible.integrity.sealing import seal_trail
from indelible.integrity.verifier import Verification, verify_trail
from indelible.policy.durations import Duration
from indelible.policy.model import RetentionSettings
from indelible.retention import Retention
from indelible.store.keystore import Keystore
from indelible.store.places import open_place
from indelible.store.segment import Segment
from indelible.tlog import SigningKey, add_signatures, format_note, sign_note
from indelible.tlog.note import Note
from tests.integrity.trails import EPOCH, Maker

PLACE = "sealed"
DAY = 86_400_000_000
SECOND = 1_000_000


class Did(NamedTuple):
    """What the oracle remembers of one event."""

    time: int
    kind: str
    actor: str
    subject: str
    secret: str


class Archive(Maker):
    """A trail with authorisers, a verifier and a keystore, whose clock the test sets."""

    def __init__(self, directory: Path, **lengths: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory / "trail.db")
        self.directory = directory
        self.did: list[Did] = []
        self.signing = {name: SigningKey.generate(f"shop.example/{name}") for name in "abv"}
        keys = {name: key.verifier_key for name, key in self.signing.items()}
        self.authorisers = Authorisers(2, (keys["a"], keys["b"]), (keys["v"],))
        self.keystore = Keystore.create(directory / "keystore.db", directory / "master.key")
        self.settings = RetentionSettings(
            keystore=directory / "keystore.db",
            master_key=directory / "master.key",
            **{name: Duration(text) for name, text in lengths.items()},
        )
        self.lake: Path | None = None

    # -- history ----------------------------------------------------------------------------------

    def do(self, kind: str, actor: str, subject: str, *, secret: str = "", size: int = 0) -> None:
        """One event at the clock's time, delivered by `deliver`."""
        person = Subject("customer", subject)
        event = Event(
            action=f"invoice.{kind}",
            kind=kind,  # type: ignore[arg-type]
            actor=Actor("staff", actor),
            targets=(TargetRows("invoice", ((secret or "7",),)),),
            subjects=(person,),
            changes={"note": (None, secret + "." * size)} if kind == "change" else None,
            reason=secret or None,
        )
        self.did.append(Did(self.clock.now, kind, actor, subject, secret))
        self.waiting.append(self.delivery(event, time=self.clock.now))

    @property
    def waiting(self) -> list:  # type: ignore[type-arg]
        return self.__dict__.setdefault("_waiting", [])

    def deliver(self) -> None:
        """What was done goes into the trail as one batch."""
        self.clock.now += SECOND
        self.sequencer.deliver(self.waiting)
        self.waiting.clear()

    def at(self, day: int) -> None:
        """The clock moves to noon of that day, counted from the first."""
        self.clock.now = max(self.clock.now, EPOCH - EPOCH % DAY + day * DAY + DAY // 2)

    # -- retention --------------------------------------------------------------------------------

    @property
    def retention(self) -> Retention:
        return Retention(
            self.store,
            self.settings,
            self.authorisers,
            self.keystore,
            subject_kinds=["customer"],
            lake=self.lake,
            say=self.say,
            carry=lambda: None,
            seal=self.seal,
            clock=self.clock,
        )

    def say(self, event: Event) -> None:
        self.clock.now += 1
        self.sequencer.deliver([self.delivery(event, time=self.clock.now)])

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
        list(self.retention.seal_due())
        with self.retention.plan() as plan:
            return self.retention.request(plan, reason="as every month")

    def sign(self, text: str, names: str = "abv") -> bytes:
        signed = [sign_note(text, self.signing[name]) for name in names]
        return format_note(add_signatures(Note(text, ()), signed))

    def retain(self) -> int:
        """All of it: asked for, attested, authorised, done."""
        return self.retention.apply(self.sign(self.request()))

    def verify(self, **options: object) -> Verification:
        return verify_trail(
            self.path,
            self.key.verifier_key,
            authorisers=self.authorisers,
            keystore=self.keystore,
            **options,  # type: ignore[arg-type]
        )


def day_text(time: int) -> str:
    return format_time(time)[:10]


def start_of(time: int) -> Timestamp:
    return format_time(time - time % DAY)


@contextlib.contextmanager
def archive(directory: Path, **lengths: str) -> Iterator[Archive]:
    made = Archive(directory, **lengths)
    try:
        yield made
    finally:
        made.close()


def utc(time: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(time / SECOND, dt.UTC)
