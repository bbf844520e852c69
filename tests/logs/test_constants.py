"""Messages that stand at the top of a module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from indelible.logs.constants import ModuleConstants
from indelible.logs.scrub import Scrubber
from tests.logs.programs import CONFIGURED, run

MESSAGES = '''
import os, sys
PLACED = "order placed"
TYPED: str = """order was
typed"""
FROM_OUTSIDE = os.environ.get("SAID", "said from outside")
EITHER = os.environ["SAID"] if "SAID" in os.environ else "either of two"
OR = os.environ.get("SAID") or "or the other"
TWICE = "given two times"
TWICE = os.environ.get("SAID", "given two times")
JOINED = "put " + os.environ.get("SAID", "together by hand")
for LOOPED in ("looped once over",): pass
GLOBAL = "set by a function"
DELETED = "deleted and back"
del DELETED
globals()["DELETED"] = os.environ.get("SAID", "deleted and back")
SIGNING_KEY = "correct horse battery staple"
DB_PASSWORD = "correct horse battery staple"
ONE_WORD = "hunter2hunter2"
with open(os.devnull) as WITH: pass
def receive(text):
    global GLOBAL
    GLOBAL = text
class Inner:
    PLACED = "another order"
'''
USES = """
import messages
import messages as others
from messages import PLACED
from messages import PLACED as RENAMED
def by_attribute(): return messages.PLACED, others.TYPED
def by_import(): return PLACED, RENAMED
def others_(): return (messages.FROM_OUTSIDE, messages.EITHER, messages.OR, messages.TWICE,
    messages.JOINED, messages.LOOPED, messages.GLOBAL, messages.DELETED, messages.SIGNING_KEY,
    messages.DB_PASSWORD, messages.ONE_WORD)
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ...]]:
    (tmp_path / "messages.py").write_text(MESSAGES)
    (tmp_path / "uses.py").write_text(USES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("SAID", raising=False)
    yield importlib.import_module("messages"), importlib.import_module("uses")
    for name in ("messages", "uses"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def constants() -> ModuleConstants:
    scrubber = Scrubber(engine="re")
    return ModuleConstants(lambda text: scrubber.scrub(text).text)


def named(constants: ModuleConstants, module: ModuleType, function: str) -> list[str]:
    return list(constants.named_by(getattr(module, function).__code__, vars(module)))


def test_a_literal_given_once_is_a_constant(
    constants: ModuleConstants, modules: tuple[ModuleType, ...]
) -> None:
    """By its own name, by its module's, and imported under either."""
    _, uses = modules

    assert set(named(constants, uses, "by_attribute")) == {"order placed", "order was\ntyped"}
    assert named(constants, uses, "by_import") == ["order placed"] * 2


def test_what_may_come_from_elsewhere_is_none(
    constants: ModuleConstants, modules: tuple[ModuleType, ...]
) -> None:
    """What is given twice, chosen, put together, looped over, set by a function or deleted, though
    each is just now equal to a literal of the module; and what looks like a secret."""
    messages, uses = modules
    assert messages.TWICE == "given two times"

    assert named(constants, uses, "others_") == []


def test_a_name_that_is_set_from_outside_is_none(
    constants: ModuleConstants, modules: tuple[ModuleType, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is put there: it isn't what the module's code says."""
    messages, uses = modules
    monkeypatch.setattr(messages, "PLACED", "a token of somebody")

    assert named(constants, uses, "by_attribute") == ["order was\ntyped"]
    assert named(constants, uses, "by_import") == []


def test_a_module_of_many_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a byte can count: constants are told all the same."""
    lines = [f'M{n} = "message number {n} of many"' for n in range(700)]
    (tmp_path / "many_names.py").write_text("\n".join([*lines, "def use(): return M3, M699"]))
    monkeypatch.syspath_prepend(str(tmp_path))
    many = importlib.import_module("many_names")
    named_by = ModuleConstants(lambda text: text).named_by

    assert list(named_by(many.use.__code__, vars(many))) == [many.M3, many.M699]


@pytest.mark.parametrize("loader", ["None", "object()", "type('L', (), {'get_code': 1 / 1})()"])
def test_a_module_without_code_has_none(constants: ModuleConstants, loader: str) -> None:
    """Made by hand, frozen, or with a loader that can't say."""
    scope = {"__name__": f"made_{loader}", "__loader__": eval(loader), "__spec__": None}
    exec("M = 'order placed here'\ndef use(): return M", scope)

    assert list(constants.named_by(scope["use"].__code__, scope)) == []


def test_in_a_program(tmp_path: Path) -> None:
    """Of modules and the script itself: shown as templates, with arguments beside them. What is put
    together of a constant shows nothing of it."""
    (tmp_path / "messages.py").write_text(MESSAGES)
    (tmp_path / "script.py").write_text(
        CONFIGURED
        + """
import messages
WELCOME = "welcome %s"
OWN_KEY = "a key of many words"
log.info(WELCOME, "zara")
log.info(messages.PLACED)
messages.receive(sys.argv[1])
log.info(messages.GLOBAL)
log.info(f"signed with {messages.SIGNING_KEY}")
log.info(messages.SIGNING_KEY)
log.info(sys.argv[2])
"""
    )
    script = str(tmp_path / "script.py")
    found = run(command=[sys.executable, script, "token s3cr3t", "order placed"])

    assert not [*(tmp_path / "__pycache__").glob("script*")]
    assert [(line["m"], "dyn" in line) for line in found.lines()] == [
        ("welcome %s", False),
        ("order placed", False),
        ("<..>", True),
        ("signed with <..>", True),
        ("<..>", True),
        ("<..>", True),
    ]


def test_messages_of_celery() -> None:
    """What Celery says of its tasks stands at the top of its modules."""
    found = run(
        """
        from celery.app import trace
        def traced(context):
            trace.info(trace.LOG_SUCCESS, context)
        traced({"id": "1f0c", "name": "billing.charge", "runtime": 0.1, "return_value": "s3cr3t"})
        """
    )

    (line,) = found.lines()
    assert line["m"] == "Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s"
    assert "s3cr3t" not in str(line)
