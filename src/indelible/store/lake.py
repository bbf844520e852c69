"""The lake: sealed entries once more, as Parquet by month, for programs that analyse.

A copy without proof, made of the trail and never read back into it: `indelible verify` knows
nothing of it. What is sealed for a subject is sealed here, too; what else it says of a person stays
until it is removed. A file is written once, for a range of entries, and whole when it has its name.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from indelible.durable import alone, sync_directory
from indelible.errors import ConfigurationError, StoreBusyError
from indelible.events.codec import decode_event, parse_time
from indelible.events.model import Event
from indelible.events.values import format_id
from indelible.store.blocks import BLOCK_ENTRIES
from indelible.store.errors import SegmentUnreachableError
from indelible.store.iceberg import check_iceberg, list_in_iceberg
from indelible.store.places import written
from indelible.store.protocol import StoredEntry, TrailReader
from indelible.store.segment import Segment

if TYPE_CHECKING:
    import pyarrow

_LEVEL: Final = 6
_MICROSECONDS: Final = ("time", "received")
_LISTS: Final = ("records", "possible_records", "inexact", "subjects", "possible_subjects")
_NUMBERS: Final = ("index", "epoch", "seq")
_FLAGS: Final = ("doubtful", "exact", "cut")
_DELTAS: Final = dict.fromkeys((*_MICROSECONDS, *_NUMBERS), "DELTA_BINARY_PACKED")


class LakeFile(msgspec.Struct, frozen=True, kw_only=True):
    """The entries `first` to `last`, of one month, in `rows` rows of the file at `path`."""

    first: int
    last: int
    path: Path
    rows: int
    length: int


def write_lake(
    reader: TrailReader, segments: Sequence[Segment], folder: Path, iceberg: str | None = None
) -> Iterator[LakeFile]:
    """Bring `folder` to what is sealed; gives each file that was written, once it is durable.

    What is there already stays. A month is that in which entries were received (UTC). At the end
    the files are those of the table `iceberg`. Raises `ConfigurationError` without pyarrow or
    pyiceberg, `StoreBusyError` where another process is at it, `StoreFullError` and
    `SegmentUnreachableError`.
    """
    arrow = _arrow()
    if iceberg is not None:
        check_iceberg()
    with contextlib.ExitStack() as stack:
        with written(folder):
            folder.mkdir(parents=True, exist_ok=True)
            is_alone = stack.enter_context(alone(folder / ".filling"))
        if not is_alone:
            raise StoreBusyError(f"expected nobody to be filling {folder}, another process is")
        yield from _fill(arrow, reader, segments, folder)
        if iceberg is not None:
            list_in_iceberg(folder, iceberg, reader.origin)


def _fill(
    arrow: Any, reader: TrailReader, segments: Sequence[Segment], folder: Path
) -> Iterator[LakeFile]:
    for segment in segments:
        for month, first, last in _months(reader, segment):
            path = folder / f"month={month}" / f"{first:016d}-{last:016d}.parquet"
            if path.exists():
                continue
            table = _table(arrow, reader.entries(first, last))
            with written(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, lambda new, table=table: _write_table(table, new))  # type: ignore[misc]
            yield LakeFile(
                first=first,
                last=last,
                path=path,
                rows=table.num_rows,
                length=path.stat().st_size,
            )


def drop_from_lake(folder: Path, blocks: Collection[int]) -> None:
    """Delete the copies of these blocks' entries; `write_lake` makes them anew of what is left.

    Raises `SegmentUnreachableError`.
    """
    gone = sorted(blocks)
    try:
        for path in folder.glob("month=*/*.parquet"):
            first, _, last = path.stem.partition("-")
            at = bisect_left(gone, int(first) // BLOCK_ENTRIES)
            if at < len(gone) and gone[at] <= int(last) // BLOCK_ENTRIES:
                path.unlink()
                sync_directory(path.parent)
    except OSError as error:
        raise SegmentUnreachableError(f"can't delete from {folder}: {error.strerror}") from None


def lake_size(folder: Path) -> tuple[int, int]:
    """How many files a lake has, and their bytes. Raises `SegmentUnreachableError`."""
    try:
        sizes = [path.stat().st_size for path in folder.glob("month=*/*.parquet")]
    except OSError as error:
        raise SegmentUnreachableError(f"can't read {folder}: {error.strerror}") from None
    return len(sizes), sum(sizes)


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigurationError(
            "expected pyarrow for a lake: pip install 'indelible[lake]'"
        ) from None
    return pyarrow


def _months(reader: TrailReader, segment: Segment) -> Iterator[tuple[str, int, int]]:
    """(month, first, last) of the segment's entries, by when they were received."""
    month, start = "", segment.first
    for batch in reader.batches(segment.first):
        if batch.first > segment.last:
            break
        if batch.time[:7] != month:
            if month and batch.first > start:
                yield month, start, batch.first - 1
                start = int(batch.first)
            month = batch.time[:7]
    yield month, start, segment.last


def _table(arrow: Any, entries: Iterator[StoredEntry]) -> pyarrow.Table:
    rows = _Rows()
    for entry in entries:
        event = decode_event(entry.body)
        if event.part is None or event.part.n == 1 or event.fragment is None:
            rows.add(entry, event)
    return rows.as_table(arrow)


class _Rows:
    """Columns that grow row by row."""

    def __init__(self) -> None:
        self._plain: dict[str, list[Any]] = {}
        self._values: dict[str, list[str]] = {name: [] for name in _LISTS}
        self._offsets: dict[str, list[int]] = {name: [0] for name in _LISTS}

    def add(self, entry: StoredEntry, event: Event) -> None:
        # What is sealed is left out, as it is no address.
        context = {
            name: value for name, value in (event.context or {}).items() if isinstance(value, str)
        }
        actor = event.actor
        plain = {
            "index": entry.index,
            "time": parse_time(event.time),
            "received": parse_time(entry.received),
            "doubtful": entry.doubtful,
            "exact": all(target.coverage == "exact" for target in event.targets),
            "kind": event.kind,
            "action": event.action,
            "outcome": event.outcome.value,
            "actor": None if actor is None else f"{actor.kind}:{actor.id}",
            "on_behalf_of": None
            if actor is None or actor.on_behalf_of is None
            else f"{actor.on_behalf_of.kind}:{actor.on_behalf_of.id}",
            "changes": None
            if event.changes is None
            else msgspec.json.encode(event.changes).decode(),
            "cut": event.fragment is not None,
            "reason": event.reason,
            "request": context.get("request"),
            "session": context.get("session"),
            "ip": context.get("ip"),
            "service": context.get("service"),
            "statement": None if event.statement is None else event.statement.text,
            "transaction": event.transaction,
            "database_role": event.database_role,
            "source": event.producer.id,
            "epoch": event.producer.epoch,
            "seq": event.producer.seq,
        }
        for name, value in plain.items():
            self._plain.setdefault(name, []).append(value)
        values = self._values
        for target in event.targets:
            exact = target.coverage == "exact"
            records = values["records" if exact else "possible_records"]
            ids = target.ids
            if target.ids_before:
                ids = tuple(dict.fromkeys((*ids, *target.ids_before)))
            records.extend([f"{target.kind}:{format_id(row_id)}" for row_id in ids])
            if not exact:
                values["inexact"].append(target.kind)
                values["possible_subjects"].extend(map(str, target.possible_subjects))
        values["subjects"].extend(map(str, event.subjects))
        for name, offsets in self._offsets.items():
            offsets.append(len(values[name]))

    def as_table(self, arrow: Any) -> pyarrow.Table:
        columns = {}
        for name, values in self._plain.items():
            if name in _MICROSECONDS:
                kind = arrow.timestamp("us", "UTC")
            elif name in _NUMBERS:
                kind = arrow.int64()
            else:
                kind = arrow.bool_() if name in _FLAGS else arrow.string()
            columns[name] = arrow.array(values, kind)
        for name, offsets in self._offsets.items():
            columns[name] = arrow.ListArray.from_arrays(
                arrow.array(offsets, arrow.int32()), arrow.array(self._values[name], arrow.string())
            )
        return arrow.table(columns)


def _write_table(table: pyarrow.Table, path: Path) -> None:
    import pyarrow.parquet

    dictionary = [name for name in table.column_names if name not in _DELTAS]
    pyarrow.parquet.write_table(
        table,
        path,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=dictionary,
        column_encoding=_DELTAS,
        coerce_timestamps="us",
    )
    if pyarrow.parquet.read_metadata(path).num_rows != table.num_rows:
        raise OSError(None, "what was read back isn't what was written")


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """The file under its name when it is whole and on the disk."""
    new = path.with_name(".unfinished")
    try:
        write(new)
        fd = os.open(new, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        new.rename(path)
        for directory in (path.parent, path.parent.parent):
            sync_directory(directory)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
