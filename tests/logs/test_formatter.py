"""`indelible.logs.Formatter` in handlers that aren't ours; see `test_logging` for what it shares
with the safe handler."""

from __future__ import annotations

import json
import logging
import logging.config
from typing import Any

import pytest

from indelible import logs
from indelible.errors import ConfigurationError
from tests.logs.programs import Said, run
from tests.logs.test_logging import FAILS, FORMATTER

SECRET = '"".join(["s3", "cr3t"])'


def run_text(code: str, configured: str = FORMATTER) -> Said:
    return run(code, configured=configured, signed=False, is_text=True)


@pytest.fixture(name="record")
def a_record() -> logging.LogRecord:
    return logging.makeLogRecord({"msg": "order placed", "levelname": "INFO", "order": "A-1"})


LOGGED_TWICE = """
plain = logging.StreamHandler(open(os.devnull, "w"))
plain.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
logging.root.handlers.insert(0, plain)
try:
    fail("".join(["s3", "cr3t"]))
except ValueError:
    log.exception("failed", stack_info=True)
"""


def test_a_logged_exception_shows_neither_message_nor_locals() -> None:
    """Also where a handler before it has left the whole traceback in the record."""
    found = run_text(FAILS + LOGGED_TWICE)

    (line,) = found.lines()
    assert line["x"]["type"] == "ValueError"
    assert line["x"]["message"] == "the token <..> is wrong"
    assert line["x"]["frames"][-1].startswith("__main__:fail:")
    assert "s3cr3t" not in json.dumps(line)
    assert found.unsigned == []
    assert "f" not in line


HANDLERS = {
    "of one's own": """
class Own(logging.Handler):
    def emit(self, record): sys.stderr.write(self.format(record) + "\\n")
handler = Own()
""",
    "a file": 'handler = logging.FileHandler("/dev/stderr", "w")',
    "a memory": """
from logging.handlers import MemoryHandler
kept = logging.StreamHandler()
kept.setFormatter(logs.Formatter())
handler = MemoryHandler(1, target=kept)
""",
    "a queue": """
import atexit, queue
from logging.handlers import QueueHandler, QueueListener
waiting = queue.Queue()
listener = QueueListener(waiting, logging.StreamHandler())
listener.start(); atexit.register(listener.stop)
handler = QueueHandler(waiting)
""",
    "syslog": """
import socket
from logging.handlers import SysLogHandler
there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
there.bind(("127.0.0.1", 0))
handler = SysLogHandler(there.getsockname())
handler.append_nul = False
""",
}


LOGGED_THROUGH_IT = """
handler.setFormatter(logs.Formatter())
logging.basicConfig(handlers=[handler], level="INFO", force=True)
secret = "".join(["s3", "cr3t"])
log.info("order placed", extra={"total_ms": 12})
log.info("welcome %s", secret)
log.info(f"welcome {secret}, again")
if "there" in globals():
    for _ in range(3): sys.stderr.write(there.recv(9999).decode().split(">", 1)[1] + "\\n")
"""


@pytest.mark.parametrize("kind", HANDLERS)
def test_handlers_of_all_kinds(kind: str) -> None:
    """Whatever frames stand between the caller and the formatter: a literal is one, and of what was
    put together only the caller's words are shown."""
    found = run_text(HANDLERS[kind] + LOGGED_THROUGH_IT)

    assert found.unsigned == []
    assert [(line["m"], "dyn" in line) for line in found.lines()] == [
        ("order placed", False),
        ("welcome %s", False),
        ("welcome <..>, again", True),
    ]
    assert "s3cr3t" not in json.dumps(found.lines())


def test_a_handler_that_asks_for_a_message_alone() -> None:
    """rich's, which asks `formatMessage`: the same line, and nothing of what it holds."""
    found = run_text(
        f"""
        from rich.console import Console
        from rich.logging import RichHandler
        handler = RichHandler(console=Console(stderr=True, width=1000), show_time=False,
            show_level=False, show_path=False, markup=False)
        handler.setFormatter(logs.Formatter())
        logging.basicConfig(handlers=[handler], force=True)
        log.warning("welcome %s", {SECRET})
        """
    )

    assert [line["m"] for line in found.lines()] == ["welcome %s"]
    assert b"s3cr3t" not in b"".join(frame.body for frame in found.frames)


def test_records_of_another_thread_show_nothing_put_together() -> None:
    """Behind a queue whose handler has merged the message already, there is no caller to ask."""
    found = run_text(
        f"""
        import queue
        from logging.handlers import QueueHandler, QueueListener
        waiting, kept = queue.Queue(), logging.root.handlers[0]
        logging.basicConfig(handlers=[QueueHandler(waiting)], level="INFO", force=True)
        listener = QueueListener(waiting, kept)
        listener.start()
        try:
            raise ValueError({SECRET})
        except ValueError:
            log.exception("welcome %s", {SECRET}, extra={{"token": {SECRET}, "status": 200}})
        listener.stop()
        """
    )

    (line,) = found.lines()
    assert (line["m"], line["f"]["status"]) == ("<..>", 200)
    assert "s3cr3t" not in json.dumps(line)


def test_an_audit_event_is_shown_as_that_it_happened() -> None:
    """Through a logger that can't audit, at its level: the action, and nothing of what was said."""
    found = run_text(
        f"""
        log.log(logs.AUDIT, "user.logged_in", extra={{"details": {{"token": {SECRET}}}}})
        log.log(logs.AUDIT, {SECRET} + " is no action")
        """
    )

    assert found.lines("A") == [
        {"v": 1, "c": "A", "unkept": "user.logged_in"},
        {"v": 1, "c": "A", "unkept": "audit.unreadable"},
    ]
    assert found.unsigned == []


def test_its_settings_are_those_of_the_handler(record: logging.LogRecord) -> None:
    """From a dictionary, with types of fields; one that there isn't is a `ConfigurationError`."""

    def made(**settings: Any) -> logging.Formatter:
        config = logging.config.DictConfigurator({"version": 1})
        return config.configure_formatter({"()": "indelible.logs.Formatter", **settings})

    assert json.loads(made(fields={"order": "public"}).format(record))["f"] == {"order": "A-1"}
    assert json.loads(made(fields={"order": "secret"}).format(record))["f"] == {"order": "<secret>"}
    config = logging.config.DictConfigurator({"version": 1})
    by_class = config.configure_formatter({"class": "indelible.logs.Formatter"})
    assert json.loads(by_class.format(record))["f"] == {"order": "<str:3>"}
    with pytest.raises(ConfigurationError, match=r"'order' as one of public, .*got 'open'"):
        made(fields={"order": "open"})


def test_without_settings_it_has_those_of_configure() -> None:
    """A field that was declared once is declared for both, and pseudonyms are the same."""
    found = run_text(
        """
        logs.configure(fields={"order": "public", "who": "pseudonym"})
        kept = logging.StreamHandler()
        kept.setFormatter(logs.Formatter())
        log.addHandler(kept)
        log.info("order placed", extra={"order": 7, "who": "zara"})
        """
    )

    first, second = found.lines()
    assert first == second
    assert first["f"]["order"] == 7


def test_a_format_is_refused() -> None:
    """Whoever names one expects it to be followed."""
    with pytest.raises(ConfigurationError, match="expected neither format nor datefmt"):
        logs.Formatter("%(message)s")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="expected neither format nor datefmt"):
        logs.Formatter(datefmt="%H")  # type: ignore[arg-type]


def test_nothing_is_left_in_the_record(record: logging.LogRecord) -> None:
    """The next handler's text isn't made of ours, nor ours of the one before."""
    before = dict(vars(record))
    logs.Formatter().format(record)

    assert vars(record) == before


def test_other_methods_show_no_more(record: logging.LogRecord) -> None:
    """Handlers that ask for an exception or a stack by itself."""
    formatter = logs.Formatter()
    error = ValueError("".join(["s3", "cr3t"]))

    assert json.loads(formatter.formatException((ValueError, error, None)))["type"] == "ValueError"
    assert "s3cr3t" not in formatter.formatException((ValueError, error, None))
    assert formatter.formatException((None, None, None)) == "{}"
    assert formatter.formatStack("Stack (most recent call last): ...") == ""
    assert formatter.formatMessage(record) == formatter.format(record)
