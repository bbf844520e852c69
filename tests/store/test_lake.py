"""The lake gives the four answers by the queries of the documentation, in DuckDB and in Spark."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from indelible.errors import StoreBusyError, StoreFullError
from indelible.events.codec import decode_event, format_time
from indelible.questions.reading import is_repeated
from indelible.store import lake as lake_module
from indelible.store.lake import lake_size, write_lake
from tests.questions.trails import EPOCH, Maker
from tests.store.lakes import check, made_over_months, queries


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    with made_over_months(tmp_path_factory.mktemp("lake") / "trail.db") as made:
        yield made


@pytest.fixture
def lake(maker: Maker, tmp_path: Path) -> Path:
    list(write_lake(maker.store, maker.store.segments(), tmp_path / "lake"))
    return tmp_path / "lake"


def test_duckdb_gives_the_four_answers(maker: Maker, lake: Path) -> None:
    """With the queries as they stand in the documentation."""
    view, four = queries()
    with duckdb.connect() as connection:
        connection.execute(view.replace("'lake/", f"'{lake}/"))
        check([connection.execute(query).fetchall() for query in four], maker)
        months = connection.execute("SELECT DISTINCT month FROM entry ORDER BY 1").fetchall()
        assert [month for (month,) in months] == [
            "2022-01",
            "2022-02",
            "2022-03",
            "2022-04",
            "2022-05",
        ]
        count, cut = connection.execute("SELECT count(*), sum(cut::int) FROM entry").fetchone()
        sealed = maker.store.entries(0, maker.store.segments()[-1].last)
        repeated = [is_repeated(decode_event(entry.body)) for entry in sealed]
        assert count == repeated.count(False) < len(repeated)
        assert cut == 1


@pytest.mark.long
@pytest.mark.timeout(900)
def test_spark_gives_the_four_answers(maker: Maker, lake: Path) -> None:
    """With the same queries, and the two words that the documentation tells to replace."""
    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "1g")
        .getOrCreate()
    )
    try:
        spark.read.parquet(str(lake)).createOrReplaceTempView("entry")
        answers = []
        for query in queries()[1]:
            text = query.replace("unnest(", "explode(").replace("TIMESTAMPTZ", "TIMESTAMP")
            answers.append([tuple(row) for row in spark.sql(text.rstrip().rstrip(";")).collect()])
        check(answers, maker)
    finally:
        spark.stop()


def test_filling_it_again_writes_nothing(maker: Maker, lake: Path) -> None:
    """What is there stays as it is, byte for byte."""
    before = {path: path.stat().st_mtime_ns for path in lake.rglob("*.parquet")}
    assert list(write_lake(maker.store, maker.store.segments(), lake)) == []
    assert {path: path.stat().st_mtime_ns for path in lake.rglob("*.parquet")} == before
    assert lake_size(lake) == (len(before), sum(path.stat().st_size for path in before))


def test_one_that_was_stopped_goes_on(
    maker: Maker, lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at any file, the next run writes the rest, and the same bytes."""
    whole = {path.relative_to(lake): path.read_bytes() for path in lake.rglob("*.parquet")}
    other = tmp_path / "other"
    segments = maker.store.segments()
    for _ in range(len(whole) + 1):
        with contextlib.closing(write_lake(maker.store, segments, other)) as writing:
            next(writing, None)
    assert {
        path.relative_to(other): path.read_bytes() for path in other.rglob("*.parquet")
    } == whole

    def full(table: object, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lake_module, "_write_table", full)
    with pytest.raises(StoreFullError, match="make room"):
        list(write_lake(maker.store, segments, tmp_path / "third"))
    left = [path for path in (tmp_path / "third").rglob("*") if path.is_file()]
    assert left == [tmp_path / "third" / ".filling"]


def test_two_runs_do_not_write_over_each_other(maker: Maker, tmp_path: Path) -> None:
    """One at a time, whichever process; what it hasn't written the next one does."""
    segments, folder = maker.store.segments(), tmp_path / "lake"
    with contextlib.closing(write_lake(maker.store, segments, folder)) as writing:
        first = next(writing)
        with pytest.raises(StoreBusyError, match=f"expected nobody to be filling {folder}"):
            list(write_lake(maker.store, segments, folder))
    rest = list(write_lake(maker.store, segments, folder))
    assert rest and first.path not in [each.path for each in rest]


def test_months_are_those_of_receipt(maker: Maker, lake: Path) -> None:
    """Each file has the entries of one month, and all files have all of them."""
    ranges = []
    for path in sorted(lake.rglob("*.parquet"), key=lambda path: path.name):
        first, last = map(int, path.stem.split("-"))
        ranges.append((first, last))
        months = {entry.received[:7] for entry in maker.store.entries(first, last)}
        assert {path.parent.name} == {f"month={month}" for month in months}
    ends = [-1, *(last for _, last in ranges)]
    assert [first for first, _ in ranges] == [last + 1 for last in ends[:-1]]
    assert format_time(EPOCH)[:7] == "2022-01"
