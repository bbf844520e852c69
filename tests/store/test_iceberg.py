"""The lake in a catalogue of Iceberg's: the same answers, and the files that there are now."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet
import pyiceberg.catalog
import pytest
from pyiceberg.table import Table, Transaction
from pyiceberg.utils.config import Config

from indelible.errors import ConfigurationError, StoreBusyError
from indelible.store.blocks import BLOCK_ENTRIES
from indelible.store.errors import SegmentUnreachableError
from indelible.store.iceberg import list_in_iceberg
from indelible.store.lake import drop_from_lake, write_lake
from tests.questions.trails import Maker
from tests.store.lakes import check, made_over_months, queries

NAME = "shop.audit.entry"
ORIGIN = "example.com/trail"


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    with made_over_months(tmp_path_factory.mktemp("lake") / "trail.db") as made:
        yield made


@pytest.fixture
def lake(maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake that is listed in a catalogue in SQLite; its name isn't an easy one."""
    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__URI", f"sqlite:///{tmp_path}/catalogue.db")
    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__WAREHOUSE", f"file://{tmp_path}/warehouse")
    # It reads its configuration while it is imported.
    monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())
    lake = tmp_path / "a läke, 100%"
    list(write_lake(maker.store, maker.store.segments(), lake, NAME))
    return lake


def table() -> Table:
    return pyiceberg.catalog.load_catalog("shop").load_table("audit.entry")


def rows_of(lake: Path) -> int:
    return sum(
        pyarrow.parquet.read_metadata(path).num_rows for path in lake.glob("month=*/*.parquet")
    )


def test_it_gives_the_four_answers(maker: Maker, lake: Path) -> None:
    """By the queries of the documentation; only the months that a question is about are opened."""
    _, four = queries()
    with table().scan().to_duckdb("entry") as connection:
        check([connection.execute(query).fetchall() for query in four], maker)
    months = [path.parent.name for path in lake.rglob("*.parquet")]
    within = "received >= '2022-02-01T00:00:00+00:00' AND received < '2022-03-01T00:00:00+00:00'"
    planned = [each.file.file_path for each in table().scan(within).plan_files()]
    assert [Path(path).parent.name for path in planned] == ["month=2022-02"] * len(planned)
    assert 0 < len(planned) == months.count("month=2022-02") < len(months)


def test_a_run_without_news_changes_nothing(maker: Maker, lake: Path) -> None:
    """Nor does it write a new description of the table."""
    before = table()
    list(write_lake(maker.store, maker.store.segments(), lake, NAME))
    assert table().metadata_location == before.metadata_location
    assert len(table().snapshots()) == 1


def test_it_follows_what_is_dropped_and_made_anew(maker: Maker, lake: Path) -> None:
    """Also under the path that a file had before."""
    whole = rows_of(lake)
    drop_from_lake(lake, [0, 5 * 65_536 // BLOCK_ENTRIES])
    left = rows_of(lake)
    list_in_iceberg(lake, NAME, ORIGIN)
    assert table().scan().to_arrow().num_rows == left < whole
    list(write_lake(maker.store, maker.store.segments(), lake, NAME))
    assert table().scan().to_arrow().num_rows == whole
    path = next(lake.rglob("*.parquet"))
    less = pyarrow.parquet.read_table(path, partitioning=None).slice(1)
    pyarrow.parquet.write_table(less, path, coerce_timestamps="us")
    list_in_iceberg(lake, NAME, ORIGIN)
    found = table().scan().to_arrow()
    assert found.num_rows == whole - 1
    assert len(set(found["index"].to_pylist())) == whole - 1


def test_a_lake_that_moved_is_listed_where_it_is(lake: Path) -> None:
    whole = rows_of(lake)
    moved = lake.rename(lake.with_name("moved"))
    list_in_iceberg(moved, NAME, ORIGIN)
    assert table().scan().to_arrow().num_rows == whole
    for path in list(moved.rglob("*.parquet")):
        path.unlink()
    list_in_iceberg(moved, NAME, ORIGIN)
    assert table().scan().to_arrow().num_rows == 0


def test_old_descriptions_of_the_table_go(lake: Path, tmp_path: Path) -> None:
    """Each run that has news writes one; ten of them stay beside the newest."""
    path = next(lake.rglob("*.parquet"))
    whole = path.read_bytes()
    for _ in range(8):
        path.unlink()
        list_in_iceberg(lake, NAME, ORIGIN)
        path.write_bytes(whole)
        list_in_iceberg(lake, NAME, ORIGIN)
    assert len(list((tmp_path / "warehouse").rglob("*.metadata.json"))) == 11


def test_its_metadata_has_no_value(lake: Path) -> None:
    """What is dropped from the lake later would stay in it: its bounds are of numbers and times."""
    schema = table().schema()
    bounded = {schema.find_field("index").field_id, schema.find_field("received").field_id}
    planned = list(table().scan().plan_files())
    for each in planned:
        assert set(each.file.lower_bounds) == set(each.file.upper_bounds) == bounded
    assert planned


def test_another_who_changes_the_table_meanwhile(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither change is lost: it is said, and the next run lists what there is."""
    whole = rows_of(lake)
    first = next(iter(table().scan().plan_files())).file
    drop_from_lake(lake, [0])
    commit = Transaction.commit_transaction

    def after_another(transaction: Transaction) -> Table:
        monkeypatch.setattr(Transaction, "commit_transaction", commit)
        with table().transaction() as other, other.update_snapshot().overwrite() as snapshot:
            snapshot.delete_data_file(first)
        return commit(transaction)

    monkeypatch.setattr(Transaction, "commit_transaction", after_another)
    with pytest.raises(StoreBusyError, match=f"expected nobody to be changing {NAME}"):
        list_in_iceberg(lake, NAME, ORIGIN)
    assert table().scan().count() == whole - first.record_count
    list_in_iceberg(lake, NAME, ORIGIN)
    assert table().scan().to_arrow().num_rows == rows_of(lake) < whole


def test_what_can_not_be_reached_is_said_without_secrets(
    maker: Maker, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lake is whole all the same, and a later run lists it."""
    segments, other = maker.store.segments(), lake.with_name("other")
    address = os.environ["PYICEBERG_CATALOG__SHOP__URI"]
    for wrong in (f"sqlite:///{lake}/none/hunter2.db", "http://u:hunter2@127.0.0.1:9/", "hunter2"):
        monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__URI", wrong)
        monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())
        with pytest.raises(SegmentUnreachableError, match=f"as {NAME} of Iceberg: ") as raised:
            list(write_lake(maker.store, segments, other, NAME))
        assert "hunter2" not in str(raised.value) and raised.value.__cause__ is None
        assert rows_of(other) == rows_of(lake)
    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__URI", address)
    monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())
    assert list(write_lake(maker.store, segments, other, NAME)) == []
    with duckdb.connect() as connection:
        entry = table().scan().to_arrow()
        assert entry.num_rows == rows_of(other)
        (count,) = connection.execute("SELECT count(DISTINCT index) FROM entry").fetchone() or ()
    assert count == entry.num_rows


def test_a_table_of_somebody_else_stays_as_it_is(lake: Path) -> None:
    """Neither one that no trail made, nor another trail's, loses its files to ours."""
    schema = pyarrow.schema([("number", pyarrow.int64())])
    other = pyiceberg.catalog.load_catalog("shop").create_table("audit.other", schema)
    said = "expected audit.other in Iceberg to be of the trail {}, it is of no trail"
    with pytest.raises(ConfigurationError, match=said.format(ORIGIN)):
        list_in_iceberg(lake, "shop.audit.other", ORIGIN)
    assert other.refresh().current_snapshot() is None
    before = table()
    with pytest.raises(ConfigurationError, match=f"it is of the trail {ORIGIN}: name another"):
        list_in_iceberg(lake.with_name("theirs"), NAME, "example.com/theirs")
    assert table().metadata_location == before.metadata_location


def test_a_file_of_the_lake_that_is_damaged_is_named(maker: Maker, lake: Path) -> None:
    """It isn't taken for the catalogue's fault, and mended as the error says."""
    whole = rows_of(lake)
    path = max(lake.rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        SegmentUnreachableError, match=f"can't read .*{path.name} of the lake: .*delete it"
    ):
        list_in_iceberg(lake, NAME, ORIGIN)
    path.unlink()
    list(write_lake(maker.store, maker.store.segments(), lake, NAME))
    assert table().scan().count() == rows_of(lake) == whole


def test_without_pyiceberg_nothing_is_begun(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyiceberg.catalog", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'indelible\[iceberg\]'"):
        list(write_lake(maker.store, maker.store.segments(), tmp_path / "lake", NAME))
    assert not (tmp_path / "lake").exists()
