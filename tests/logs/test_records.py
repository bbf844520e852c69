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
from tests.logs.programs import run

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
    found = run(
        """
        logging.root.handlers[0].addFilter(lambda record: record.msg != "left out")
        log.info("left out")
        log.info("kept")
        """
    )

    assert found.messages == ["kept"]


DIRECT = """
import io, json, logging, os, sys
from indelible import logs
logs.configure(fields={"order": "public"})
log = logging.getLogger("shop.orders")
def raised():
    try:
        raise ValueError("no stock")
    except ValueError:
        return sys.exc_info()
def say():
    log.info("order placed", extra={"order": 7, "status": 200, "name": "x"})
    log.warning("order %s placed", 7)
    log.info(f"order {7} placed", extra={})
    log.error("order %(order)s placed", {"order": 7})
    log.error("order %s placed", {})
    log.error("failed", exc_info=True)
    log.error("failed", exc_info=raised())
    log.error("failed", exc_info=raised()[1])
    log.error("failed", exc_info=(None, None, None))
    log.log(25, "levels have numbers")
    log.critical(7, stack_info=True, stacklevel=3)
    try:
        raise KeyError("order")
    except KeyError:
        log.exception("failed")
"""


def test_a_line_is_the_same_with_and_without_a_record() -> None:
    """Where somebody else looks on, a record is made; what the safe handler writes of it doesn't
    hang on that."""
    found = run(
        """
        say()
        logging.root.addHandler(logging.NullHandler())
        say()
        """,
        configured=DIRECT,
    )

    lines = found.lines()
    for line in lines:
        del line["t"]
        if "x" in line:
            del line["x"]["id"]
            line["x"]["frames"] = [each.rpartition(":")[0] for each in line["x"]["frames"]]
    assert len(lines) == 24
    assert lines[:12] == lines[12:]
    assert [line["m"] for line in lines[:3]] == [
        "order placed",
        "order %s placed",
        "order <..> placed",
    ]
    assert sum("x" in line for line in lines) == 6


ONLOOKERS = {
    "a handler": "log.addHandler(Kept())",
    "a handler of the parent": "logging.getLogger('shop').addHandler(Kept())",
    "a handler of the root": "logging.root.addHandler(Kept())",
    "a filter of the logger": "log.addFilter(lambda record: seen.append(record.msg) or True)",
    "a filter of the handler": "logging.root.handlers[0].addFilter(\n"
    "    lambda record: seen.append(record.msg) or True)",
    "a factory": """
class Own(logging.LogRecord):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        seen.append(self.msg)
logging.setLogRecordFactory(Own)
""",
    "who replaced callHandlers": """
before = logging.Logger.callHandlers
def watched(self, record):
    seen.append(record.msg)
    return before(self, record)
logging.Logger.callHandlers = watched
""",
    "who replaced callHandlers before us": """
import importlib
before = logging.Logger.callHandlers
def watched(self, record):
    seen.append(record.msg)
    return before(self, record)
logging.Logger.callHandlers = watched
for name in [name for name in sys.modules if name.startswith("indelible.logs")]:
    del sys.modules[name]
log.__class__ = logging.Logger
logging.root.__class__ = logging.RootLogger
logging.setLoggerClass(logging.Logger)
from indelible import logs
logs.configure()
assert type(log).__name__ == "SafeLogger"
""",
    "a kind of logger": """
class Own(logging.getLoggerClass()):
    def handle(self, record):
        seen.append(record.msg)
        super().handle(record)
log.__class__ = Own
""",
    "a kind of safe handler": """
class Own(logs.Handler):
    def emit(self, record):
        seen.append(record.msg)
        super().emit(record)
logging.root.handlers[:] = [Own()]
""",
}


@pytest.mark.parametrize("who", ONLOOKERS)
def test_nobody_who_looks_on_misses_a_record(who: str) -> None:
    """Handlers and filters wherever they are, factories, and who replaced a part of `logging`."""
    found = run(
        f"""
seen = []
class Kept(logging.Handler):
    def emit(self, record):
        seen.append(record.msg)
log.info("before")
seen.clear()
{ONLOOKERS[who]}
log.info("order placed")
print(seen)
assert seen == ["order placed"], seen
""",
        configured=DIRECT,
    )

    assert found.status == 0
    assert found.messages == ["before", "order placed"]


@pytest.mark.parametrize(
    "how",
    [
        "logging.root.handlers[0].setLevel(logging.ERROR)",
        "log.setLevel(logging.ERROR)",
        "logging.disable(logging.INFO)",
        "log.disabled = True",
        "log.propagate = False; log.addHandler(logging.NullHandler())",
        "logging.getLogger('shop').propagate = False; log.addHandler(logging.NullHandler())",
    ],
)
def test_what_is_switched_off_is_off(how: str) -> None:
    """Levels, `disable`, `disabled` and `propagate` hold as ever."""
    found = run(f"log.info('before')\n{how}\nlog.info('not said')", configured=DIRECT)

    assert (found.status, found.messages) == (0, ["before"])
