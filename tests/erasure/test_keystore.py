"""Subjects' keys: sealed by anybody, opened by whoever holds the master key, gone once erased."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from indelible.errors import KeystoreError, StoreBusyError
from indelible.events.model import Event, Subject, TargetRows
from indelible.events.values import ABSENT, ERASED, TypedValue, Value
from indelible.store.keystore import Keystore
from indelible.store.sealing import Opener, Sealer

ROOT = Path(__file__).parents[2]
ZARA, YAN = ("customer", "zara"), ("customer", "yan")
VALUES: tuple[Value, ...] = (
    "zara@example.org",
    None,
    True,
    7,
    TypedValue("bytes", "AAE="),
    "",
    "é",
)


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    return Keystore.create(tmp_path / "keystore", tmp_path / "master.key")


def event(**columns: Value) -> Event:
    changes = {name: (ABSENT, value) for name, value in columns.items()}
    target = TargetRows("customer", (("zara",),))
    return Event(action="customer.insert", kind="change", targets=(target,), changes=changes)


def seal(keystore: Keystore, owner: tuple[str, str], value: Value, column: str = "c") -> TypedValue:
    with Sealer(keystore) as sealer:
        sealed = sealer.seal(owner, "customer", column, value)
    assert isinstance(sealed, TypedValue) and sealed.t == "sealed"
    return sealed


def opened(keystore: Keystore, value: Value, column: str = "c") -> Value:
    changes = Opener(keystore).open(event(**{column: value})).changes
    assert changes is not None
    return changes[column][1]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_sealed_value_comes_back_as_it_was(keystore: Keystore, value: Value) -> None:
    sealed = seal(keystore, ZARA, value)
    assert opened(keystore, sealed) == value
    assert "zara" not in f"{sealed}"


def test_short_values_are_of_one_length(keystore: Keystore) -> None:
    """Whether it is NULL or a short text can't be told by what is sealed."""
    lengths = {len(seal(keystore, ZARA, value).v or "") for value in (None, 1, "a", "twenty " * 4)}
    assert len(lengths) == 1


def test_a_value_can_not_be_moved(keystore: Keystore) -> None:
    """Put under another column, or under another subject's token, it stays shut."""
    sealed, other = seal(keystore, ZARA, "zara@example.org"), seal(keystore, YAN, "yan")
    assert opened(keystore, sealed, "elsewhere") == sealed
    moved = TypedValue("sealed", sealed.v, other.s)
    assert opened(keystore, moved) == moved


def test_who_seals_can_not_open(keystore: Keystore, tmp_path: Path) -> None:
    """A relay has the keystore without the master key: it enrols subjects, and reads nothing."""
    (tmp_path / "master.key").rename(tmp_path / "elsewhere")
    sealed = seal(keystore, ZARA, "zara@example.org")
    assert opened(keystore, sealed) == sealed
    with pytest.raises(KeystoreError, match="master key"):
        keystore.private_key(sealed.s or "")
    (tmp_path / "elsewhere").rename(tmp_path / "master.key")
    assert opened(keystore, sealed) == "zara@example.org"


def test_once_erased_no_backup_opens_it(keystore: Keystore, tmp_path: Path) -> None:
    """Neither the keystore of before with the key of now, nor any file that is left."""
    zaras, yans = seal(keystore, ZARA, "zara@example.org"), seal(keystore, YAN, "yan")
    before = tmp_path / "backup"
    shutil.copy(keystore.path, before)
    old_master = bytes.fromhex(keystore.master.read_text())

    assert keystore.erase(zaras.s or "", nonce="n", time="t") == 1

    assert (opened(keystore, zaras), opened(keystore, yans)) == (ERASED, "yan")
    assert keystore.token_of(Subject(*ZARA)) is None
    for file in tmp_path.iterdir():
        raw = file.read_bytes()
        assert old_master not in raw and old_master.hex().encode() not in raw, file
        assert b"zara" not in raw or file == before, file
    restored = Keystore(before, keystore.master)
    assert opened(restored, zaras) == zaras
    with pytest.raises(KeystoreError, match="it is another one: an erasure replaced it"):
        restored.private_key(zaras.s or "")


def test_an_erased_subject_may_come_back_as_another(keystore: Keystore) -> None:
    """Also for who sealed for it before: a key that is gone isn't sealed for."""
    with Sealer(keystore) as sealer:
        first = sealer.seal(ZARA, "customer", "c", "first")
    assert isinstance(first, TypedValue)
    keystore.erase(first.s or "", nonce="n", time="t")
    with sealer:
        second = sealer.seal(ZARA, "customer", "c", "second")
    assert isinstance(second, TypedValue) and second.s != first.s
    assert (opened(keystore, first), opened(keystore, second)) == (ERASED, "second")


def test_an_erasure_is_seen_whatever_the_file_s_times_say(keystore: Keystore) -> None:
    """Two commits may have the same: nobody seals for a key that is gone, or opens with it."""
    sealer, opener = Sealer(keystore), Opener(keystore)
    before = keystore.path.stat()
    for number in range(4):
        with sealer:
            sealed = sealer.seal(ZARA, "customer", "c", number)
        assert isinstance(sealed, TypedValue)
        assert opener.open(event(c=sealed)).changes == {"c": (ABSENT, number)}
        keystore.erase(sealed.s or "", nonce=f"{number}", time="t")
        os.utime(keystore.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert opener.open(event(c=sealed)).changes == {"c": (ABSENT, ERASED)}


def test_sealing_for_who_is_known_waits_for_nobody(keystore: Keystore) -> None:
    """While another process enrols or erases, what needs no new key goes on."""
    sealer = Sealer(keystore)
    with sealer:
        sealer.seal(ZARA, "customer", "c", "x")
    with keystore.connection() as other:
        other.execute("BEGIN IMMEDIATE")
        with sealer:
            sealed = sealer.seal(ZARA, "customer", "c", "y")
        assert not other.execute("SELECT 1 FROM subjects WHERE kind = 'other'").fetchall()
    assert opened(keystore, sealed) == "y"


def test_behind_one_that_waited_in_vain_nobody_waits(keystore: Keystore) -> None:
    """Many requests of people who are new don't wait one behind the other."""
    now = 5.0
    sealer = Sealer(keystore, wait_s=0.05, monotonic=lambda: now)
    with keystore.connection() as other:
        other.execute("BEGIN IMMEDIATE")
        for who, said in ((ZARA, "another process holds it"), (YAN, "it was held just now")):
            with pytest.raises(StoreBusyError, match=said), sealer:
                sealer.seal(who, "customer", "c", "x")
    now += 1.5
    with sealer:
        sealer.seal(YAN, "customer", "c", "x")
    assert len(keystore.tokens()) == 1


def test_without_a_keystore_values_stay_sealed(keystore: Keystore, tmp_path: Path) -> None:
    """Answers go on; when it is put back they are opened again."""
    sealed = seal(keystore, ZARA, "zara@example.org")
    opener = Opener(keystore)
    for _ in range(2):
        keystore.path.rename(tmp_path / "away")
        assert opener.open(event(c=sealed)).changes == {"c": (ABSENT, sealed)}
        (tmp_path / "away").rename(keystore.path)
        assert opener.open(event(c=sealed)).changes == {"c": (ABSENT, "zara@example.org")}


def test_a_forked_child_seals_and_opens_for_itself(keystore: Keystore) -> None:
    """Whatever its parent's other threads were in the middle of."""
    sealer, opener = Sealer(keystore), Opener(keystore)
    with sealer:
        sealed = sealer.seal(ZARA, "customer", "c", "x")
    is_over = threading.Event()

    def relay() -> None:
        number = 0
        while not is_over.is_set():
            with sealer:
                for _ in range(20):
                    number += 1
                    sealer.seal(("customer", f"{number}"), "customer", "c", number)
            opener.open(event(c=sealed))

    thread = threading.Thread(target=relay)
    thread.start()
    try:
        for number in range(20):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    signal.alarm(60)
                    with sealer:
                        its = sealer.seal(("child", f"{number}"), "customer", "c", "y")
                    both = opener.open(event(c=sealed, d=sealed)).changes, Opener(keystore)
                    assert both[0] is not None and both[0]["c"] == (ABSENT, "x")
                    assert both[1].open(event(c=its)).changes == {"c": (ABSENT, "y")}
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        is_over.set()
        thread.join()
    with keystore.connection() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert {f"{n}" for n in range(20)} == {
        subject.id
        for token in keystore.tokens()
        if (subject := keystore.subject_of(token)) and subject.kind == "child"
    }


def test_subjects_are_enrolled_only_with_what_was_sealed(keystore: Keystore) -> None:
    with pytest.raises(RuntimeError), Sealer(keystore) as sealer:
        sealer.seal(ZARA, "customer", "c", "x")
        raise RuntimeError
    assert keystore.tokens() == frozenset()
    with sealer:
        sealer.seal(ZARA, "customer", "c", "x")
    assert len(keystore.tokens()) == 1


@pytest.mark.parametrize("what", ["keystore", "master.key"])
def test_a_file_that_others_may_read_is_refused(
    keystore: Keystore, tmp_path: Path, what: str
) -> None:
    sealed = seal(keystore, ZARA, "x")
    (tmp_path / what).chmod(0o640)
    with pytest.raises(KeystoreError, match="chmod 600"):
        Keystore(keystore.path, keystore.master).private_key(sealed.s or "")


def test_no_error_and_no_repr_shows_a_key(keystore: Keystore) -> None:
    sealed = seal(keystore, ZARA, "x")
    secret = keystore.master.read_text().strip()
    keystore.master.write_text(secret[:-2] + "zz")
    with pytest.raises(KeystoreError) as caught:
        keystore.private_key(sealed.s or "")
    assert secret[:16] not in f"{caught.value!r} {keystore!r}"


CALLS = ("openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "unlink")
FILES = ("keystore", "keystore-journal", "keystore.lock", "master.key", "master.key.new", "")


def interrupt(directory: Path, call: str, when: int) -> bool:
    """Kill an erasure at the n-th such call on its files; whether one was made at all."""
    directory.mkdir()
    keystore = Keystore.create(directory / "keystore", directory / "master.key")
    zaras = seal(keystore, ZARA, "zara@example.org")
    others = [(name, seal(keystore, ("customer", name), name)) for name in ("yan", "xu")]
    old_master = keystore.master.read_text().strip()
    strace = shutil.which("strace")
    assert strace is not None, "expected strace: apt-get install strace"
    paths = [part for name in FILES for part in ("-P", str(directory / name))]
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={when}"]
    program = [sys.executable, "-m", "tests.erasure.eraser"]
    arguments = [str(keystore.path), str(keystore.master), zaras.s or ""]
    done = subprocess.run(
        [strace, "-f", "-qq", "-o", "/dev/null", *paths, *inject, *program, *arguments],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
    )
    for name, sealed in others:
        assert opened(keystore, sealed) == name, "before anything was put right"

    keystore.resume()

    is_done = bool(keystore.erased())
    assert not (directory / "master.key.new").exists()
    for name, sealed in others:
        assert opened(keystore, sealed) == name
    assert opened(keystore, zaras) == (ERASED if is_done else "zara@example.org")
    if not is_done:
        assert done.returncode != 0
        keystore.erase(zaras.s or "", nonce="n", time="t")
    assert opened(keystore, zaras) == ERASED
    for file in directory.iterdir():
        assert old_master.encode() not in file.read_bytes()
    assert [each.nonce for each in keystore.erased()] == ["n"]
    return done.returncode != 0


@pytest.mark.parametrize(
    ("call", "when"),
    [("write", 1), ("write", 2), ("pwrite64", 6), ("fdatasync", 2), ("rename", 1), ("unlink", 1)],
)
def test_an_erasure_that_is_killed(tmp_path: Path, call: str, when: int) -> None:
    """It was done, or wasn't, and no other subject's key is lost."""
    interrupt(tmp_path / "site", call, when)


@pytest.mark.long
@pytest.mark.parametrize("call", CALLS)
def test_an_erasure_that_is_killed_anywhere(tmp_path: Path, call: str) -> None:
    when = 1
    while interrupt(tmp_path / str(when), call, when):
        when += 1
    assert when > 1, f"{call} was never made"
