"""Ways to log JSON, each as a team sets it up, all into one kind of sink; and what is logged."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, NamedTuple, TextIO

import loguru
import orjson
import structlog
from pythonjsonlogger.json import JsonFormatter
from pythonjsonlogger.orjson import OrjsonFormatter

import indelible.logs.structlog
from indelible import logs
from indelible.logs.handler import SafeHandler, SafeLogger
from indelible.logs.setup import make_logging

RECORDS = 2_000
_OF_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class StdlibJson(logging.Formatter):
    """What teams write themselves: the record's parts and what `extra` gave it."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in record.__dict__.items():
            if name not in _OF_RECORD:
                said[name] = value
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


class Sink:
    """Where all of them write: `/dev/null`, or a pipe that another process empties."""

    def __init__(self, kind: str) -> None:
        self._reader = Popen(["cat"], stdin=PIPE, stdout=os.open(os.devnull, os.O_WRONLY))
        pipe = self._reader.stdin
        if kind == "pipe" and pipe is not None:
            self.fd = os.dup(pipe.fileno())
        else:
            self.fd = os.open(os.devnull, os.O_WRONLY)

    def text(self) -> TextIO:
        """As `sys.stderr` is: text, written line by line."""
        return os.fdopen(os.dup(self.fd), "w", buffering=1)

    def close(self) -> None:
        os.close(self.fd)
        self._reader.kill()
        self._reader.wait()


class Way(NamedTuple):
    """One set-up: a function for each kind of record, which logs `RECORDS` of them."""

    name: str
    works: dict[str, Callable[[], None]]


def _stdlib(name: str, sink: Sink, formatter: logging.Formatter) -> Way:
    handler = logging.StreamHandler(sink.text())
    handler.setFormatter(formatter)
    return Way(name, _works(logging.Logger("shop.orders"), handler))


def _safe(name: str, sink: Sink, kind: type[logging.Logger] = SafeLogger, **settings: Any) -> Way:
    made = make_logging(fd=sink.fd, **settings)
    return Way(
        name, _works(kind("shop.orders"), SafeHandler(made.lines, made.stream, made.auditor))
    )


# Fields are written out at each call: a name is shown that stands in the code that logs.


def _works(logger: logging.Logger, handler: logging.Handler) -> dict[str, Callable[[], None]]:
    logger.addHandler(handler)

    def literal() -> None:
        for _ in range(RECORDS):
            logger.info(
                "order placed",
                extra={
                    "total_ms": 12.5,
                    "status": 200,
                    "method": "POST",
                    "route": "/api/v1/orders/{id}",
                    "order": "A-1029384",
                },
            )

    def template() -> None:
        for number in range(RECORDS):
            logger.info(
                "order %s placed by %s",
                number,
                "zara",
                extra={
                    "total_ms": 12.5,
                    "status": 200,
                    "method": "POST",
                    "route": "/api/v1/orders/{id}",
                    "order": "A-1029384",
                },
            )

    def put_together() -> None:
        for number in range(RECORDS):
            logger.info(
                f"order {number} placed by zara",
                extra={
                    "total_ms": 12.5,
                    "status": 200,
                    "method": "POST",
                    "route": "/api/v1/orders/{id}",
                    "order": "A-1029384",
                },
            )

    def exception() -> None:
        for number in range(RECORDS):
            try:
                _fail(number)
            except ValueError:
                logger.exception(
                    "order failed",
                    extra={
                        "total_ms": 12.5,
                        "status": 200,
                        "method": "POST",
                        "route": "/api/v1/orders/{id}",
                        "order": "A-1029384",
                    },
                )

    return {
        "literal": literal,
        "template": template,
        "put together": put_together,
        "exception": exception,
    }


def _structured(name: str, logger: Any) -> Way:
    """structlog and loguru: fields are keywords."""

    def literal() -> None:
        for _ in range(RECORDS):
            logger.info(
                "order placed",
                total_ms=12.5,
                status=200,
                method="POST",
                route="/api/v1/orders/{id}",
                order="A-1029384",
            )

    def put_together() -> None:
        for number in range(RECORDS):
            logger.info(
                f"order {number} placed by zara",
                total_ms=12.5,
                status=200,
                method="POST",
                route="/api/v1/orders/{id}",
                order="A-1029384",
            )

    def exception() -> None:
        for number in range(RECORDS):
            try:
                _fail(number)
            except ValueError:
                logger.exception(
                    "order failed",
                    total_ms=12.5,
                    status=200,
                    method="POST",
                    route="/api/v1/orders/{id}",
                    order="A-1029384",
                )

    return Way(name, {"literal": literal, "put together": put_together, "exception": exception})


def _fail(number: int) -> None:
    raise ValueError(f"no stock for order {number}")


def _structlog(sink: Sink) -> Way:
    """As structlog's page on performance has it: bytes, and the exception as text."""
    file = os.fdopen(os.dup(sink.fd), "wb")
    logger = structlog.wrap_logger(
        structlog.BytesLogger(file),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return _structured("structlog (orjson)", logger.bind(logger="shop.orders"))


def _safe_structlog(sink: Sink, key_file: Path) -> Way:
    logs.configure(fd=sink.fd, key_file=key_file, root=False, hooks=False)
    settings = indelible.logs.structlog.settings(min_level=logging.INFO)
    logger = structlog.wrap_logger(
        None,
        processors=settings["processors"],
        wrapper_class=settings["wrapper_class"],
    )
    return _structured("indelible, through structlog", logger.bind(logger="shop.orders"))


def _loguru(sink: Sink) -> Way:
    loguru.logger.remove()
    # Its default is to write the values of variables into tracebacks, which nobody wants in JSON.
    loguru.logger.add(sink.text(), serialize=True, backtrace=False, diagnose=False)
    return _structured("loguru (serialize)", loguru.logger)


@contextmanager
def ways(kind: str, key_file: Path) -> Iterator[list[Way]]:
    """All set-ups, into a sink of a kind; the first is what the others are compared with."""
    sink = Sink(kind)
    names = "%(asctime)s %(levelname)s %(name)s %(message)s"
    try:
        yield [
            _stdlib("stdlib JSON", sink, StdlibJson()),
            _safe("indelible", sink, key_file=key_file),
            _safe("indelible, undeclared=scrub", sink, key_file=key_file, undeclared="scrub"),
            _safe("indelible, no MAC", sink),
            _safe("indelible, other loggers", sink, logging.Logger, key_file=key_file),
            _safe_structlog(sink, key_file),
            _stdlib("python-json-logger", sink, JsonFormatter(names)),
            _stdlib("python-json-logger (orjson)", sink, OrjsonFormatter(names)),
            _structlog(sink),
            _loguru(sink),
        ]
    finally:
        sink.close()


def microseconds(work: Callable[[], None]) -> float:
    """Processor time of one record."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / RECORDS * 1e6
