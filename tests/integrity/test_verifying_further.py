"""A verification goes on from an earlier one: what it finds, what it can't, what it says."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from indelible.events.codec import encode_draft, format_time, seal_parts
from indelible.events.model import Event, Producer
from indelible.integrity.faults import (
    CheckpointError,
    EntryMismatchError,
    ForkError,
    IndexMismatchError,
    MissingEntryError,
    NumberingError,
    ProducerSignatureError,
    RollbackError,
    StrayEntryError,
    TileMismatchError,
    TrailFaultError,
)
from indelible.integrity.pins import load_pin, store_pin
from indelible.integrity.seen import Seen
from indelible.integrity.verified import Verified
from indelible.integrity.verifier import Verification, verify_trail
from indelible.store.index import decode_page, encode_pages
from indelible.tlog import SigningKey
from indelible.transport.delivery import Delivery, Gap, Remark, Void
from indelible.transport.journal_files import JournalDirectory
from indelible.transport.relay import Relay, RelaySettings
from tests.integrity.test_producers import ENROLMENT, draft, sign, signing_journal
from tests.integrity.test_tampering import behind_the_back, change_lines, replace_in
from tests.integrity.trails import EPOCH, ORIGIN, SOURCE, Maker, delivery_at

MAIN = "from indelible.cli import main; main()"


def verify(
    maker: Maker, earlier: Verified | None = None, *, enrolment: SigningKey | None = ENROLMENT
) -> tuple[Verification, Verified]:
    left: list[Verified] = []
    found = verify_trail(
        maker.path,
        maker.key.verifier_key,
        earlier=earlier,
        on_verified=left.append,
        enrolment=None if enrolment is None else enrolment.verifier_key,
    )
    return found, left[0]


def known(verified: Verified) -> tuple[object, ...]:
    """All of it but when and in which steps it was found out."""
    return (
        verified.root,
        verified.what.size,
        verified.signed,
        sorted(verified.sources, key=lambda one: (one.producer, one.epoch)),
        sorted(verified.producers, key=lambda one: (one.producer, one.epoch)),
        sorted(verified.noticed),
    )


class Life:
    """All sorts of things that happen to a trail by chance, from journals that sign and others."""

    def __init__(self, maker: Maker, directory: Path, seed: int) -> None:
        self._maker = maker
        self._random = random.Random(seed)
        self._directory = directory
        self._journals = [signing_journal(directory) for _ in range(3)]
        self._written = 0

    def go_on(self) -> None:
        for _ in range(self._random.randint(1, 6)):
            self._random.choice(
                (self._write, self._write, self._sign, self._deliver, self._misdeliver, self._end)
            )()
            self._carry()

    def close(self) -> None:
        for journal in self._journals:
            journal.close()

    def _write(self) -> None:
        journal = self._random.choice(self._journals)
        for _ in range(self._random.randint(1, 30)):
            self._written += 1
            journal.append(draft(self._written, size=self._random.choice((1, 1, 1, 90_000))))

    def _sign(self) -> None:
        journal = self._random.choice(self._journals)
        if journal.last_seq:
            sign(journal)

    def _end(self) -> None:
        place = self._random.randrange(3)
        self._journals[place].close()
        self._journals[place] = signing_journal(self._directory)

    def _deliver(self) -> None:
        self._maker.clock.now += 1_000_000
        self._maker.fill([self._random.choice((1, 40, 255, 256, 700))])

    def _misdeliver(self) -> None:
        """Late, twice, with other bytes, as no event; gaps, voids, notices and their ends."""
        maker = self._maker
        skipped = maker.seq + 1
        maker.seq += 4
        source = (SOURCE, EPOCH)
        maker.sequencer.deliver(
            [
                maker.delivery(time=EPOCH + 10**15),
                delivery_at(skipped),
                delivery_at(skipped),
                delivery_at(skipped, Event(action="other.bytes", kind="event")),
                Delivery(*source, skipped + 1, (b"no event",)),
            ],
            gaps=[Gap(*source, skipped + 2, skipped + 2, "lost")],
            voids=[Void(*source, ((skipped + 3, skipped + 3),))],
            remarks=[Remark("trail.remarked", "look", {})],
        )
        noticed = [each.index for each in maker.store.notices(unacknowledged_only=True)]
        self._journals[0].append(
            encode_draft(
                Event(
                    action="notice.acknowledged",
                    kind="system",
                    details={"index": int(self._random.choice(noticed))},
                )
            )
        )

    def _carry(self) -> None:
        relay = Relay([JournalDirectory(self._directory)], self._maker.sequencer, RelaySettings())
        relay.flush(30.0)
        relay.stop()


@pytest.mark.parametrize("seed", range(6))
def test_step_by_step_it_comes_to_know_what_it_does_at_once(
    maker: Maker, tmp_path: Path, seed: int
) -> None:
    """Sources, processes that sign, notices: the same, however often it went on in between."""
    life = Life(maker, tmp_path / "journals", seed)
    maker.fill([3])
    verified = verify(maker)[1]
    for _ in range(6):
        life.go_on()
        found, verified = verify(maker, verified)
        assert found.since == (found.earlier.size if found.earlier else 0) > 0
        whole_found, whole = verify(maker)
        assert known(verified) == known(whole)
        assert (found.unacknowledged, found.quarantined, found.sources) == (
            whole_found.unacknowledged,
            whole_found.quarantined,
            whole_found.sources,
        )
        # As it is kept in a file.
        verified = msgspec.json.decode(msgspec.json.encode(verified), type=Verified)
    life.close()
    assert verified.what.whole_size == 4


NEW = 8_002
SIZE = 8_603


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SigningKey, Verified]:
    """A trail that was verified when it had 8,002 entries; the next 601 had the index's runs merged
    into one across that border."""
    maker = Maker(tmp_path_factory.mktemp("grown") / "trail.db")
    maker.fill([4_000, 4_000])
    _, verified = verify(maker)
    maker.fill([600])
    maker.close()
    with behind_the_back(maker.path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return maker.path, maker.key, verified


def edit_a_body(c: sqlite3.Connection) -> None:
    change_lines(c, 32, "frame0", replace_in(2, b"actor", b"actus"))


def change_a_tile(c: sqlite3.Connection) -> None:
    c.execute("UPDATE tile SET hashes = zeroblob(length(hashes)) WHERE id = 32")


def drop_a_tile(c: sqlite3.Connection) -> None:
    c.execute("DELETE FROM tile WHERE id = 33")


def cut_the_tail(c: sqlite3.Connection) -> None:
    c.execute("DELETE FROM block WHERE n = 33")


def add_a_block(c: sqlite3.Connection) -> None:
    c.execute(
        "INSERT INTO block SELECT 34, count, min_time, max_time, doubtful, stems, salts, "
        "frame0, frame1, frame2, frame3, NULL FROM block WHERE n = 1"
    )


def narrow_a_block(c: sqlite3.Connection) -> None:
    c.execute("UPDATE block SET max_time = min_time WHERE n = 33")


def drop_the_last_batch(c: sqlite3.Connection) -> None:
    c.execute("DELETE FROM batch WHERE first = (SELECT max(first) FROM batch)")


def hide_from_the_merged_run(c: sqlite3.Connection) -> None:
    """A new entry, in the run that holds old ones, too."""
    ((first,),) = c.execute("SELECT first FROM run WHERE refs >= 65536").fetchall()
    key, refs, hidden = next(
        (key, refs, ref)
        for key, data in c.execute("SELECT id, data FROM page ORDER BY id").fetchall()
        for refs in [decode_page(data)]
        for ref in refs
        if (ref & 0xFFFFFFFF) + first == NEW + 3
    )
    refs[refs.index(hidden)] = hidden ^ 2
    (page,) = encode_pages(sorted(refs))
    c.execute("UPDATE page SET data = ? WHERE id = ?", (page.data, key))


def drop_the_merged_run(c: sqlite3.Connection) -> None:
    c.execute("DELETE FROM run WHERE refs >= 65536")


def add_a_page(c: sqlite3.Connection) -> None:
    c.execute("INSERT INTO page (id, data) VALUES (1 << 40, zeroblob(9))")


def move_a_position(c: sqlite3.Connection) -> None:
    c.execute("UPDATE span SET first_index = first_index + 1 WHERE first_seq > 1")


def slip_a_position_in(c: sqlite3.Connection) -> None:
    """In the middle of a stretch, whose ends stay right."""
    c.execute(
        "INSERT INTO span SELECT producer, epoch, 8201, 7, 1 FROM span "
        "WHERE producer LIKE 'a%' LIMIT 1"
    )


def forget_a_source(c: sqlite3.Connection) -> None:
    c.execute("UPDATE source SET ranges = zeroblob(0) WHERE producer LIKE 'a%'")


@pytest.mark.parametrize(
    ("tamper", "error", "index"),
    [
        (edit_a_body, EntryMismatchError, 8_194),
        (change_a_tile, TileMismatchError, 8_192),
        (drop_a_tile, TileMismatchError, 8_448),
        (cut_the_tail, MissingEntryError, 8_448),
        (add_a_block, StrayEntryError, 8_704),
        (narrow_a_block, IndexMismatchError, 8_448),
        (drop_the_last_batch, NumberingError, NEW),
        (hide_from_the_merged_run, IndexMismatchError, NEW + 3),
        (drop_the_merged_run, IndexMismatchError, SIZE),
        (add_a_page, IndexMismatchError, SIZE),
        (move_a_position, NumberingError, NEW),
        (slip_a_position_in, NumberingError, 8_202),
        (forget_a_source, NumberingError, SIZE),
    ],
)
def test_an_edit_of_what_is_new_is_named_with_its_index(
    grown: tuple[Path, SigningKey, Verified],
    tmp_path: Path,
    tamper: Callable[[sqlite3.Connection], object],
    error: type[TrailFaultError],
    index: int,
) -> None:
    path, key, verified = grown
    copy = tmp_path / "copy.db"
    shutil.copyfile(path, copy)

    def go_on() -> Verification:
        return verify_trail(
            copy, key.verifier_key, earlier=verified, enrolment=ENROLMENT.verifier_key
        )

    assert (go_on().since, go_on().size) == (NEW, SIZE)
    with behind_the_back(copy) as connection:
        tamper(connection)
    with pytest.raises(error) as caught:
        go_on()
    assert caught.value.index == index


def test_an_edit_of_what_was_verified_before_is_left_to_a_whole_one(maker: Maker) -> None:
    """The earlier part is taken for what it was found to be then: its file isn't looked at."""
    maker.fill([400, 300])
    _, verified = verify(maker)
    maker.fill([300])
    with behind_the_back(maker.path) as connection:
        change_lines(connection, 1, "frame0", replace_in(7, b"actor", b"actus"))
    found, again = verify(maker, verified)
    assert found.earlier == verified.what
    assert again.what.whole_size == 702 and again.what.size == 1_003
    with pytest.raises(EntryMismatchError, match="index 263: "):
        verify(maker)


def test_a_notice_from_before_that_is_hushed_up(maker: Maker) -> None:
    maker.sequencer.deliver([], remarks=[Remark("trail.remarked", "look", {})])
    _, verified = verify(maker)
    maker.fill([3])
    with behind_the_back(maker.path) as connection:
        connection.execute("DELETE FROM notice")
    with pytest.raises(NumberingError, match=r"index 0: .*isn't among the notices"):
        verify(maker, verified)


def test_what_a_process_signs_later_is_read_again(maker: Maker, tmp_path: Path) -> None:
    """An event that no statement was about when it was verified can't be exchanged until it is."""
    journals = tmp_path / "journals"
    journal = signing_journal(journals)

    def carry() -> None:
        relay = Relay([JournalDirectory(journals)], maker.sequencer, RelaySettings())
        relay.flush(30.0)
        relay.stop()

    for n in range(30):
        journal.append(draft(n))
    carry()
    _, verified = verify(maker)
    assert [one.unstated for one in verified.producers] == [((0, 30),)]
    sign(journal)
    carry()
    assert verify(maker, verified)[0].signed.entries == 31
    with behind_the_back(maker.path) as connection:
        change_lines(connection, 0, "frame0", replace_in(7, b'"n":6', b'"n":9'))
    with pytest.raises(EntryMismatchError, match="index 7: "):
        verify(maker, verified)
    journal.close()


def test_of_a_process_that_is_over_little_is_remembered(maker: Maker, tmp_path: Path) -> None:
    """Neither key nor entries, for the pin has it for ever; that it ended is."""
    journals = tmp_path / "journals"
    journal = signing_journal(journals)
    journal.append(draft(0))
    journal.close()
    relay = Relay([JournalDirectory(journals)], maker.sequencer, RelaySettings())
    relay.flush(30.0)
    relay.stop()
    _, verified = verify(maker)
    (over,) = verified.producers
    assert (over.key, over.unstated, over.is_over, over.has_ended) == ("", (), True, True)
    maker.fill([3])
    found, again = verify(maker, verified)
    assert again.producers == verified.producers
    assert (found.signed.producers, found.signed.ended) == (1, 1)
    late = Producer(over.producer, over.epoch, over.last + 1)
    bodies = seal_parts(draft(99), format_time(over.epoch + 60_000_000), late)
    maker.sequencer.deliver([Delivery(late.id, late.epoch, late.seq, bodies)])
    with pytest.raises(ProducerSignatureError, match="ended with its event"):
        verify(maker, again)


def test_another_enrolment_key_has_all_read(maker: Maker) -> None:
    maker.fill([3])
    _, verified = verify(maker, enrolment=None)
    maker.fill([3])
    assert verify(maker, verified, enrolment=None)[0].since == 4
    assert verify(maker, verified)[0].since == 0


def test_a_trail_put_back_and_another_history(maker: Maker, tmp_path: Path) -> None:
    maker.fill([3])
    _, small = verify(maker)
    maker.fill([5])
    _, verified = verify(maker)
    shorter = Maker(tmp_path / "shorter.db", key=maker.key)
    shorter.fill([3])
    with pytest.raises(RollbackError):
        verify(shorter, verified)
    with pytest.raises(ForkError):
        verify(shorter, small)
    stranger = Maker(tmp_path / "stranger.db", key=SigningKey.generate("example.com/stranger"))
    stranger.fill([3])
    with pytest.raises(CheckpointError, match=r"expected the trail of example\.com/trail"):
        verify(stranger, small)


# -- the pin --------------------------------------------------------------------------------------


def run(
    maker: Maker, state: Path, *arguments: str, program: str = MAIN
) -> subprocess.CompletedProcess[str]:
    key = str(maker.key.verifier_key)
    return subprocess.run(
        [
            *(sys.executable, "-c", program, "verify", "--trail", str(maker.path), "--key", key),
            *("--enrolment", str(ENROLMENT.verifier_key), "--state", str(state), *arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_the_command_says(maker: Maker, tmp_path: Path) -> None:
    """Which entries it read, and of those that it didn't since when they are taken on trust."""
    state = tmp_path / "state"
    maker.fill([400])
    assert "whole: 401 entries" in run(maker, state, "--only-new").stdout
    (pin,) = state.glob("*.json")
    first = json.loads(pin.read_bytes())["time"]
    maker.fill([300])
    grown = run(maker, state, "--only-new").stdout
    assert "grown: entries from 401 to before 702 of example.com/trail" in grown
    assert "hashed again: 301 entries · their index, 1 batches and 2 sources" in grown
    grown = " ".join(grown.split())
    assert "not read again: the 401 entries before, and what is derived from them" in grown
    assert f"which were right at {first}: an edit there since" in grown
    assert "whole" not in grown
    maker.fill([1])
    again = " ".join(run(maker, state, "--only-new").stdout.split())
    assert f"found without --only-new, last done at {first} of 401 entries" in again
    (line,) = run(maker, state, "--only-new", "--json").stdout.splitlines()
    said = json.loads(line)
    assert (said["since"], said["size"]) == (704, 704)
    assert said["earlier"]["whole_size"] == 401 and said["earlier"]["whole_time"] == first
    assert "whole: 704 entries" in run(maker, state).stdout
    assert json.loads(pin.read_bytes())["verified"]["what"]["whole_size"] == 704


def edited(pin: Path, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    told = json.loads(pin.read_bytes())
    change(told)
    pin.write_text(json.dumps(told))


def test_a_pin_that_was_put_back_or_edited(maker: Maker, tmp_path: Path) -> None:
    """An older one has more read; one that doesn't fit the trail is never passed over."""
    state = tmp_path / "state"
    maker.fill([400])
    run(maker, state)
    (pin,) = state.glob("*.json")
    older = pin.read_bytes()
    maker.fill([300])
    run(maker, state, "--only-new")
    newer = pin.read_bytes()
    pin.write_bytes(older)
    assert "hashed again: 301 entries" in run(maker, state, "--only-new").stdout

    edited(pin, lambda told: told["verified"].update(root="A" * 43 + "="))
    forked = run(maker, state, "--only-new")
    assert forked.returncode == 3 and "history was rewritten" in forked.stderr
    pin.write_bytes(newer)
    edited(pin, lambda told: told["verified"]["what"].update(size=401))
    assert run(maker, state, "--only-new").returncode == 3
    pin.write_bytes(newer)
    edited(pin, lambda told: told["verified"]["sources"][0].__setitem__(2, [[1, 5]]))
    assert run(maker, state, "--only-new").returncode == 3
    pin.write_bytes(newer[: len(newer) // 2])
    torn = run(maker, state, "--only-new")
    assert torn.returncode == 2 and "expected a pin at" in torn.stderr
    pin.unlink()
    assert "whole: 702 entries" in run(maker, state, "--only-new").stdout


KILLED = """
import os, sys
from pathlib import Path
from indelible.cli import main
from indelible.integrity import verifier

def die(*_): os.kill(os.getpid(), 9)

check, blocks = verifier._check_block, []

def check_some(*arguments):
    blocks.append(check(*arguments))
    if len(blocks) == 10: die()

if POINT == "reading": verifier._check_block = check_some
if POINT == "written": os.fsync = die
if POINT == "synced": Path.replace = die
main()
"""


@pytest.mark.parametrize("point", ["reading", "written", "synced"])
def test_a_verification_that_is_killed_leaves_what_was_there(
    maker: Maker, tmp_path: Path, point: str
) -> None:
    state = tmp_path / "state"
    maker.fill([400])
    run(maker, state)
    (pin,) = state.glob("*.json")
    before = pin.read_bytes()
    maker.fill([2_000, 2_000])
    killed = run(maker, state, "--only-new", program=f"POINT = {point!r}\n{KILLED}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert pin.read_bytes() == before
    assert "hashed again: 4002 entries" in run(maker, state, "--only-new").stdout


def test_of_two_verifications_at_once_the_larger_is_remembered(tmp_path: Path) -> None:
    """The slower one, of a smaller tree, doesn't put the pin back."""
    key = str(SigningKey.generate(ORIGIN).verifier_key)
    for size in (9, 5, 7):
        seen = Seen(origin=ORIGIN, size=size, root=bytes(32), vkey=key)
        store_pin(tmp_path, seen, "2026-11-30T00:00:00.000000Z")
    pin = load_pin(tmp_path, ORIGIN)
    assert pin is not None and pin.size == 9
