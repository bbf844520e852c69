"""The lake as a table of Iceberg's, in the catalogue that pyiceberg is configured for.

The table lists the lake's files where they are and copies none. Of what is in them its metadata has
counts, and the bounds of `index` and `received`: no value that is erased or dropped later.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from indelible.errors import ConfigurationError, StoreBusyError
from indelible.store.errors import SegmentUnreachableError

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile

Key = tuple[str, int, int]
"""Of a file: its address, its length in bytes, its rows."""
_TRAIL: Final = "indelible.trail"
"""The property of a table that names the trail that it is of."""
_PROPERTIES: Final = {
    "write.metadata.metrics.default": "counts",
    "write.metadata.metrics.column.index": "full",
    "write.metadata.metrics.column.received": "full",
    # A run writes the table's description anew: what it was before the last ones nobody needs.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
}


def check_iceberg() -> None:
    """Raises `ConfigurationError` without pyiceberg, or where its configuration can't be read."""
    try:
        importlib.import_module("pyiceberg.catalog")
    except ImportError:
        raise ConfigurationError(
            "expected pyiceberg for [tiers] iceberg: pip install 'indelible[iceberg]'"
        ) from None
    except Exception as error:  # noqa: BLE001  what its parser of YAML raises, with the text
        raise ConfigurationError(
            f"expected pyiceberg to take its configuration: {type(error).__name__} in "
            "~/.pyiceberg.yaml, or what PYICEBERG_HOME names"
        ) from None


def list_in_iceberg(folder: Path, name: str, origin: str) -> None:
    """Bring the table `name` (catalogue.namespace.table) to the files that the lake `folder` has.

    It is made where there is none, partitioned by the month of receipt, as the table of the trail
    `origin`; another's is left alone. Files are told apart by path, length and rows, as what
    retention writes anew has the path of what it was made from. Raises `ConfigurationError` where
    the table is another's, `StoreBusyError` where its files are changed meanwhile, and
    `SegmentUnreachableError`.
    """
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    files = _files_of(folder.absolute())
    catalogue, _, table = name.partition(".")
    try:
        _bring(load_catalog(catalogue), table, files, origin)
    except ConfigurationError:
        raise
    except (CommitFailedException, ValidationException):
        raise StoreBusyError(f"expected nobody to be changing {name}, somebody is") from None
    except Exception as error:  # noqa: BLE001  each catalogue has errors of its own
        # Without their text: an address of a catalogue may have a password in it.
        raise SegmentUnreachableError(
            f"can't list {folder} as {name} of Iceberg: {type(error).__name__}; what is sealed and "
            f"copied stays so, and the next run lists it. Can `pyiceberg --catalog {catalogue} "
            "list` reach it?"
        ) from None


def _files_of(folder: Path) -> dict[Key, Path]:
    import pyarrow
    from pyarrow import parquet

    files = {}
    for path in folder.glob("month=*/*.parquet"):
        try:
            rows = parquet.read_metadata(path).num_rows
            files[f"file://{path}", path.stat().st_size, rows] = path
        except (OSError, pyarrow.ArrowException) as error:
            raise SegmentUnreachableError(
                f"can't read {path} of the lake: {error}; delete it, the next run writes it anew"
            ) from None
    return files


def _bring(catalogue: Catalog, name: str, files: dict[Key, Path], origin: str) -> None:
    from pyarrow import parquet
    from pyiceberg.transforms import MonthTransform

    listed: dict[Key, DataFile] = {}
    if catalogue.table_exists(name):
        table = catalogue.load_table(name)
        if (found := table.properties.get(_TRAIL)) != origin:
            whose = "no trail" if found is None else f"the trail {found}"
            raise ConfigurationError(
                f"expected {name} in Iceberg to be of the trail {origin}, it is of {whose}: name "
                "another in [tiers] iceberg, where there may be none yet"
            )
        for planned in table.scan().plan_files():
            file = planned.file
            listed[file.file_path, file.file_size_in_bytes, file.record_count] = file
        if listed.keys() == files.keys():
            return
        changing = table.transaction()
    elif files:
        catalogue.create_namespace_if_not_exists(name.rpartition(".")[0])
        schema = parquet.read_schema(next(iter(files.values())))
        properties = {**_PROPERTIES, _TRAIL: origin}
        changing = catalogue.create_table_transaction(name, schema, properties=properties)
        with changing.update_spec() as partitions:
            partitions.add_field("received", MonthTransform(), "month")
    else:
        return
    with changing:
        if gone := [file for key, file in listed.items() if key not in files]:
            with changing.update_snapshot().overwrite() as snapshot:
                for file in gone:
                    snapshot.delete_data_file(file)
        if new := sorted(uri for uri, _, _ in files.keys() - listed.keys()):
            changing.add_files(new, check_duplicate_files=False)
