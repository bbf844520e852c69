"""The logging of this process: one stream on its stderr, and what writes to it."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from indelible.errors import ConfigurationError
from indelible.logs.auditing import Auditor, Keeper
from indelible.logs.constants import ModuleConstants
from indelible.logs.exceptions import ExceptionShower
from indelible.logs.fields import FieldRules, Judge, Pseudonyms
from indelible.logs.handler import AUDIT, SafeHandler, SafeLogger, SafeRootLogger
from indelible.logs.hooks import Hooks
from indelible.logs.keys import (
    LogKeys,
    close_handed_keys,
    keys_from_environment,
    name_of_pipe,
    read_key_file,
)
from indelible.logs.lines import LineMaker
from indelible.logs.literals import Literals
from indelible.logs.sealing import SealingKey
from indelible.logs.stream import APPLICATION_STUCK, AUDIT_STUCK, LogStream, Stuck

STDERR: Final = 2


class Logging(msgspec.Struct, frozen=True, weakref=True):
    """What a process logs with."""

    stream: LogStream
    lines: LineMaker
    auditor: Auditor
    hooks: Hooks


_lock = threading.RLock()
_running: Logging | None = None
_keys: LogKeys | None = None


def make_logging(
    *,
    fd: int = STDERR,
    service: str = "",
    fields: Mapping[str, str] | None = None,
    undeclared: Literal["withhold", "scrub"] = "withhold",
    seal_to: str | None = None,
    key_file: str | Path | None = None,
    keeper: Keeper | None = None,
    application: Stuck = APPLICATION_STUCK,
    audit: Stuck = AUDIT_STUCK,
    scrub: Callable[[str], str] | None = None,
) -> Logging:
    """The parts, wired. Raises `ConfigurationError`."""
    keys = _keys_of(key_file)
    if keys is not None and key_file is None and fd == STDERR:
        _check_that_the_tee_reads(keys.pipe, fd)
    lines = _lines(keys, fields, undeclared, seal_to, scrub)
    stream = LogStream(
        fd,
        keys.master if keys is not None else None,
        service=service,
        application=application,
        audit=audit,
    )
    return Logging(stream, lines, Auditor(stream, keeper), Hooks(lines, stream))


def make_lines(
    *,
    fields: Mapping[str, str] | None = None,
    undeclared: Literal["withhold", "scrub"] = "withhold",
    seal_to: str | None = None,
    key_file: str | Path | None = None,
    scrub: Callable[[str], str] | None = None,
) -> LineMaker:
    """What makes lines, without a stream. Raises `ConfigurationError`."""
    with _lock:
        return _lines(_keys_of(key_file), fields, undeclared, seal_to, scrub)


def _lines(
    keys: LogKeys | None,
    fields: Mapping[str, str] | None,
    undeclared: str,
    seal_to: str | None,
    scrub: Callable[[str], str] | None,
) -> LineMaker:
    if undeclared not in ("withhold", "scrub"):
        raise ConfigurationError(f"expected undeclared as withhold or scrub, got {undeclared!r}")
    scrubbed = scrub or default_scrub()
    made = keys or LogKeys.new()
    pseudonyms = Pseudonyms(made.pseudonym, made.pseudonym_id)
    literals = Literals(ModuleConstants(scrubbed).named_by)
    judge = Judge(
        FieldRules.of(fields or {}),
        pseudonyms,
        sealing=_sealing(fields or {}, seal_to),
        scrub=scrubbed if undeclared == "scrub" else None,
    )
    return LineMaker(judge, pseudonyms, ExceptionShower(literals, scrubbed), literals, scrubbed)


def _sealing(fields: Mapping[str, str], seal_to: str | None) -> SealingKey | None:
    if seal_to is not None:
        return SealingKey(seal_to)
    for name, kind in fields.items():
        if kind == "sealed":
            raise ConfigurationError(
                f"expected seal_to, the public key that seals, as the field {name!r} is sealed, "
                "got none: indelible.logs.sealing.new_sealing_key() makes a private and a public "
                "key; the private one stays away from the application"
            )
    return None


def configure(
    *,
    level: int | str = logging.INFO,
    root: bool = True,
    hooks: bool = True,
    **settings: Any,
) -> None:
    """Log safely from here on: see `indelible.logs.configure`."""
    global _running
    with _lock:
        made = make_logging(**settings)
        if _running is not None:
            _running.hooks.uninstall()
            _running.stream.close()
        _running = made
        logging.addLevelName(AUDIT, "AUDIT")
        SafeLogger.auditor = made.auditor
        _let_loggers_audit()
        if root:
            handler = SafeHandler(made.lines, made.stream, made.auditor)
            logging.basicConfig(level=level, handlers=[handler], force=True)
            logging.lastResort = handler
            logging.raiseExceptions = False
        if hooks:
            made.hooks.install()


def _end_with_child() -> None:
    """In a forked child: a process of `multiprocessing` ends by `os._exit`, which only finalizers
    of its own come before."""
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None and _running is not None:
        # What is a finalizer now is forgotten when such a process begins; this comes after.
        util.register_after_fork(_running, lambda _: util.Finalize(None, close, exitpriority=-100))


def close() -> None:
    """Say that this process's stream ends: for who ends the process by `os._exit`."""
    if _running is not None:
        _running.stream.close()


os.register_at_fork(after_in_child=_end_with_child)


def dict_config(level: int | str = logging.INFO, **settings: Any) -> dict[str, Any]:
    """For whoever configures logging by a dictionary (gunicorn's `logconfig_dict`, uvicorn's
    `log_config`, Django's `LOGGING`): every logger's records through the safe handler, servers'
    own handlers taken away. `settings` are those of `configure`."""
    servers = (
        "uvicorn",
        "uvicorn.access",
        "uvicorn.error",
        "gunicorn.error",
        "gunicorn.access",
        "django",
        "django.server",
        "celery",
        "werkzeug",
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"safe": {"class": "indelible.logs.Handler", **settings}},
        "root": {"level": level, "handlers": ["safe"]},
        "loggers": {name: {"level": level, "handlers": [], "propagate": True} for name in servers},
    }


def is_configured() -> bool:
    """Whether this process logs with something already."""
    return _running is not None


def current() -> Logging:
    """What this process logs with; with the defaults where nothing was configured."""
    global _running
    with _lock:
        if _running is None:
            _running = make_logging()
        return _running


def _let_loggers_audit() -> None:
    """Loggers of the standard class become ours: also those that were made before."""
    if logging.getLoggerClass() is logging.Logger:
        logging.setLoggerClass(SafeLogger)
    found = [logging.root, *logging.root.manager.loggerDict.values()]
    for logger in found:
        if type(logger) is logging.Logger:
            logger.__class__ = SafeLogger
        elif type(logger) is logging.RootLogger:
            logger.__class__ = SafeRootLogger


def _keys_of(key_file: str | Path | None) -> LogKeys | None:
    if key_file is None:
        return _handed_keys()
    close_handed_keys()
    return read_key_file(Path(key_file))


def _handed_keys() -> LogKeys | None:
    """The tee's keys; read once, as the descriptor is closed then."""
    global _keys
    if _keys is None:
        _keys = keys_from_environment()
    return _keys


def _check_that_the_tee_reads(pipe: str, fd: int) -> None:
    """Raises `ConfigurationError` where something turned stderr to a file or to nowhere: audit
    events would be there, in the open, instead of in the trail."""
    if pipe and pipe != name_of_pipe(fd):
        raise ConfigurationError(
            "expected stderr to be the tee's pipe, got something else: gunicorn's capture_output "
            "or daemon, or `2>` turned it; `indelible tee --to-file` is for that"
        )


def default_scrub() -> Callable[[str], str]:
    """The scrubber of all default rules."""
    from indelible.logs.scrub import Scrubber

    scrubber = Scrubber()
    return lambda text: scrubber.scrub(text).text
