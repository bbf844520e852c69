"""An export that opens what was sealed: in the trail before it is anywhere, and still a proof."""

from __future__ import annotations

import base64
import io
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible import Trail
from indelible.errors import VerificationError
from indelible.integrity.evidence import EvidenceReader, Included
from indelible.store.keystore import Keystore

from .searching import found_in
from .site import BEFORE, FIRST, SECOND, YANS, ZARA, Shop
from .test_commands import run

ZARAS = (BEFORE, FIRST, SECOND)
OPEN = ("--open", "--recipient", "Dr. Okafor, external counsel")
ASK = ("export", "changes", "--by", "staff:alice", "--to", "evidence")
Lines = list[dict[str, object]]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "shop")
    made.work()
    return made


def entries_of(shop: Shop, action: str) -> list[dict[str, object]]:
    with Trail.open(shop.config, relay=False) as trail:
        found = trail.events(action=action, system=True)
        return [dict(one.event.details or {}, reason=one.event.reason) for one in found]


def key_of(shop: Shop) -> str:
    return (shop.directory / "trail.db.keys" / "trail.pub").read_text().strip()


def lines_of(shop: Shop, file: str = "evidence") -> Lines:
    return [json.loads(line) for line in (shop.directory / file).read_text().splitlines()]


def openings_in(lines: Lines) -> list[dict[str, object]]:
    return [each for line in lines for each in line.get("opened", ())]  # type: ignore[attr-defined]


def test_values_stand_beside_what_was_committed_to(shop: Shop) -> None:
    """The bodies are those of the sealed export, byte for byte; each value opens by its own key."""
    run(shop, *ASK[:-1], "sealed")
    said = run(shop, *ASK, *OPEN, "--reason", "case 12/26")
    assert "opened for Dr. Okafor, external counsel: 8 values of 2 subjects in 5 events" in said
    sealed, opened = lines_of(shop, "sealed")[1:-1], lines_of(shop)[1:-1]
    assert [line["body"] for line in sealed] == [line["body"] for line in opened]
    assert [line["head"] for line in sealed] == [line["head"] for line in opened]
    assert not openings_in(sealed)
    values = {str(each["value"]) for each in openings_in(opened)}
    assert {BEFORE, FIRST, SECOND, YANS} <= values
    said = run(shop, "verify", "evidence", "--key", key_of(shop))
    assert "opened: 8 values" in said and "Dr. Okafor" in said
    assert "(sealed)" not in said
    said = run(shop, "verify", "evidence", "--json")
    assert json.loads(said.splitlines()[-1])["recipient"] == "Dr. Okafor, external counsel"
    assert sum(len(json.loads(line).get("opened", ())) for line in said.splitlines()) == 8
    assert (shop.directory / "evidence").stat().st_mode & 0o077 == 0


def test_it_is_an_entry_that_says_for_whom_what_and_how_much(shop: Shop) -> None:
    run(shop, *ASK, "--since", "2020-01-01", *OPEN, "--reason", "case 12/26")
    (entry,) = entries_of(shop, "export.opened")
    question = str(entry.pop("question"))
    assert question.startswith("changes --by staff:alice --since 2020-01-01T00:00:00")
    assert entry == {
        "recipient": "Dr. Okafor, external counsel",
        "reason": "case 12/26",
        "entries": 6,
        "events": 5,
        "values": 8,
        "subjects": 2,
        "erased": 0,
        "sealed": 0,
        "named": 0,
    }
    assert "--recipient" in str(entries_of(shop, "trail.asked")[0]["question"])
    run(shop, "status")
    run(shop, "verify")


def test_what_was_erased_says_so(shop: Shop) -> None:
    shop.forget()
    with shop.open() as (trail, _):
        trail.erasures.erase(ZARA, shop.authorise(trail, "subject.erase"))
    said = run(shop, *ASK, *OPEN)
    assert "opened for" in said and "of 1 subjects" in said
    assert found_in(shop.directory, ZARAS) == []
    gone = [each for each in openings_in(lines_of(shop)) if "key" not in each]
    assert gone and all(each["value"] == {"t": "erased"} for each in gone)
    said = run(shop, "verify", "evidence")
    assert "(erased)" in said and f"{len(gone)} are erased" in said and YANS in said


def test_a_value_that_a_cut_event_is_too_large_for(shop: Shop) -> None:
    """It stands in several entries: its key opens all of it."""
    large = b"\x01large " * 30_000
    with shop.open() as (trail, connection):
        connection.execute("INSERT INTO note VALUES (2, 2, ?)", (large,))
        connection.commit()
        trail.flush()
    run(shop, "export", "history", "note:2", "--to", "evidence", *OPEN)
    assert len(lines_of(shop)) > 5
    (opening,) = openings_in(lines_of(shop))
    assert "value" not in opening and opening["key"]
    with (shop.directory / "evidence").open("rb") as file:
        (opened,) = [each for one in EvidenceReader(file) for each in one.opened]
    assert opened.column == "body" and len(str(opened.opened_value)) > len(large)
    assert "opened: 1 values" in run(shop, "verify", "evidence")


def test_while_the_application_relays(shop: Shop) -> None:
    """Whoever carries it: it is in the trail before there is a file."""
    with shop.open() as (trail, connection):
        assert trail.is_relaying
        connection.execute("UPDATE customer SET level = 'tin' WHERE id = 1")
        connection.commit()
        run(shop, *ASK, *OPEN)
        assert len(list(trail.events(action="export.opened", system=True))) == 1
    run(shop, "verify")


# -- nothing is given away unsaid -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--open",), "expected --recipient NAME with --open"),
        (("--recipient", "X"), "expected --recipient NAME with --open"),
        (("--reason", "X"), "expected --reason only with --open"),
        (("--open", "--recipient", "  "), "expected one line of at most 200 characters"),
        (("--open", "--recipient", "a\nb"), "expected one line of at most 200 characters"),
        (("--open", "--recipient", "a\u202eb"), "expected one line of at most 200 characters"),
        (("--open", "--recipient", "x" * 201), "expected one line of at most 200 characters"),
    ],
    ids=["no recipient", "not opened", "a reason alone", "blank", "lines", "turned", "long"],
)
def test_what_is_typed_wrongly(shop: Shop, options: tuple[str, ...], said: str) -> None:
    assert said in run(shop, *ASK, *options, code=2)
    assert not (shop.directory / "evidence").exists()
    assert entries_of(shop, "export.opened") == []


def a_locked_trail(shop: Shop) -> Callable[[], object]:
    """What is said waits in a journal, and nobody can carry it to the trail."""
    connection = sqlite3.connect(shop.directory / "trail.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection.close


def no_journals(shop: Shop) -> Callable[[], object]:
    journals = shop.directory / "trail.db.journals"
    journals.rename(shop.directory / "elsewhere")
    journals.write_text("a file is in the way")
    return journals.unlink


@pytest.mark.parametrize(
    ("obstacle", "code"),
    [(no_journals, 2), pytest.param(a_locked_trail, 4, marks=pytest.mark.long)],
    ids=["no journals", "a locked trail"],
)
def test_where_it_can_not_be_said_nothing_is_exported(
    shop: Shop, obstacle: Callable[[Shop], Callable[[], object]], code: int
) -> None:
    undo = obstacle(shop)
    try:
        run(shop, *ASK, *OPEN, code=code)
        assert not list(shop.directory.glob("evidence*"))
    finally:
        undo()


def test_it_is_in_the_trail_before_there_is_a_file(shop: Shop) -> None:
    """Where the file can't be written, the trail has the entry all the same."""
    run(shop, *ASK[:-1], "no/folder/evidence", *OPEN, code=4)
    assert len(entries_of(shop, "export.opened")) == 1


def test_without_the_master_key_nothing_is_exported(shop: Shop) -> None:
    (shop.directory / "trail.db.master.key").rename(shop.directory.parent / "master.key")
    assert "expected a master key at" in run(shop, *ASK, *OPEN, code=2)
    assert not list(shop.directory.glob("evidence*"))
    run(shop, *ASK)


# -- the attacks on the file ----------------------------------------------------------------------


def an_opening(lines: Lines) -> dict[str, object]:
    return next(each for each in openings_in(lines) if each["value"] == FIRST)


def another_value(lines: Lines) -> None:
    an_opening(lines)["value"] = "somebody.else@example.org"


def another_key(lines: Lines) -> None:
    other = next(each for each in openings_in(lines) if each["value"] == YANS)
    an_opening(lines)["key"] = other["key"]


def no_key(lines: Lines) -> None:
    del an_opening(lines)["key"]


def another_kind(lines: Lines) -> None:
    an_opening(lines)["kind"] = "note"


def another_column(lines: Lines) -> None:
    an_opening(lines)["column"] = "level"


def another_side(lines: Lines) -> None:
    opening = an_opening(lines)
    opening["at"] = 1 - int(str(opening["at"]))


def another_subject(lines: Lines) -> None:
    an_opening(lines)["token"] = "0" * 32


def twice(lines: Lines) -> None:
    line = next(line for line in lines if line.get("opened"))
    line["opened"] = [*line["opened"], line["opened"][0]]  # type: ignore[misc, index]


def moved(lines: Lines) -> None:
    with_some = [line for line in lines if line.get("opened")]
    with_some[0]["opened"], with_some[1]["opened"] = with_some[1]["opened"], with_some[0]["opened"]


@pytest.mark.parametrize(
    "edit",
    [
        another_value,
        another_key,
        no_key,
        another_kind,
        another_column,
        another_side,
        another_subject,
        twice,
        moved,
    ],
    ids=lambda edit: edit.__name__,
)
def test_an_opened_value_that_was_not_sealed_is_found(
    shop: Shop, edit: Callable[[Lines], None]
) -> None:
    """Whoever hands the file on can't put other words into what was captured."""
    run(shop, *ASK, *OPEN)
    lines = lines_of(shop)
    edit(lines)
    raw = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
    with pytest.raises(VerificationError, match="the file was edited"):
        list(EvidenceReader(io.BytesIO(raw)))


@pytest.fixture(scope="module")
def opened_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    made = Shop(tmp_path_factory.mktemp("opened") / "shop")
    made.work()
    run(made, *ASK, *OPEN)
    return (made.directory / "evidence").read_bytes()


def read(raw: bytes) -> list[Included]:
    return list(EvidenceReader(io.BytesIO(raw)))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_no_byte_that_is_changed_gives_another_value(
    opened_file: bytes, data: st.DataObject
) -> None:
    """Anywhere in the file: it is found, or what is read is what was sealed."""
    start = opened_file.index(b'"opened":')
    at = data.draw(st.integers(start, len(opened_file) - 1))
    byte = data.draw(st.integers(0, 255))
    changed = opened_file[:at] + bytes([byte]) + opened_file[at + 1 :]
    try:
        found = read(changed)
    except VerificationError:
        return
    assert found == read(opened_file)


def test_a_key_in_the_file_opens_its_own_value_alone(shop: Shop) -> None:
    """No subject's own key is in the file; that of a box opens no other of the same subject."""
    run(shop, *ASK, *OPEN)
    keystore = Keystore(
        shop.directory / "trail.db.keystore", shop.directory / "trail.db.master.key"
    )
    text = (shop.directory / "evidence").read_text()
    for token in keystore.tokens():
        private = keystore.private_key(token)
        assert private is not None
        raw = private.private_bytes_raw()
        assert raw.hex() not in text and base64.b64encode(raw).decode() not in text
    keys = [str(each["key"]) for each in openings_in(lines_of(shop))]
    assert len(set(keys)) == len(keys)


def test_with_other_peoples_tools(shop: Shop) -> None:
    """As docs/reference/evidence.md says: a few lines open each value, and find one that isn't."""
    run(shop, *ASK, *OPEN)
    page = (Path(__file__).parents[2] / "docs" / "reference" / "evidence.md").read_text()
    check, opened = re.findall(r"```python\n(.*?)```", page, re.S)
    (shop.directory / "check.py").write_text(check + opened)
    call = [sys.executable, "-I", "check.py", "evidence", key_of(shop)]
    done = subprocess.run(call, cwd=shop.directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("@example.org") == 5
    lines = lines_of(shop)
    another_value(lines)
    edited = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    (shop.directory / "evidence").write_text(edited)
    done = subprocess.run(call, cwd=shop.directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "AssertionError" in done.stderr
