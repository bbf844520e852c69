"""Retention, erasure and holds in every order, killed at any call to the disk: nothing forbidden is
left in any file, nothing else is lost, all proofs hold, and every answer is the oracle's.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from indelible.events.model import Subject
from tests.erasure.searching import found_in
from tests.retention.acting import act
from tests.retention.archive import DAY, PLACE, Archive, archive, ordinary, whole_day

ROOT = Path(__file__).parents[2]
CALLS = "pwrite64,write,fsync,fdatasync,rename,unlink"
DAYS = 240
LATE = 21
ERASED, HELD = "c1", "c3"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("old") / "shop"
    with archive(directory, DAYS):
        pass
    return directory


def run(directory: Path, kind: str, file: Path, subject: str, *strace: str) -> int:
    done = subprocess.run(
        [
            *(("strace", "-f", "-qq", *strace) if strace else ()),
            *(sys.executable, "-m", "tests.retention.acting", str(directory), kind, str(file)),
            *([subject] if subject else []),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode


def calls_of(directory: Path, kind: str, signed: bytes, subject: str) -> int:
    """How often that act calls the disk, found on a copy."""
    copy = directory.with_name("counted")
    shutil.copytree(directory, copy)
    note, trace = copy.with_name("note"), copy.with_name("trace")
    note.write_bytes(signed)
    code = run(copy, kind, note, subject, "-e", f"trace={CALLS}", "-P", str(copy), "-o", str(trace))
    shutil.rmtree(copy)
    assert code == 0
    return max(1, len(trace.read_text().splitlines()))


def kill_and_go_on(
    directory: Path, kind: str, signed: bytes, subject: str, rng: random.Random, kills: int
) -> None:
    """The act is killed so often, each time at another call; then it is done."""
    note = directory.with_name("note")
    note.write_bytes(signed)
    for _ in range(kills):
        at = 1 + int(300 ** rng.random())
        inject = f"inject={CALLS}:signal=KILL:when={at}"
        run(directory, kind, note, subject, "-e", f"trace={CALLS}", "-e", inject, "-o", "/dev/null")
        with contextlib.closing(Archive.again(directory)) as found:
            found.verify()
    with contextlib.closing(Archive.again(directory)) as found:
        act(found, kind, signed, subject)
        found.verify()


def check(made: Archive, done: set[str], days: int, *, retained: int = 0, erased: int = 0) -> None:
    """What the acts that were done, in whatever order, leave; retention last on the day that began
    at `retained`, erasure after `erased` days."""
    gone: list[str] = []
    left: list[str] = []
    sealed_gone: list[str] = []
    sealed_left: list[str] = []
    held = "hold" in done
    for came, did in ((day, each) for day in range(days) for each in ordinary(day)):
        is_due = "retain" in done and did.kind == "access"
        stays = held and did.subject == HELD
        if is_due and not stays and did.time < retained - (100 + LATE) * DAY:
            gone.append(did.secret)
        elif not is_due or stays or did.time >= retained - 100 * DAY:
            left.append(did.secret)
        if did.sealed:
            is_erased = did.subject == ERASED and came < erased
            mine = sealed_gone if is_erased else sealed_left
            mine.append(did.sealed)
    assert found_in(made.directory, tuple(gone[::17])) == []
    assert len(found_in(made.directory, tuple(left[::60]))) >= len(left[::60])
    # Sealed values are in no file in clear, erased or not; some open still.
    assert found_in(made.directory, tuple((sealed_gone + sealed_left)[::9])) == []
    opened = opened_values(made)
    assert opened.isdisjoint(sealed_gone)
    assert opened >= set(sealed_left)
    for day in range(DAYS - 195, days, 11):
        start = made.today - (days - 1 - day) * DAY
        answer = made.questions.accessors(of=Subject("customer", "c2"), **whole_day(start))
        told = {str(found.actor) for found in answer if found.certain}
        assert told == {f"staff:{did.actor}" for did in ordinary(day) if did.subject == "c2"}
    names = {path.name for path in (made.directory / PLACE).glob("*")}
    spools = {name for name in names if name.endswith(".unfinished")}
    assert names - spools == {segment.name for segment in made.store.segments()}


def opened_values(made: Archive) -> set[object]:
    from indelible.events.codec import decode_event
    from indelible.store.sealing import Opener

    opener = Opener(made.keystore)
    found: set[object] = set()
    for entry in made.store.entries(0, int(made.store.size) - 1):
        event = opener.open(decode_event(entry.body))
        found.update(after for _, after in (event.changes or {}).values())
    return {value for value in found if isinstance(value, str)}


def in_some_order(old: Path, directory: Path, seed: int, kills: int) -> None:
    """A hold, a retention, an erasure, and time that passes between them."""
    rng = random.Random(seed)
    shutil.copytree(old, directory)
    done: set[str] = set()
    days, retained, erased = DAYS, 0, 0
    for step in rng.sample(["hold", "retain", "erase", "retain", "days"], 5):
        with contextlib.closing(Archive.again(directory)) as made:
            made.lengths = {"access_detail": "100 days"}
            if step == "days":
                made.days(days, days + 40)
                days += 40
                continue
            if step == "hold":
                kind, subject, signed = "hold.add", HELD, made.act("hold.add", HELD)
            elif step == "erase":
                kind, subject, signed = "subject.erase", ERASED, made.act("subject.erase", ERASED)
                erased = days
            else:
                list(made.retention.seal_due())
                with made.retention.plan() as plan:
                    if not plan.dropped:
                        continue
                kind, subject, signed = "retain", "", made.sign(made.request())
                retained = made.today
        # A hold that comes later keeps what is left, so what was dropped before isn't asked for.
        if step == "hold" and "retain" in done:
            continue
        kill_and_go_on(directory, kind, signed, subject, rng, kills)
        done.add(step)
        with contextlib.closing(Archive.again(directory)) as made:
            check(made, done, days, retained=retained, erased=erased)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "shop"


@pytest.mark.parametrize("seed", range(2))
def test_in_some_orders(old: Path, folder: Path, seed: int) -> None:
    in_some_order(old, folder, seed, kills=1)


@pytest.mark.long
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("seed", range(100, 120))
def test_in_many_orders(old: Path, folder: Path, seed: int) -> None:
    in_some_order(old, folder, seed, kills=4)


@pytest.mark.long
@pytest.mark.timeout(14_400)
def test_killed_at_each_call(old: Path, folder: Path) -> None:
    """Retention, at every single call to the disk that it makes."""
    shutil.copytree(old, folder)
    with contextlib.closing(Archive.again(folder)) as made:
        made.lengths = {"access_detail": "100 days"}
        signed = made.sign(made.request())
    for at in range(1, calls_of(folder, "retain", signed, "") + 1):
        copy = folder.with_name("copy")
        shutil.copytree(folder, copy)
        note = folder.with_name("note")
        note.write_bytes(signed)
        inject = f"inject={CALLS}:signal=KILL:when={at}"
        run(copy, "retain", note, "", "-e", f"trace={CALLS}", "-P", str(copy), "-e", inject)
        with contextlib.closing(Archive.again(copy)) as found:
            found.verify()
            found.retention.apply(signed)
            check(found, {"retain"}, DAYS, retained=found.today)
            assert found.verify().retentions.pending == 0
        shutil.rmtree(copy)
