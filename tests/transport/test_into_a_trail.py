"""Journals and outboxes carried into a real trail on disk."""

from pathlib import Path

from indelible.events.codec import decode_event
from indelible.events.model import Event
from indelible.integrity.sequencer import Sequencer
from indelible.policy.model import RelaySettings
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import SigningKey
from indelible.transport.journal_files import JournalDirectory
from indelible.transport.outbox import OutboxSources
from indelible.transport.relay import Relay

from .captured import INCARNATION, OPENED, Application
from .conftest import MakeJournal, draft
from .test_journal_crashes import append_until_killed

KEY = SigningKey.generate("example.org/shop")


class Trail:
    """One start of a process that holds the lease: store, sequencer and relay."""

    def __init__(self, path: Path, journals: Path, application: Application) -> None:
        if path.exists():
            self.store = SqliteTrail(path)
        else:
            self.store = SqliteTrail.create(
                path,
                origin="example.org/shop",
                vkey=str(KEY.verifier_key),
                source_id="00000000000000aa",
            )
        lease = self.store.acquire_lease("test", now=1_700_000_000_000_000, lease_s=10)
        assert lease is not None
        self._lease = lease
        self.sequencer = Sequencer(self.store, lease, KEY)
        self.outboxes = OutboxSources(application.reader, self.store)
        self.outboxes.watch(application.path)
        self.relay = Relay(
            [JournalDirectory(journals), self.outboxes],
            self.sequencer,
            RelaySettings(poll_s=0.01, retry_max_s=0.1),
        )

    def events(self) -> list[Event]:
        entries = self.store.entries(0, self.store.size - 1)
        return [decode_event(entry.body) for entry in entries]

    def close(self) -> None:
        self.relay.stop()
        self.store.release_lease(self._lease)
        self.store.close()


def test_everything_arrives_once(
    tmp_path: Path, directory: Path, make_journal: MakeJournal
) -> None:
    """Killed processes, a restored database and restarts of the sequencer: the trail holds every
    acknowledged event once, in the order of its producer, and says what it noticed."""
    application = Application(tmp_path / "shop.db")
    backup = tmp_path / "backup.db"
    given: list[str] = []
    for number in range(4):
        trail = Trail(tmp_path / "trail.db", directory, application)
        trail.relay.start()
        given += append_until_killed(directory, 0.1)
        application.write(f"{number} a", f"{number} b")
        if number == 1:
            application.back_up(backup)
        journal = make_journal()
        given.append(journal.append(draft("explicit")))
        journal.close()
        trail.relay.flush(timeout_s=30)
        through = trail.outboxes.delivered_through(INCARNATION)
        application.write(f"{number} c", delivered_through=through)
        trail.relay.flush(timeout_s=30)
        if number == 2:
            application.restore(backup)
        trail.relay.stop()
        trail.close()
    application.close()

    trail = Trail(tmp_path / "trail.db", directory, application)
    trail.relay.flush(timeout_s=30)
    trail.relay.flush(timeout_s=30)
    events = trail.events()
    sources = {(source.producer_id, source.epoch): source for source in trail.store.sources()}
    notices = [notice.action for notice in trail.store.notices()]
    trail.close()

    firsts = [event for event in events if event.part is None or event.part.n == 1]
    ids = [event.id for event in firsts]
    assert len(ids) == len(set(ids))
    assert set(given) <= set(ids)
    last: dict[tuple[str, int], int] = {}
    for event in firsts:
        source = (event.producer.id, event.producer.epoch)
        assert event.producer.seq > last.get(source, 0)
        last[source] = event.producer.seq
    changes = [str((e.changes or {})["text"][1]) for e in firsts if e.action == "note.insert"]
    assert changes == [
        *["0 a", "0 b", "0 c", "1 a", "1 b", "1 c", "2 a", "2 b", "2 c"],
        *["3 a", "3 b", "3 c"],
    ]
    epochs = sorted(epoch for producer_id, epoch in sources if producer_id == INCARNATION)
    assert epochs[0] == OPENED and len(epochs) == 2
    assert all(source.missing == () for source in sources.values())
    assert notices.count("incarnation.opened") == 1
    assert "event.conflict" not in notices and "event.quarantined" not in notices
    assert [path for path in directory.iterdir() if path.suffix == ".journal"] == []
