"""Records of our loggers are those of the standard library's."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from indelible.logs.handler import SafeLogger

CHANGING = ("created", "msecs", "relativeCreated")


class Kept(logging.Handler):
    """Somebody else's handler."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def logger_of(kind: type[logging.Logger]) -> tuple[logging.Logger, Kept]:
    kept = Kept()
    logger = kind("shop")
    logger.addHandler(kept)
    return logger, kept


def said(logger: logging.Logger, *arguments: object, **more: Any) -> None:
    logger.warning("order %s", *arguments, **more)


CALLS: list[tuple[tuple[object, ...], dict[str, Any]]] = [
    ((), {}),
    (("a",), {}),
    (("a", 2), {"stack_info": True}),
    (({"order": 1},), {}),
    (({},), {"extra": {"total_ms": 1}}),
    ((), {"exc_info": ValueError("x")}),
    ((), {"stacklevel": 2}),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_a_record_has_what_others_read_of_it(number: int) -> None:
    """Every attribute, whether a line of code logs for the first time or again."""
    arguments, more = CALLS[number]
    (ours, found), (standard, expected) = logger_of(SafeLogger), logger_of(logging.Logger)
    for logger in (ours, standard):
        for _ in range(3):
            said(logger, *arguments, **more)

    for ours_, theirs in zip(found.records, expected.records, strict=True):
        wanted = {name: each for name, each in vars(theirs).items() if name not in CHANGING}
        got = {name: vars(ours_)[name] for name in wanted}
        if more.get("stack_info"):
            assert wanted.pop("stack_info").startswith("Stack (most recent call last)")
            assert got.pop("stack_info").startswith("Stack (most recent call last)")
        assert got == wanted
        assert type(ours_) is logging.LogRecord
        assert set(vars(ours_)) - {"indelible_fields"} == set(vars(theirs))


def test_a_record_has_its_own_time() -> None:
    """Of a line of code that logs again: when it did, in all three forms."""
    logger, kept = logger_of(SafeLogger)
    for _ in range(2):
        before = time.time()
        said(logger)
        after = time.time()

    first, again = kept.records
    assert before <= again.created <= after
    assert int(again.msecs) == int(again.created % 1 * 1000)
    elapsed_ms = (again.created - first.created) * 1000
    assert again.relativeCreated - first.relativeCreated == pytest.approx(elapsed_ms, abs=0.01)


def test_a_record_has_its_own_thread_and_task() -> None:
    """One line of code, in a thread and in a task."""
    logger, kept = logger_of(SafeLogger)
    said(logger)
    thread = threading.Thread(target=said, args=(logger,), name="other")
    thread.start()
    thread.join()

    async def in_task() -> None:
        said(logger)

    async def main() -> None:
        await asyncio.create_task(in_task(), name="a task")

    asyncio.run(main())

    assert [record.threadName for record in kept.records] == ["MainThread", "other", "MainThread"]
    assert len({record.thread for record in kept.records}) == 2
    if sys.version_info >= (3, 12):
        assert kept.records[-1].taskName == "a task"


def test_levels_by_number_say_who_called() -> None:
    """`log` and `audit`'s neighbours stand in our own module; the caller's line is the record's."""
    logger, kept = logger_of(SafeLogger)
    logger.log(logging.WARNING, "order placed")

    assert kept.records[0].pathname == __file__
    assert kept.records[0].funcName == "test_levels_by_number_say_who_called"


class Own(logging.LogRecord):
    pass


@pytest.fixture
def own_factory() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("own_factory")
def test_a_factory_for_records_is_asked() -> None:
    """Also where it is set behind a line's first record."""
    logger, kept = logger_of(SafeLogger)
    for factory in (logging.LogRecord, Own):
        logging.setLogRecordFactory(factory)
        said(logger)

    assert [type(record) for record in kept.records] == [logging.LogRecord, Own]


def test_a_level_that_is_named_later_has_its_name() -> None:
    """A line logs again behind `addLevelName`."""
    logger, kept = logger_of(SafeLogger)
    for name in ("Level 41", "GRAVE"):
        logging.addLevelName(41, name)
        logger.log(41, "order placed")

    assert [record.levelname for record in kept.records] == ["Level 41", "GRAVE"]


def test_filters_of_the_handler_are_asked() -> None:
    """A filter that somebody adds to the safe handler keeps records out."""
    from tests.logs.programs import run

    found = run(
        """
        logging.root.handlers[0].addFilter(lambda record: record.msg != "left out")
        log.info("left out")
        log.info("kept")
        """
    )

    assert found.messages == ["kept"]
