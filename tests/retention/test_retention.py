"""What is old goes, as authorised; what is left is proven, and says what went."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet
import pytest

from indelible.errors import ErasureError, StoreBusyError, VerificationError
from indelible.events.codec import format_time
from indelible.events.model import Actor, Event, Subject
from indelible.integrity.faults import UnauthorisedActError
from indelible.integrity.remote import verify_remote
from indelible.integrity.resources import (
    Kind,
    Resource,
    encode_bodies,
    format_path,
    parse_bodies,
)
from indelible.integrity.retention import Rules, applied_entry, parse_retention
from indelible.integrity.retention_plan import Plan
from indelible.integrity.sealing import seal_trail
from indelible.integrity.verified import Verified
from indelible.integrity.verifier import verify_trail
from indelible.store.entry import NO_SALT
from indelible.store.errors import BodyDroppedError
from indelible.store.lake import write_lake
from indelible.store.places import open_place
from indelible.store.sqlite_audit import audit_trail
from indelible.store.sqlite_dropping import Dropper
from indelible.tlog import SigningKey, Tile, add_signatures, format_note, parse_note, sign_note
from indelible.tlog.note import Note, NoteSignature
from tests.erasure.searching import found_in
from tests.integrity.test_remote import Kept
from tests.retention.archive import DAY, PLACE, Archive, archive, ordinary, whole_day

LATE = 21
"""A block is sealed when it is whole: up to 256 entries stay somewhat longer, here 20 days."""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 ordinary days, of which nothing was dropped; to be copied."""
    directory = tmp_path_factory.mktemp("old") / "shop"
    with archive(directory):
        pass
    return directory


@pytest.fixture
def made(old: Path, tmp_path: Path) -> Iterator[Archive]:
    with contextlib.closing(copy_of(old, tmp_path / "shop")) as found:
        yield found


def copy_of(old: Path, directory: Path) -> Archive:
    shutil.copytree(old, directory)
    return Archive.again(directory)


def secrets(made: Archive, days: int = 400) -> tuple[list[str], list[str]]:
    """Those that have to be gone by now, and those that have to be there."""
    gone, left = [], []
    lengths = {"access": 100, "change": 300}
    for did in (each for day in range(days) for each in ordinary(day)):
        limit = made.today - lengths[did.kind] * DAY
        if did.time < limit - LATE * DAY:
            gone.append(did.secret)
        elif did.time >= limit:
            left.append(did.secret)
    return gone, left


def accessors_by(made: Archive, subject: str, time: int) -> set[str]:
    """Who certainly accessed the customer's data on that day."""
    answer = made.questions.accessors(of=Subject("customer", subject), **whole_day(time))
    return {str(found.actor) for found in answer if found.certain}


def did_on(day: int, subject: str, *kinds: str) -> set[str]:
    return {
        f"staff:{did.actor}"
        for did in ordinary(day)
        if did.subject == subject and did.kind in kinds
    }


def test_what_is_old_goes_and_the_rest_is_proven(made: Archive) -> None:
    """No secret that is due is in any file, all others are; all proofs hold."""
    before = made.verify()
    count = made.retain()
    gone, left = secrets(made)
    assert len(gone) > 2_000
    assert found_in(made.directory, tuple(gone[::40])) == []
    assert len(found_in(made.directory, tuple(left[::40]))) >= len(left[::40])
    found = made.verify()
    assert found.size > before.size
    assert found.retentions.dropped == count >= len(gone)
    assert (found.retentions.done, found.retentions.attested) == (1, 1)
    assert {path.suffix for path in (made.directory / PLACE).iterdir()} == {".seg"}
    assert len(list((made.directory / PLACE).iterdir())) == len(made.store.segments())
    assert made.questions.accessors(of=Subject("customer", "c1")).retained() is not None


@pytest.mark.parametrize("subject", ["c0", "c3"])
def test_answers_by_day_are_the_oracle_s(made: Archive, subject: str) -> None:
    """Of each day, before and behind each limit, and of windows that cut one in two."""
    made.retain()
    for day in (*range(0, 99 - LATE, 9), *range(100, 199 - LATE, 9), *range(200, 400, 7)):
        time = made.today - 399 * DAY + day * DAY
        told = accessors_by(made, subject, time)
        if day < 99:
            assert told == set()
        elif day < 199:
            assert told == did_on(day, subject, "change")
        else:
            assert told == did_on(day, subject, "change", "access")
    start = made.today - 399 * DAY + 250 * DAY
    of = Subject("customer", subject)
    half: dict[str, Any] = {"since": format_time(start), "until": format_time(start + DAY // 2)}
    some = list(made.questions.accessors(of=of, **half))
    assert {str(found.actor) for found in some} == did_on(250, subject, "access")
    assert all(found.why and "by day only" in found.why for found in some)
    by = made.questions.accesses(by=Actor("staff", "s1"), **whole_day(start))
    days = {(found.kind, found.id) for found in by if found.resolution == "day"}
    assert days == {("invoice", None)} | {
        ("customer", (did.subject,))
        for did in ordinary(250)
        if did.actor == "s1" and did.kind == "access"
    }


def test_what_goes_once_more(made: Archive) -> None:
    """Days go as they age, too; all that was said of them before is held to who authorised it."""
    first = made.retain()
    made.days(400, 500)
    second = made.retain()
    found = made.verify()
    assert found.retentions.dropped == first + second
    assert (found.retentions.done, found.retentions.attested) == (2, 2)
    gone, left = secrets(made, 500)
    assert found_in(made.directory, tuple(gone[::40])) == []
    assert len(found_in(made.directory, tuple(left[::40]))) >= len(left[::40])
    start = made.today - 499 * DAY
    assert accessors_by(made, "c1", start + 250 * DAY) == did_on(250, "c1", "change")
    assert accessors_by(made, "c1", start + 330 * DAY) == did_on(330, "c1", "change", "access")
    made.days(500, 900)
    made.retain()
    made.verify()


def test_a_body_that_nobody_allowed_to_drop(made: Archive) -> None:
    """Root on the trail's store drops a body, leaf and all: found, with its index."""
    list(made.seal(format_time(made.today)))
    list(Dropper(made.path, clock=lambda: format_time(0)).drop({3: 1 << 5}))
    with pytest.raises(UnauthorisedActError, match=r"index 773: .*no retention was authorised"):
        made.verify()


def test_one_body_more_than_was_allowed(made: Archive) -> None:
    """Beside those that were authorised."""
    made.retain()
    dropper = Dropper(made.path, clock=lambda: format_time(0))
    kept = next(n.index for n in made.store.entries(0, 5_000) if b'"kind":"change"' in n.body)
    list(dropper.drop({kept // 256: 1 << kept % 256}))
    with pytest.raises(UnauthorisedActError, match=f"index {kept}: "):
        made.verify()


def test_said_to_be_gone_and_still_there(made: Archive) -> None:
    """An operator who says that it is done, and has done nothing."""
    text = made.request()
    made.tell(made.sign(text))
    made.say(applied_entry(parse_retention(text).nonce))
    made.carry()
    with pytest.raises(UnauthorisedActError, match="is still there"):
        made.verify()


@pytest.mark.parametrize(
    ("names", "why"),
    [("av", "expected 2 of 2 authorisers to have signed, 1 did"), ("ab", "verifiers to attest")],
)
def test_too_few_signatures(made: Archive, names: str, why: str) -> None:
    text = made.request()
    size = made.store.size
    with pytest.raises(ErasureError, match=why):
        made.retention.apply(made.sign(text, names))
    assert made.store.size == size


def test_a_verifier_signs_only_what_it_finds(made: Archive) -> None:
    """One bit of what is said changed: another hash, and no signature."""
    act = parse_retention(made.request())
    made.retention.attest(act)
    for changed in (
        {"digest": bytes(32)},
        {"dropped": act.dropped - 1},
        {"root": bytes(32)},
        {"held": 1},
        {"through": 255},
        {"rules": msgspec.structs.replace(act.rules, changes=act.rules.access_detail)},
    ):
        with pytest.raises(ErasureError, match="Ask for it anew"):
            made.retention.attest(msgspec.structs.replace(act, **changed))


def test_a_verifier_s_copy_may_be_sealed_otherwise(
    old: Path, made: Archive, tmp_path: Path
) -> None:
    """Or not at all: the entries are the same."""
    act = parse_retention(made.request())
    with contextlib.closing(copy_of(old, tmp_path / "verifier's")) as copy:
        copy.retention.attest(act)
        list(
            seal_trail(
                copy.store,
                [copy.key.verifier_key],
                open_place("s", copy.path),
                "s",
                before=format_time(copy.today),
                only_full=False,
                most_blocks=7,
            )
        )
        copy.retention.attest(act)


def test_an_authorisation_for_another_trail(made: Archive) -> None:
    """And one by keys that nobody named."""
    text = made.request()
    with pytest.raises(ErasureError, match="expected an authorisation for the trail"):
        made.retention.apply(made.sign(text.replace("example.com/trail", "example.com/other")))
    strangers = [SigningKey.generate(f"shop.example/{name}") for name in "abv"]
    note = add_signatures(Note(text, ()), [sign_note(text, key) for key in strangers])
    with pytest.raises(ErasureError, match="0 did"):
        made.retention.apply(format_note(note))


def test_statements_that_were_left_out(made: Archive) -> None:
    """Who keeps the trail tells less than was signed: nothing may be dropped by it, or was."""
    text = made.request()
    act = parse_retention(text)
    made.tell(made.sign(text), leave_out=act.said - 1)
    assert made.verify().retentions.pending == 1
    made.say(applied_entry(act.nonce))
    made.carry()
    with pytest.raises(UnauthorisedActError, match="isn't all said"):
        made.verify()


def test_statements_of_nobody_s(made: Archive) -> None:
    """A day that no act told of; an act that goes on when all is done; one that is used twice."""
    text = made.request()
    note = made.sign(text)
    made.retention.apply(note)
    assert made.retention.apply(note) == parse_retention(text).dropped
    made.verify()
    made.say(Event(action="retention.daily", kind="system", details={"nonce": "0" * 32, "n": 0}))
    made.carry()
    with pytest.raises(UnauthorisedActError, match="no authorisation of its own"):
        made.verify()


def test_who_is_held_keeps_all(made: Archive) -> None:
    """Held before it is asked for: all about the person stays. Held between: it is refused."""
    held = "c2"
    note = made.act("hold.add", held)
    stale = made.sign(made.request())
    made.erasures.add_hold(Subject("customer", held), note)
    with pytest.raises(ErasureError, match="Ask for it anew"):
        made.retention.apply(stale)
    made.retain()
    theirs = [did.secret for day in range(400) for did in ordinary(day) if did.subject == held]
    assert len(found_in(made.directory, tuple(theirs[::25]))) == len(theirs[::25])
    gone, _ = secrets(made)
    others = [secret for secret in gone if secret not in set(theirs)]
    assert found_in(made.directory, tuple(others[::40])) == []
    made.verify()


def test_somebody_of_whom_nothing_is_sealed_can_be_held(made: Archive) -> None:
    """Retention would take what is about them, so a hold is of use."""
    note = made.act("hold.add", "nobody-yet")
    made.erasures.add_hold(Subject("customer", "nobody-yet"), note)
    assert [hold.subject for hold in made.erasures.holds()] == [Subject("customer", "nobody-yet")]
    made.retain()
    made.verify()


def test_what_is_left_of_one_entry(made: Archive) -> None:
    """Its head, by which it is proven that it was there; asking for its body says why not."""
    head = made.store.head(5)
    made.retain()
    assert made.store.head(5) == head
    with pytest.raises(BodyDroppedError, match="retention dropped"):
        made.store.entry(5)
    with pytest.raises(BodyDroppedError):
        made.store.salt(5)


def test_a_forged_signature(made: Archive) -> None:
    """A line that claims an authoriser's key, by another one."""
    text = made.request()
    note = parse_note(made.sign(text))
    forged = sign_note(text, SigningKey.generate("shop.example/a")).signature
    lines = [
        NoteSignature(
            each.name, each.key_id, forged if each.name.endswith("/a") else each.signature
        )
        for each in note.signatures
    ]
    with pytest.raises(VerificationError):
        made.retention.apply(format_note(Note(text, tuple(lines))))


def test_seen_from_afar(made: Archive) -> None:
    """Whoever reads the served bodies sees the same; a server can't leave out one more."""
    count = made.retain()
    kept = Kept(made)
    found = verify_remote(kept, made.key.verifier_key, with_bodies=True)
    assert found.retentions.dropped == count
    assert (found.retentions.done, found.retentions.unchecked) == (1, 1)
    path = format_path(Resource(Kind.BODIES, Tile(0, 19)))
    bodies = parse_bodies(kept.paths[path], 256)
    at = next(n for n, (_, body) in enumerate(bodies) if body)
    bodies[at] = (NO_SALT, b"")
    kept.paths[path] = encode_bodies(bodies)
    with pytest.raises(UnauthorisedActError, match=f"index {19 * 256 + at}: body dropped"):
        verify_remote(kept, made.key.verifier_key, with_bodies=True)


def test_only_what_is_new(made: Archive) -> None:
    """Going on from a verification of before: what was dropped meanwhile needs no other."""
    verified: list[Verified] = []
    verify_trail(
        made.path,
        made.key.verifier_key,
        authorisers=made.authorisers,
        on_verified=verified.append,
    )
    made.retain()
    made.days(400, 403)
    found = verify_trail(
        made.path,
        made.key.verifier_key,
        authorisers=made.authorisers,
        earlier=verified[0],
        on_verified=verified.append,
    )
    assert found.since > 0
    made.verify()


def test_who_asks_with_a_used_number_is_not_told_that_it_was_done(made: Archive) -> None:
    """Who asks chooses the text, its number too: with that of an earlier act nothing goes."""
    first = made.request()
    made.retention.apply(made.sign(first))
    made.days(400, 460)
    second = made.request()
    numbers = [re.search(r"^nonce (\w+)$", text, re.M) for text in (first, second)]
    used, own = (found[1] for found in numbers if found is not None)
    size = made.store.size
    with pytest.raises(ErasureError, match=r"came one that entry \d+ has used"):
        made.retention.apply(made.sign(second.replace(own, used)))
    assert made.store.size == size
    assert made.retention.apply(made.sign(second)) > 0
    made.verify()


def test_the_lake_loses_it_too(made: Archive) -> None:
    """The copies for analysis are made anew of what is left."""
    made.lake = made.directory / "lake"
    list(made.retention.seal_due())
    list(write_lake(made.store, made.store.segments(), made.lake))
    rows = lake_rows(made.lake)
    count = made.retain()
    list(write_lake(made.store, made.store.segments(), made.lake))
    assert lake_rows(made.lake) == rows - count
    verify_trail(made.path, made.key.verifier_key)


def lake_rows(lake: Path) -> int:
    return sum(
        pyarrow.parquet.read_metadata(path).num_rows for path in lake.glob("month=*/*.parquet")
    )


def test_read_while_it_goes(made: Archive) -> None:
    """A reader who is under way sees what is left, and is cut off by nothing; a verification that
    began before is told to begin again."""
    text = made.request()
    reading = made.store.entries(0, int(made.store.size) - 1)
    first = [next(reading).index for _ in range(300)]
    with audit_trail(made.path) as audit:
        blocks = audit.blocks(0)
        next(blocks)
        made.retention_without_flush(text)
        with pytest.raises(StoreBusyError, match="wrote it anew meanwhile"):
            list(blocks)
    rest = [entry.index for entry in reading]
    assert first == list(range(300))
    assert rest == sorted(set(rest)) and rest[0] >= 300
    assert made.retention.apply(made.sign(text)) > 0
    made.verify()


def test_decisions_stay_as_long_as_what_they_cover(made: Archive) -> None:
    """Else what was allowed would look as if it hadn't been."""
    times = {name: format_time(at) for at, name in enumerate(("t0", "t1", "t2"), start=1)}
    for rules, limit in (
        (Rules(events=times["t2"]), None),
        (Rules(events=times["t2"], changes=times["t1"]), None),
        (Rules(events=times["t2"], changes=times["t1"], accesses=times["t0"]), times["t0"]),
    ):
        with Plan(made.store, rules, -1) as plan:
            assert plan.decisions_before == limit


def test_nothing_is_due(tmp_path: Path) -> None:
    with archive(tmp_path / "young", days=30) as young, pytest.raises(ErasureError, match="due"):
        young.request()
