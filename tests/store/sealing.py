"""Trails to be sealed, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from indelible.events.model import Actor, Subject, Target
from indelible.integrity.sealing import seal_trail
from indelible.policy.load import policy_for_url
from indelible.questions.asking import Questions
from indelible.store.places import Place, open_place
from indelible.store.segment import Segment
from indelible.store.sqlite_reader import SqliteReader
from indelible.tlog import Tile, VerifierKey

PLACE = "sealed"
NEVER = "~"


def seal(
    reader: SqliteReader,
    *,
    blocks: int = 2,
    before: str = NEVER,
    place: Place | None = None,
    only_full: bool = True,
    name: str = PLACE,
) -> Iterator[Segment]:
    """Seal in segments of so many blocks, to a folder beside the trail."""
    return seal_trail(
        reader,
        [VerifierKey.parse(reader.vkey)],
        place or open_place(name, reader.path),
        name,
        before=before,  # type: ignore[arg-type]
        most_blocks=blocks,
        only_full=only_full,
    )


def all_that_is_read(reader: SqliteReader) -> dict[str, object]:
    """Everything that a reader gives of the entries, in every way that there is to get them."""
    size = int(reader.size)
    some = range(0, size, 97)
    return {
        "entries": list(reader.entries(0, size - 1)),
        "committed": list(reader.committed(0, size - 1)),
        "one by one": [reader.entry(n) for n in some],
        "heads": [reader.head(n) for n in some],
        "salts": [reader.salt(n) for n in some],
        "backwards": list(reader.search([], newest_first=True)),
        "tiles": [reader.read_tile(Tile(0, n, 256)) for n in range(size // 256)],
        "batches": list(reader.batches()),
        "sources": list(reader.sources()),
    }


def all_answers(reader: SqliteReader, windows: list[tuple[str | None, str | None]]) -> list[object]:
    """What the questions answer about everybody and everything of `tests.integrity.trails`."""
    questions = Questions(reader, policy_for_url(f"sqlite:///{reader.path}"))
    answers: list[object] = []
    for since, until in windows:
        within = {"since": since, "until": until}
        for n in range(7):
            by = Actor("staff", f"actor{n}")
            answers.append(list(questions.changes(by=by, **within)))
            answers.append(list(questions.accesses(by=by, **within)))
        for n in (0, 3, 19):
            of = Subject("customer", str(n))
            answers.append(list(questions.accessors(of=of, **within)))
        answers.append(list(questions.events(system=True, **within)))
        answers.append(list(questions.history(Target("invoice", 7), **within)))
    answers.append(list(questions.state(Target("invoice", 7))))
    return answers


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / PLACE).glob("*"))
