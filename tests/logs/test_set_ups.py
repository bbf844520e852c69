"""How processes of servers begin and end: what is an orderly end, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from indelible.trail import Trail
from tests.logs.programs import run

INDELIBLE = str(Path(sys.executable).with_name("indelible"))


def test_a_child_of_multiprocessing_ends_its_stream() -> None:
    """It ends by `os._exit`, and there is nothing to be noticed: also where it was made by a child
    that was forked before."""
    found = run(
        """
        import multiprocessing

        def work(depth):
            log.info("working", extra={"depth": depth})
            if depth:
                start(depth - 1)

        def start(depth):
            child = multiprocessing.get_context("fork").Process(target=work, args=(depth,))
            child.start()
            child.join()

        start(1)
        """
    )

    assert [line["f"]["depth"] for line in found.lines()] == [1, 0]
    assert found.irregular == []


def test_the_applications_own_sigterm_handler_stays() -> None:
    """Only where SIGTERM would have ended the process at once does it end the stream before."""
    found = run(
        "os.kill(os.getpid(), signal.SIGTERM)\nlog.info('still here')",
        configured="""
import logging, os, signal
from indelible import logs
signal.signal(signal.SIGTERM, lambda *_: logging.getLogger("shop").info("asked to end"))
logs.configure()
log = logging.getLogger("shop")
""",
    )

    assert found.messages == ["asked to end", "still here"]
    assert found.status == 0


def test_stderr_that_was_turned_away_from_the_tee_is_refused(tmp_path: Path) -> None:
    """Audit events would lie in the open where it leads to: the application is told, and ends."""
    (tmp_path / "indelible.toml").write_text('[trail]\nurl = "sqlite:///trail.db"\n')
    Trail.create(str(tmp_path / "indelible.toml")).close()
    code = ["from indelible import logs", "logs.configure()", "logs.audit('user.logged_in')"]
    (tmp_path / "program.py").write_text("\n".join(code))
    command = f"{sys.executable} program.py 2>elsewhere"

    done = subprocess.run(
        [INDELIBLE, "tee", "--", "sh", "-c", command], cwd=tmp_path, timeout=120, check=False
    )

    assert done.returncode == 1
    written = (tmp_path / "elsewhere").read_text()
    assert "ConfigurationError: expected stderr to be the tee's pipe" in written
    assert "user.logged_in" not in written


def test_a_handler_is_told_its_settings_by_the_dictionary() -> None:
    """What stands beside its class is what `configure` takes."""
    found = run(
        "log.info('placed', extra={'order': 4711})",
        configured="""
import logging, logging.config
from indelible import logs
logging.config.dictConfig(logs.dict_config(service="shop", fields={"order": "public"}))
log = logging.getLogger("shop")
""",
    )

    assert [line["f"] for line in found.lines()] == [{"order": 4711}]
    assert [line["service"] for line in found.lines("C") if line["is"] == "begin"] == ["shop"]


def test_structlogs_loggers_have_names() -> None:
    """The one that was given, or that of the module that logs."""
    found = run(
        """
        structlog.get_logger("shop.orders").info("placed")
        structlog.get_logger().info("placed")
        structlog.get_logger("shop.orders").bind(logger="billing").info("placed")
        """,
        configured="""
import structlog
from indelible.logs.structlog import settings
structlog.configure(**settings())
""",
    )

    assert [line["n"] for line in found.lines()] == ["shop.orders", "__main__", "billing"]
