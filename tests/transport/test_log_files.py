"""Log files of another program: read once, in their order, whatever is done to them."""

from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible.capture.statement_log import split_csv
from indelible.transport.log_files import LogFiles, Lost, Place


class Reading:
    """Reads all that there is, keeping how far it is as a relay does."""

    def __init__(self, directory: Path, *, is_quoted: bool = False) -> None:
        self.places: dict[str, Place] = {}
        self.lost: list[Lost] = []
        self.records: list[bytes] = []
        self._files = LogFiles(str(directory / "server*"), lambda begin: is_quoted)

    def go_on(self) -> list[bytes]:
        """What is new."""
        begin = len(self.records)
        while True:
            lost, key = self._files.look(self.places)
            self.lost += lost
            found = None if key is None else self._files.read(self.places[key])
            if found is None or key is None:
                return self.records[begin:]
            self.records += found.records
            self.places[key].offset = found.begin + sum(map(len, found.records))


def append(path: Path, text: str, age_s: int) -> None:
    """Write more; the file was written to last so long ago."""
    with path.open("a", newline="") as file:
        file.write(text)
    moment = 1_700_000_000 - age_s
    os.utime(path, (moment, moment))


def test_a_line_that_is_being_written_waits_for_its_end(tmp_path: Path) -> None:
    """Neither a first line nor a later one is read by halves."""
    reading = Reading(tmp_path)
    log = tmp_path / "server.log"
    for text, records in (("a", []), ("b\nc", [b"ab\n"]), ("d", []), ("\n", [b"cd\n"])):
        append(log, text, 0)
        assert reading.go_on() == records


def test_renamed_and_copied_files_stay_the_same(tmp_path: Path) -> None:
    """What is renamed and then grows, and a copy of what is cut to nothing, is read once."""
    reading = Reading(tmp_path)
    log = tmp_path / "server.log"
    append(log, "a\n", 9)
    assert reading.go_on() == [b"a\n"]
    append(log, "b\n", 8)
    log.rename(tmp_path / "server.log.1")
    append(log, "c\n", 7)
    assert reading.go_on() == [b"b\n", b"c\n"]
    append(log, "d\n", 6)
    (tmp_path / "server.log.2").write_bytes(log.read_bytes())
    os.truncate(log, 0)
    append(log, "e\n", 5)
    assert sorted(reading.go_on()) == [b"d\n", b"e\n"]
    packed = tmp_path / "server.log.3.gz"
    packed.write_bytes(gzip.compress((tmp_path / "server.log.1").read_bytes()))
    (tmp_path / "server.log.1").unlink()
    assert reading.go_on() == []
    assert reading.go_on() == []
    assert reading.lost == []


def test_a_file_that_one_look_misses_is_not_read_again(tmp_path: Path) -> None:
    """A list of files that is read while one is renamed may have neither name."""
    reading = Reading(tmp_path)
    log = tmp_path / "server.log"
    append(log, "a\n", 9)
    assert reading.go_on() == [b"a\n"]
    away = log.rename(tmp_path / "elsewhere")
    assert reading.go_on() == []
    append(away, "b\n", 8)
    away.rename(log)
    assert reading.go_on() == [b"b\n"]
    assert reading.lost == []


def test_what_is_cut_or_gone_too_early_is_told(tmp_path: Path) -> None:
    """A file that is shorter than it was, and the newest one when it goes."""
    reading = Reading(tmp_path)
    log = tmp_path / "server.log"
    append(log, "a\nb\n", 9)
    reading.go_on()
    os.truncate(log, 2)
    assert reading.go_on() == []
    assert reading.lost == [Lost(str(log), 2, "was cut")]
    append(log, "c\n", 8)
    assert reading.go_on() == [b"c\n"]
    log.unlink()
    reading.go_on()
    assert reading.lost[1:] == []
    reading.go_on()
    assert reading.lost[1:] == [Lost(str(log), 4, "is gone")]


def test_a_record_that_is_too_long_is_passed_over_and_nothing_in_it_is_read(
    tmp_path: Path,
) -> None:
    """What looks like a record between the quotes of one of 64 MB and more isn't taken for one."""
    log = tmp_path / "server.csv"
    append(log, 'first\n"' + "made up\n" * (9 << 20) + '"\nlast\n', 0)
    reading = Reading(tmp_path, is_quoted=True)
    assert reading.go_on() == [b"first\n", b"last\n"]


@given(rows=st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2), max_size=5))
def test_fields_are_what_was_written(rows: list[list[str]]) -> None:
    """Line ends, quotes and commas in a field, as any writer of CSV quotes them, end nothing."""
    for row in rows:
        written = io.StringIO()
        csv.writer(written, lineterminator="", quoting=csv.QUOTE_ALL).writerow(row)
        assert split_csv(written.getvalue()) == row


@pytest.mark.parametrize("broken", ['"a', 'a"b', '"a"b,c', '"a""'])
def test_what_is_no_csv_is_refused(broken: str) -> None:
    assert split_csv(broken) is None


@given(rows=st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2), min_size=1))
def test_a_record_ends_where_it_does(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    """However many line ends and quotes its fields have."""
    directory = tmp_path_factory.mktemp("log")
    written = io.StringIO()
    csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    append(directory / "server.csv", written.getvalue(), 0)
    records = Reading(directory, is_quoted=True).go_on()
    assert [split_csv(record.decode()[:-1]) for record in records] == rows
