"""The lake as a table of Iceberg's, in the catalogue that pyiceberg is configured for.

The table lists the lake's files where they are and copies none. Of what is in them its metadata has
counts, and the bounds of `index` and `received`: no value that is erased or dropped later.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from indelible.errors import ConfigurationError, StoreBusyError
from indelible.store.errors import SegmentUnreachableError

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

_PROPERTIES: Final = {
    "write.metadata.metrics.default": "counts",
    "write.metadata.metrics.column.index": "full",
    "write.metadata.metrics.column.received": "full",
    # A run writes the table's description anew: what it was before the last ones nobody needs.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
}


def check_iceberg() -> None:
    """Raises `ConfigurationError` without pyiceberg."""
    try:
        import pyiceberg.catalog  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "expected pyiceberg for [tiers] iceberg: pip install 'indelible[iceberg]'"
        ) from None


def list_in_iceberg(folder: Path, name: str) -> None:
    """Bring the table `name` (catalogue.namespace.table) to the files that the lake `folder` has.

    It is made where there is none, partitioned by the month of receipt. Files are told apart by
    path, length and rows, as what retention writes anew has the path of what it was made from.
    Raises `StoreBusyError` where another changes its files meanwhile, and
    `SegmentUnreachableError`.
    """
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    catalogue, _, table = name.partition(".")
    try:
        _bring(load_catalog(catalogue), table, folder.absolute())
    except (CommitFailedException, ValidationException):
        raise StoreBusyError(f"expected nobody to be changing {name}, somebody is") from None
    except Exception as error:  # noqa: BLE001  each catalogue has errors of its own
        # Without their text: an address of a catalogue may have a password in it.
        raise SegmentUnreachableError(
            f"can't list {folder} as {name} of Iceberg: {type(error).__name__}; what is sealed and "
            f"copied stays so, and the next run lists it. Can `pyiceberg --catalog {catalogue} "
            "list` reach it?"
        ) from None


def _bring(catalogue: Catalog, name: str, folder: Path) -> None:
    import pyarrow.parquet as parquet
    from pyiceberg.transforms import MonthTransform

    there = {}
    for path in folder.glob("month=*/*.parquet"):
        rows = parquet.read_metadata(path).num_rows
        there[f"file://{path}", path.stat().st_size, rows] = path
    listed = {}
    if catalogue.table_exists(name):
        table = catalogue.load_table(name)
        for planned in table.scan().plan_files():
            file = planned.file
            listed[file.file_path, file.file_size_in_bytes, file.record_count] = file
        if listed.keys() == there.keys():
            return
        changing = table.transaction()
    elif there:
        catalogue.create_namespace_if_not_exists(name.rpartition(".")[0])
        schema = parquet.read_schema(next(iter(there.values())))
        changing = catalogue.create_table_transaction(name, schema, properties=_PROPERTIES)
        with changing.update_spec() as partitions:
            partitions.add_field("received", MonthTransform(), "month")
    else:
        return
    with changing:
        if gone := [file for key, file in listed.items() if key not in there]:
            with changing.update_snapshot().overwrite() as snapshot:
                for file in gone:
                    snapshot.delete_data_file(file)
        if new := sorted(uri for uri, *rest in there.keys() - listed.keys()):
            changing.add_files(new, check_duplicate_files=False)
