"""What was sealed for a subject: nobody reads it once it was erased, and nobody erases alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indelible import Actor, Subject, Target, Trail
from indelible.capture import sqlite_clearing
from indelible.capture.sqlite_context import WriteContext
from indelible.errors import ConfigurationError, DeliveryError, ErasureError, VerificationError
from indelible.events.codec import encode_draft
from indelible.events.model import Event
from indelible.events.values import ERASED, TypedValue, Value
from indelible.integrity.acts import AUTHORISED, HOLD_RELEASED
from indelible.integrity.acts import ERASED as ERASED_ACTION
from indelible.integrity.authorisations import ActKind, pack_note, read_act
from indelible.integrity.faults import UnauthorisedActError
from indelible.integrity.keys import load_keys, load_signing_key
from indelible.store.keystore import Keystore

from .searching import found_in
from .site import BEFORE, FIRST, POLICY, SECOND, YAN, YANS, ZARA, Shop

ALICE = Actor("staff", "alice")
FORBIDDEN = (BEFORE, FIRST, SECOND)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "shop")
    made.work()
    return made


def keystore_of(shop: Shop) -> Keystore:
    return Keystore(shop.directory / "trail.db.keystore", shop.directory / "trail.db.master.key")


def backup(shop: Shop, name: str) -> Path:
    """Everything of the trail's but the keystore and its master key, which are in no backup."""
    directory = shop.directory.parent / name
    directory.mkdir()
    for path in shop.directory.glob("trail.db*"):
        if path.name.endswith((".keystore", ".master.key", ".lock", ".acts")):
            continue
        if path.is_dir():
            shutil.copytree(path, directory / path.name, copy_function=copy_if_there)
        else:
            copy_if_there(path, directory / path.name)
    return directory


def copy_if_there(source: str | Path, target: str | Path) -> None:
    """A journal that was delivered goes while it is copied."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy(source, target)


def values_of(trail: Trail, target: str = "1") -> list[Value]:
    answer = trail.history(Target("customer", target))
    found = [finding.event.changes or {} for finding in answer]
    return [value for each in found for value in each.get("email", ())]


def erase(shop: Shop) -> None:
    with shop.open() as (trail, _):
        trail.erasures.erase(ZARA, shop.authorise(trail, "subject.erase"))


def test_values_are_sealed_before_they_leave_the_application(shop: Shop) -> None:
    """Trail and journals hold none in clear, those of rows from before capture neither."""
    shop.forget()
    found = found_in(shop.directory, (*FORBIDDEN, YANS))
    assert {line.partition(":")[0] for line in found} == {"app.db"}


def test_answers_open_them_where_the_keys_are(shop: Shop) -> None:
    with shop.open() as (trail, _):
        assert {BEFORE, FIRST, SECOND} <= {v for v in values_of(trail) if isinstance(v, str)}
        (state,) = trail.state(Target("customer", "1"))
        assert state.state.columns["email"] == SECOND
    (shop.directory / "trail.db.master.key").rename(shop.directory.parent / "master.key")
    with shop.open() as (trail, _):
        kinds = {value.t for value in values_of(trail) if isinstance(value, TypedValue)}
        assert kinds == {"sealed"}
        trail.verify()


def test_nothing_of_an_erased_subject_is_readable(shop: Shop) -> None:
    """In no file, of now or of a backup; answers say that it was erased; all proofs hold."""
    copy = backup(shop, "backup")
    shop.forget()
    erase(shop)
    assert found_in(shop.directory.parent, FORBIDDEN) == []
    with shop.open() as (trail, _):
        assert set(values_of(trail)) <= {ERASED, TypedValue("absent")}
        assert YANS in values_of(trail, "2")
        acts = trail.verify().acts
        assert (acts.erased, acts.pending, acts.unchecked) == (1, 0, 0)
        assert trail.notices() == ()
    shutil.copy(copy / "trail.db", shop.directory / "trail.db")
    with Trail.open(shop.config, relay=False) as trail:
        assert set(values_of(trail)) <= {ERASED, TypedValue("absent")}


def test_a_row_that_changes_hands_is_sealed_for_both(shop: Shop) -> None:
    """The value of before for whoever's it was then."""
    shop.forget()
    erase(shop)
    with shop.open() as (trail, _):
        moved = [
            finding.event.changes["body"]
            for finding in trail.history(Target("note", "1"))
            if finding.event.action == "note.update" and finding.event.changes
        ]
    assert [before for before, _ in moved] == [ERASED]
    assert isinstance(moved[0][1], TypedValue) and moved[0][1].t == "bytes"


@pytest.mark.parametrize(("whose", "is_left"), [(YAN, True), (ZARA, False)], ids=["new", "former"])
def test_a_value_that_stays_while_its_row_changes_hands(
    shop: Shop, whose: Subject, is_left: bool
) -> None:
    """It is the former owner's, whose erasure it goes with; the new one's leaves it."""
    with shop.open() as (trail, connection):
        connection.execute("INSERT INTO note VALUES (7, 1, 'zaras words')")
        connection.execute("UPDATE note SET customer_id = 2 WHERE id = 7")
        connection.commit()
        trail.flush()
        trail.erasures.erase(whose, shop.authorise(trail, "subject.erase", whose))
        (state,) = trail.state(Target("note", "7"))
        assert state.state.columns["body"] == ("zaras words" if is_left else ERASED)
        trail.verify()


def test_a_row_of_nobody_keeps_no_value(tmp_path: Path) -> None:
    """Whose it is isn't known, so nobody could erase it: it is masked."""
    shop = Shop(tmp_path / "shop")
    with shop.open() as (trail, connection):
        connection.execute("INSERT INTO note VALUES (9, NULL, ?)", (FIRST,))
        connection.commit()
        trail.flush()
        (finding,) = trail.history(Target("note", "9"))
        assert (finding.event.changes or {})["body"][1] == TypedValue("masked")


def test_a_row_that_can_not_be_read_gives_nothing_away(shop: Shop) -> None:
    """What is in the outbox and isn't as it should be: nobody knows what of it had to be sealed."""
    with shop.open() as (trail, _):
        with contextlib.closing(sqlite3.connect(shop.database)) as other:
            other.execute(
                "INSERT INTO indelible_outbox (time, layout, op, o0, n0) VALUES (1, 1, 77, ?, ?)",
                (FIRST, FIRST),
            )
            other.commit()
        trail.flush()
        assert "outbox.unreadable" in [notice.action for notice in trail.notices()]
    assert not [line for line in found_in(shop.directory, (FIRST,)) if "app.db" not in line]


def test_the_application_s_connections_overwrite_what_they_delete(shop: Shop) -> None:
    """Delivered rows of the outbox are deleted by them."""
    with (
        shop.open() as (trail, _),
        contextlib.closing(sqlite3.connect(shop.database)) as connection,
    ):
        connection.execute("PRAGMA secure_delete = OFF")
        WriteContext(connection, trail)
        assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ('subject = "self"\nseal = ["id"]', "column id says which row it is, or whose"),
        ('subject = "customer_id -> customer"\nseal = ["customer_id"]', "column customer_id says"),
        ('subject = "self"\nseal = ["body"]\nmask = ["body"]', "sealed, or masked, or without"),
        ('subject = "self"\nseal = ["bodi"]', "expected columns bodi of the policy"),
    ],
    ids=["key", "subject", "masked", "missing"],
)
def test_what_can_not_be_sealed(tmp_path: Path, rules: str, said: str) -> None:
    before, _, _ = POLICY.partition("[tables.note]")
    with pytest.raises(ConfigurationError, match=said):
        Shop(tmp_path / "shop", policy=f"{before}[tables.note]\n{rules}\n")


def test_values_in_conditions_are_not_kept(shop: Shop) -> None:
    with shop.open() as (trail, connection):
        connection.execute("SELECT level FROM customer WHERE email = ?", (SECOND,)).fetchall()
        trail.flush()
    assert not [line for line in found_in(shop.directory, (SECOND,)) if "app.db" not in line]


def test_what_was_erased_is_never_restored(shop: Shop) -> None:
    shop.forget()
    erase(shop)
    for force in (False, True):
        with shop.open() as (trail, connection):
            plan = trail.plan_reversal(by=ALICE, database=shop.database, force=force)
            text = str(plan)
            assert "it was lawfully erased" in text
            plan.apply()
            trail.flush()
            emails = connection.execute("SELECT email FROM customer WHERE id = 1").fetchall()
            assert emails == []


def test_a_reversal_restores_what_was_sealed(shop: Shop) -> None:
    shop.forget()
    with shop.open() as (trail, connection):
        trail.plan_reversal(by=ALICE, database=shop.database).apply()
        assert connection.execute("SELECT id, email FROM customer").fetchall() == [(1, BEFORE)]


def test_a_reconciliation_compares_what_it_can_open(shop: Shop) -> None:
    """And says nothing of what was erased, or can't be opened here."""
    with sqlite3.connect(shop.database) as connection:
        connection.execute("DROP TRIGGER IF EXISTS x")
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type='trigger'")
        ]
        sql = [
            text
            for (text,) in connection.execute("SELECT sql FROM sqlite_schema WHERE type='trigger'")
        ]
        for name in names:
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE customer SET email = 'unseen@example.org' WHERE id = 2")
        for text in sql:
            connection.execute(text)
    connection.close()

    def differing() -> int:
        with shop.open() as (trail, _):
            *_, summary = trail.reconcile("customer")
            return summary.differences.total  # type: ignore[union-attr]

    assert differing() == 1
    (shop.directory / "trail.db.master.key").rename(shop.directory.parent / "master.key")
    assert differing() == 0


LARGE = 60_000
"""Bytes whose event is cut into parts, as sealed as it would be in clear."""


def test_a_database_put_back_is_still_known(shop: Shop) -> None:
    """Its rows are sealed to other bytes each time, and are the same rows all the same."""
    with shop.open() as (trail, connection):
        connection.execute("INSERT OR REPLACE INTO note VALUES (5, 2, ?)", (os.urandom(LARGE),))
        connection.commit()
        trail.flush()
    kept = shop.database.read_bytes()
    shop.forget()
    shop.database.write_bytes(kept)
    with shop.open() as (trail, _):
        trail.flush()
        (opened,) = trail.events(action="incarnation.opened", system=True)
        # Seven rows were written; the customer's deletion, which the backup hasn't, is the eighth.
        assert (opened.event.details or {})["after"] == "7"
        trail.verify()


def test_a_relay_begun_again_knows_its_database_by_a_large_row(shop: Shop) -> None:
    """Whose event was cut into parts: nothing is taken for restored that wasn't."""
    with shop.open() as (trail, connection):
        connection.execute("INSERT INTO note VALUES (5, 2, ?)", (os.urandom(LARGE),))
        connection.commit()
        trail.flush()
    for _ in range(2):
        with shop.open() as (trail, _connection):
            trail.flush()
            assert [notice.action for notice in trail.notices()] == []


# -- who may ------------------------------------------------------------------------------------


def test_too_few_signatures_do_nothing(shop: Shop) -> None:
    """One of three, one twice, one of a stranger's, or the trail's own key."""
    with shop.open() as (trail, _):
        text = trail.erasures.request("subject.erase", ZARA, reason="r")
        for names in (("one",), ("two", "two")):
            with pytest.raises(ErasureError, match="expected 2 of 3 authorisers to have signed, 1"):
                trail.erasures.erase(ZARA, shop.sign(text, *names))
        with pytest.raises(ErasureError, match="0 did"):
            own = load_signing_key(shop.directory / "trail.db.keys" / "trail.key")
            from indelible.tlog import format_note, sign_note
            from indelible.tlog.note import Note

            trail.erasures.erase(ZARA, format_note(Note(text, (sign_note(text, own),))))
        assert trail.verify().acts.erased == 0
        assert SECOND in values_of(trail)


def test_the_trail_s_own_key_authorises_nothing(shop: Shop) -> None:
    own = load_keys(shop.directory / "trail.db.keys").verifier_key
    text = shop.config.read_text().replace("keys = [", f'keys = ["{own}", ')
    shop.config.write_text(text)
    with pytest.raises(ConfigurationError, match="no key of the trail's own"):
        Trail.open(shop.config)


def test_an_authorisation_is_for_one_subject_act_and_trail(shop: Shop) -> None:
    with shop.open() as (trail, _):
        note = shop.authorise(trail, "subject.erase", YAN)
        with pytest.raises(ErasureError, match="another subject"):
            trail.erasures.erase(ZARA, note)
        with pytest.raises(ErasureError, match=r"expected an authorisation of hold\.add"):
            trail.erasures.add_hold(YAN, note)
        text = trail.erasures.request("subject.erase", ZARA, reason="r")
        elsewhere = shop.sign(text.replace("localhost/shop", "localhost/other"), "one", "two")
        with pytest.raises(ErasureError, match="for the trail localhost/shop"):
            trail.erasures.erase(ZARA, elsewhere)
        changed = shop.sign(text, "one", "two").replace(b"\nr\n", b"\ns\n")
        with pytest.raises(VerificationError):
            trail.erasures.erase(ZARA, changed)


def test_a_hold_stops_erasure_until_it_is_released(shop: Shop) -> None:
    shop.forget()
    with shop.open() as (trail, _):
        erasures = trail.erasures
        erasing = shop.authorise(trail, "subject.erase")
        hold = shop.authorise(trail, "hold.add")
        erasures.add_hold(ZARA, hold)
        (held,) = erasures.holds()
        assert held.subject == ZARA
        with pytest.raises(ErasureError, match=f"customer:1 is held by entry {held.index}"):
            erasures.erase(ZARA, erasing)
        size = trail.reader.size
        erasures.add_hold(ZARA, hold)
        assert trail.reader.size == size and erasures.holds() == (held,)
        assert SECOND in values_of(trail)
        release = shop.authorise(trail, "hold.release")
        erasures.release_hold(ZARA, release)
        size = trail.reader.size
        erasures.release_hold(ZARA, release)
        assert trail.reader.size == size
        with pytest.raises(ErasureError, match=f"entry {held.index} has used"):
            erasures.add_hold(ZARA, hold)
        assert erasures.holds() == ()
        erasures.erase(ZARA, erasing)
        acts = trail.verify().acts
        assert (acts.erased, acts.holds) == (1, 0)


def test_who_asks_with_a_used_number_is_not_told_that_it_was_done(shop: Shop) -> None:
    """Who asks chooses the text, its number too: with that of another's act nothing is done, and
    that is an error."""
    shop.forget()
    with shop.open() as (trail, _):
        erasures = trail.erasures

        def copied(kind: ActKind, used: bytes) -> bytes:
            text = erasures.request(kind, ZARA, reason="r")
            own = read_act(shop.sign(text, "one")).nonce
            return shop.sign(text.replace(own, read_act(used).nonce), "one", "three")

        hold = shop.authorise(trail, "hold.add", YAN)
        erasures.add_hold(YAN, hold)
        with pytest.raises(ErasureError, match=r"came one that entry \d+ has used"):
            erasures.add_hold(ZARA, copied("hold.add", hold))
        erasures.add_hold(ZARA, shop.authorise(trail, "hold.add"))
        with pytest.raises(ErasureError, match=r"came one that entry \d+ has used"):
            erasures.release_hold(ZARA, copied("hold.release", hold))
        assert [hold.subject for hold in erasures.holds()] == [YAN, ZARA]
        for subject in (YAN, ZARA):
            erasures.release_hold(subject, shop.authorise(trail, "hold.release", subject))
        erasing = shop.authorise(trail, "subject.erase", YAN)
        erasures.erase(YAN, erasing)
        with pytest.raises(ErasureError, match=r"came one that entry \d+ has used"):
            erasures.erase(ZARA, copied("subject.erase", erasing))
        assert SECOND in values_of(trail)
        acts = trail.verify().acts
        assert (acts.erased, acts.holds) == (1, 0)


def test_a_forged_release_lifts_no_hold(shop: Shop) -> None:
    """Who can write entries can't have something erased that is held."""
    with shop.open() as (trail, _):
        trail.erasures.add_hold(ZARA, shop.authorise(trail, "hold.add"))
        text = trail.erasures.request("hold.release", ZARA, reason="r")
        forged = shop.sign(text, "one")
        wanted = read_act(forged)
        act(trail, HOLD_RELEASED, token=wanted.token, nonce=wanted.nonce, note=pack_note(forged))
        with pytest.raises(ErasureError, match="is held by entry"):
            trail.erasures.erase(ZARA, shop.authorise(trail, "subject.erase"))
        with pytest.raises(UnauthorisedActError, match="1 did"):
            trail.verify()


def test_an_authorisation_is_used_once(shop: Shop) -> None:
    """The same again says that it was done, and does nothing."""
    shop.forget()
    with shop.open() as (trail, _):
        note = shop.authorise(trail, "subject.erase")
        assert trail.erasures.erase(ZARA, note) == trail.erasures.erase(ZARA, note) == 1
        assert trail.verify().acts.erased == 1


# -- interrupted, and attacked ------------------------------------------------------------------


class Stopped(Exception):
    pass


@pytest.mark.parametrize("step", ["said", "destroyed"])
def test_an_erasure_that_is_interrupted_goes_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Behind the authorisation's entry, and behind the key's end. Before: nothing was done."""
    shop.forget()

    def stop(*args: object, **options: object) -> int:
        if step == "destroyed":
            real(*args, **options)  # type: ignore[arg-type]
        raise Stopped

    real = Keystore.erase
    with shop.open() as (trail, _):
        note = shop.authorise(trail, "subject.erase")
        with monkeypatch.context() as patched:
            patched.setattr(Keystore, "erase", stop)
            with pytest.raises(Stopped):
                trail.erasures.erase(ZARA, note)
        assert trail.verify().acts.pending == 1
    with shop.open() as (trail, _):
        assert trail.erasures.erase(ZARA, note) == 1
        acts = trail.verify().acts
        assert (acts.erased, acts.pending) == (1, 0)
    assert found_in(shop.directory, FORBIDDEN) == []


def test_who_reads_the_database_keeps_it_from_being_cleared(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is said, and the same again goes on: the write-ahead log had the values still."""
    with contextlib.closing(sqlite3.connect(shop.database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    monkeypatch.setattr(sqlite_clearing, "_BUSY_S", 0.2)
    shop.forget()
    with shop.open() as (trail, _):
        note = shop.authorise(trail, "subject.erase")
        with contextlib.closing(sqlite3.connect(shop.database)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM product").fetchall()
            with pytest.raises(DeliveryError, match="expected nobody to read"):
                trail.erasures.erase(ZARA, note)
        trail.erasures.erase(ZARA, note)
        assert found_in(shop.directory, FORBIDDEN) == []
        assert trail.verify().acts.erased == 1


def test_a_row_of_another_time_is_not_taken_for_ours(shop: Shop) -> None:
    """Rows are deleted only if the trail has the very row behind them."""
    with shop.open() as (trail, _):
        with contextlib.closing(sqlite3.connect(shop.database)) as other:
            incarnation = WriteContext(other, trail).incarnation
        with pytest.raises(DeliveryError, match="there is another"):
            trail._await_row(incarnation, 1, "0" * 32)


def act(trail: Trail, action: str, **details: Value) -> None:
    trail.journal.append(encode_draft(Event(action=action, kind="system", details=details)))
    trail.flush()


def forge_erased(shop: Shop, trail: Trail, token: str) -> None:
    act(trail, ERASED_ACTION, token=token, nonce="0" * 32)


def one_signature(shop: Shop, trail: Trail, token: str) -> None:
    note = shop.sign(trail.erasures.request("subject.erase", ZARA, reason="r"), "one")
    act(trail, AUTHORISED, token=token, nonce=read_act(note).nonce, note=pack_note(note))


def another_s(shop: Shop, trail: Trail, token: str) -> None:
    note = shop.authorise(trail, "subject.erase", YAN)
    act(trail, AUTHORISED, token=token, nonce=read_act(note).nonce, note=pack_note(note))


def used_twice(shop: Shop, trail: Trail, token: str) -> None:
    note = shop.authorise(trail, "subject.erase")
    for _ in range(2):
        act(trail, AUTHORISED, token=token, nonce=read_act(note).nonce, note=pack_note(note))


def no_hold(shop: Shop, trail: Trail, token: str) -> None:
    trail.erasures.add_hold(ZARA, shop.authorise(trail, "hold.add"))
    note = shop.authorise(trail, "hold.release")
    for nonce in (read_act(note).nonce, "1" * 32):
        act(trail, HOLD_RELEASED, token=token, nonce=nonce, note=pack_note(note))


def key_gone(shop: Shop, trail: Trail, token: str) -> None:
    keystore_of(shop).erase(token, nonce="0" * 32, time="t")


def key_left(shop: Shop, trail: Trail, token: str) -> None:
    """Who keeps a copy of the keystore and puts it back."""
    files = [shop.directory / "trail.db.keystore", shop.directory / "trail.db.master.key"]
    kept = [file.read_bytes() for file in files]
    trail.erasures.erase(ZARA, shop.authorise(trail, "subject.erase"))
    for file, raw in zip(files, kept, strict=True):
        file.write_bytes(raw)


ATTACKS: dict[Callable[[Shop, Trail, str], None], str] = {
    forge_erased: "no authorisation of its own stands before it",
    one_signature: "expected 2 of 3 authorisers to have signed, 1 did",
    another_s: "another act, or another subject's",
    used_twice: "its authorisation was used before",
    no_hold: "another act, or another subject's",
    key_gone: "1 subjects have sealed values and no key in the keystore",
    key_left: "the keystore still has the key",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_verify_finds_an_act_that_nobody_authorised(
    shop: Shop, attack: Callable[[Shop, Trail, str], None]
) -> None:
    with shop.open() as (trail, _):
        token = keystore_of(shop).token_of(ZARA)
        assert token is not None
        attack(shop, trail, token)
        with pytest.raises(UnauthorisedActError, match=ATTACKS[attack]):
            trail.verify()


def test_text_that_looks_sealed_is_only_text(shop: Shop) -> None:
    """A user's text can't make `verify` miss a key."""
    text = '{"t":"sealed","v":"AAAA","s":"' + "0" * 32 + '"}'
    with shop.open() as (trail, connection):
        connection.execute("INSERT INTO product VALUES (7, ?)", (text,))
        connection.execute("INSERT INTO product VALUES (8, ?)", (text * 2_000,))
        connection.commit()
        trail.flush()
        trail.verify()


# -- whatever was done before -------------------------------------------------------------------

Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["email", "note", "move", "drop", "read", "backup", "other"]),
        st.integers(1, 2),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=10,
)


def secret(owner: int, number: int) -> str:
    return f"secret-of-{owner}-number-{number}@example.org"


def take(shop: Shop, connection: sqlite3.Connection, step: Step, at: int) -> None:
    what, owner, number = step
    value = secret(owner, number)
    one = {
        "email": "INSERT OR REPLACE INTO customer VALUES (:owner, :value, 'l')",
        "note": "INSERT OR REPLACE INTO note VALUES (:number, :owner, :value)",
        "move": "UPDATE note SET customer_id = :owner, body = :value WHERE id = :number",
        "drop": "DELETE FROM note WHERE id = :number",
        "read": "SELECT * FROM note WHERE body = :value AND id > :number",
        "other": "INSERT INTO product (title) VALUES ('p')",
    }
    if what == "backup":
        backup(shop, f"backup-{at}")
        return
    connection.execute(one[what], {"owner": owner, "number": number, "value": value}).fetchall()
    connection.commit()


def erased_whatever_came_before(directory: Path, steps: list[Step]) -> None:
    shop = Shop(directory / "shop")
    with shop.open() as (trail, connection):
        for at, step in enumerate(steps):
            take(shop, connection, step, at)
        trail.flush()
        before = {index: trail.reader.head(index) for index in range(trail.reader.size)}
        connection.execute("DELETE FROM note WHERE customer_id = 1")
        connection.execute("DELETE FROM customer WHERE id = 1")
        connection.commit()
        trail.flush()
        trail.erasures.erase(ZARA, shop.authorise(trail, "subject.erase"))
        assert {index: trail.reader.head(index) for index in before} == before
        assert trail.verify().acts.erased == 1
        for kind, ids in (("customer", (1, 2)), ("note", range(4))):
            for row_id in ids:
                for finding in trail.history(Target(kind, (row_id,))):
                    assert secret(1, 0)[:12] not in str(finding.event.changes)
    forbidden = (BEFORE, *(secret(1, number) for number in range(4)))
    assert found_in(directory, forbidden) == []


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_nothing_is_left(tmp_path_factory: pytest.TempPathFactory, steps: list[Step]) -> None:
    erased_whatever_came_before(tmp_path_factory.mktemp("shop"), steps)


@pytest.mark.long
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_nothing_is_left_long(tmp_path_factory: pytest.TempPathFactory, steps: list[Step]) -> None:
    erased_whatever_came_before(tmp_path_factory.mktemp("shop"), steps)
