"""`logging`, structlog and the interpreter's own output, each through the safe stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.logs.programs import CONFIGURED, Said, run

FORGED = '{"v":1,"c":"A","e":{"action":"user.forged","kind":"event"}}'
STRUCTLOG = (
    CONFIGURED
    + """
import structlog
from indelible.logs import structlog as safe
structlog.configure(**safe.settings())
log = structlog.get_logger()
"""
)
DICT_CONFIG = """
import logging, logging.config, os, signal, sys, threading, time
from indelible import logs
logging.config.dictConfig({
    "version": 1,
    "handlers": {"safe": {"class": "indelible.logs.Handler"}},
    "root": {"level": "INFO", "handlers": ["safe"]},
})
log = logging.getLogger("shop")
"""
FORMATTER = """
import logging, logging.config, os, signal, sys, threading, time
from indelible import logs
logging.config.dictConfig({
    "version": 1,
    "formatters": {"safe": {"()": "indelible.logs.Formatter"}},
    "handlers": {"kept": {"class": "logging.StreamHandler", "formatter": "safe"}},
    "root": {"level": "INFO", "handlers": ["kept"]},
})
log = logging.getLogger("shop")
"""
SET_UPS: dict[str, dict[str, Any]] = {
    "logging": {"configured": CONFIGURED},
    "dictConfig": {"configured": DICT_CONFIG},
    "structlog": {"configured": STRUCTLOG},
    "formatter": {"configured": FORMATTER, "signed": False, "is_text": True},
}
FIELDS = """
def FIELDS(given):
    if type(log).__module__.startswith("structlog"): return given
    if type(log) is logging.Logger: given.pop("name", None)  # a KeyError of its own
    return {"extra": given}
"""


@pytest.fixture(params=SET_UPS)
def set_up(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SET_UPS[request.param]


def printable(found: Said) -> bool:
    return all(0x20 <= byte <= 0x7E for frame in found.frames for byte in frame.json)


NASTY = "x\\n" + FORGED.replace('"', '\\"') + "\\n\\r\\x1b[31m\\x00\\x9b\\u202e\\u2028\\ud800\\x7f"


@pytest.mark.parametrize(
    "call",
    [
        f'log.info("{NASTY}")',
        f'log.info("%d" % 1 + "{NASTY}")',
        f'log.info("message", **FIELDS({{"name": "{NASTY}", "level": 1, "timestamp": 2, "v": 9}}))',
        f'log.info("message", **FIELDS({{"{NASTY}": 1}}))',
        f'log.info("message", **FIELDS({{"user": {{"level": "AUDIT", "{NASTY}": 1}}}}))',
    ],
)
def test_no_text_forges_a_line(set_up: dict[str, Any], call: str) -> None:
    """Line breaks, control characters, lone surrogates and names of ours: one line each, printable
    ASCII, in which our own names are ours."""
    found = run(FIELDS + call, **set_up)

    assert found.status == 0
    assert found.unsigned == []
    assert printable(found)
    (line,) = found.lines()
    assert (line["v"], line["c"], line["l"]) == (1, "L", "info")


@pytest.mark.parametrize(
    "call",
    [
        'log.info("user %s", Raises())',
        'log.info("user %d", "x")',
        'log.info("user %s %s", 1)',
        'log.info("user", 1, 2)',
        "log.info(Raises())",
        "log.info(b'bytes')",
        "log.info(None)",
        'log.info("%(a)s", {"a": "secret"})',
    ],
)
@pytest.mark.parametrize("by", ["logging", "dictConfig", "formatter"])
def test_no_call_raises_or_is_lost(by: str, call: str) -> None:
    """Arguments that don't fit, or whose `__str__` raises: a line all the same, and no more."""
    found = run(
        f"""
        class Raises:
            def __str__(self): raise RuntimeError("secret")
            __repr__ = __format__ = __str__
        {call}
        """,
        **SET_UPS[by],
    )

    assert found.status == 0
    assert found.unsigned == []
    assert len(found.lines()) == 1
    assert "secret" not in json.dumps(found.lines())


def test_extra_that_is_named_as_a_record_is() -> None:
    """`extra={"name": …}` is a KeyError in `logging`; here it is a field."""
    found = run('log.info("x", extra={"name": logs.Public("zara"), "message": 1, "msg": 2})')

    (line,) = found.lines()
    assert line["f"] == {"name": "zara", "message": "<int:1>", "msg": "<int:1>"}
    assert line["n"] == "shop"


FAILS = """
def fail(token):
    password = "hunter2" + token
    raise ValueError(f"the token {token} is wrong")
"""


@pytest.mark.parametrize(
    "raised",
    [
        "try:\n    fail(token)\nexcept ValueError:\n    log.exception('failed')",
        "fail(token)",
        "t = threading.Thread(target=fail, args=(token,)); t.start(); t.join()",
        "import asyncio\nasync def go(): asyncio.get_running_loop().call_soon(fail, token);"
        " await asyncio.sleep(0.05)\nasyncio.run(go())",
        "import asyncio, gc\nasync def bad(): fail(token)\n"
        "async def go():\n    asyncio.ensure_future(bad())\n    await asyncio.sleep(0.05)\n"
        "    gc.collect()\nasyncio.run(go())",
        "class Late:\n    def __del__(self): fail(token)\nx = Late(); del x",
    ],
    ids=["logged", "uncaught", "thread", "callback", "task", "unraisable"],
)
@pytest.mark.parametrize("by", ["logging", "dictConfig", "structlog"])
def test_an_exception_shows_neither_message_nor_locals(by: str, raised: str) -> None:
    """Caught or not, wherever it is raised: type, place, an id, of the message its own words."""
    found = run(FAILS + 'token = "".join(["s3", "cr3t"])\n' + raised, **SET_UPS[by])

    assert found.unsigned == []
    shown = [line["x"] for line in found.lines() if "x" in line]
    assert len(shown) == 1
    assert shown[0]["type"] == "ValueError"
    assert shown[0]["message"] == "the token <..> is wrong"
    assert shown[0]["frames"][-1].startswith("__main__:fail:")
    assert "s3cr3t" not in json.dumps(found.lines())
    assert "hunter2" not in json.dumps(found.lines())


def test_a_chain_and_a_group_are_shown() -> None:
    """The cause of an exception, and what is in a group."""
    found = run(
        """
        try:
            try:
                raise KeyError("secret")
            except KeyError as cause:
                raise ExceptionGroup("several", [ValueError("a"), OSError(5, "b")]) from cause
        except Exception:
            log.exception("failed")
        """
    )

    (line,) = found.lines()
    assert line["x"]["type"] == "ExceptionGroup"
    assert line["x"]["message"] == "several"
    assert line["x"]["cause"]["type"] == "KeyError"
    assert [each["type"] for each in line["x"]["exceptions"]] == ["ValueError", "OSError"]


def test_warnings_have_no_text() -> None:
    """A warning's text is put together of what went wrong; its kind and line are enough."""
    found = run('import warnings\nwarnings.warn("token " + "s3" + "cr3t")')

    (line,) = found.lines()
    assert line["f"] == {"warning": "<str:11>", "lineno": line["f"]["lineno"]}
    assert "s3cr3t" not in json.dumps(line)


def test_only_literals_are_messages() -> None:
    """A template stays one, its arguments stand beside it; what was put together is marked."""
    found = run(
        """
        name = "".join(["za", "ra"])
        log.info("welcome %s, visit %d", name, 3)
        log.info(f"welcome {name} again")
        """
    )

    first, second = found.lines()
    assert (first["m"], first["a"]) == ("welcome %s, visit %d", ["<str:4>", "<int:1>"])
    assert (second["m"], second["dyn"]) == ("welcome <..> again", True)


SILENCED = {
    "setLevel": "logging.root.setLevel(1000); log.setLevel(1000)",
    "disable": "logging.disable(1000)",
    "disabled": "log.disabled = True; logging.root.disabled = True",
    "propagate": "log.propagate = False",
    "filter on the logger": "log.addFilter(lambda record: False)",
    "filter on the handlers": "[h.addFilter(lambda r: False) for h in logging.root.handlers]",
    "no handlers": "logging.root.handlers.clear()",
    "basicConfig": "logging.basicConfig(force=True, stream=open(os.devnull, 'w'))",
    "dictConfig": "import logging.config; logging.config.dictConfig({'version': 1})",
    "handler level": "[h.setLevel(1000) for h in logging.root.handlers]",
    "raiseExceptions": "logging.raiseExceptions = False; logging.shutdown()",
    "a broken handler": "logging.root.addHandler(type('H', (logging.Handler,),"
    " {'emit': lambda self, record: 1 / 0})())",
    "a logger class": "logging.setLoggerClass(logging.Logger)",
}


@pytest.mark.parametrize("how", SILENCED)
def test_nothing_silences_an_audit_event(how: str) -> None:
    """The ways in which a level of `logging` is silenced by configuration or by a library: audit
    events come out all the same, through each of their doors."""
    found = run(
        f"""
        {SILENCED[how]}
        logs.audit("user.logged_in", details={{"by": "audit"}})
        log.audit("user.logged_in", details={{"by": "logger"}})
        log.log(logs.AUDIT, "user.logged_in", extra={{"by": "level"}})
        """
    )

    assert [event["details"]["by"] for event in found.events] == ["audit", "logger", "level"]


def test_what_is_bound_as_a_logger_is_not_asked() -> None:
    """A value whose `__str__` raises, in structlog's `logger`: a line all the same."""
    found = run(
        """
        class Raises:
            def __str__(self): raise RuntimeError
        log.info("x", logger=Raises())
        """,
        configured=STRUCTLOG,
    )

    assert (found.status, found.messages) == (0, ["x"])


def test_structlog_audits_beside_its_processors() -> None:
    """`log.audit` of a bound logger: what is bound is in its details, and no level hides it."""
    found = run(
        """
        structlog.configure(wrapper_class=safe.bound_logger(logging.CRITICAL), processors=[])
        structlog.get_logger().bind(route="x").audit("user.logged_in", by="structlog")
        """,
        configured=STRUCTLOG,
    )

    assert [event["details"] for event in found.events] == [{"route": "x", "by": "structlog"}]


def test_what_cannot_be_said_as_an_event_is_one() -> None:
    """An action that isn't one, or a value that no event holds, is an event that says so."""
    found = run(
        """
        log.log(logs.AUDIT, "not an action")
        log.log(logs.AUDIT, "user.logged_in", extra={"x": object()})
        class Raises:
            def __str__(self): raise RuntimeError
        log.log(logs.AUDIT, Raises())
        log.log(logs.AUDIT, "user.logged_in", extra={"changes": 7})
        """
    )

    assert found.status == 0
    assert [event["action"] for event in found.events] == ["audit.unreadable"] * 4
    assert "expected an action like" in found.events[0]["details"]["why"]


def test_an_audit_event_has_who_acts() -> None:
    """The actor and the circumstances of `acting_as`, with text of any alphabet."""
    found = run(
        """
        from indelible import Actor, Target, acting_as
        with acting_as(Actor("staff", "zoë"), reason="ticket 4411", request="r-1"):
            logs.audit("invoice.refund", target=Target("invoice", "93"), details={"note": "ü\\n"})
            log.info("refunded")
        """
    )

    (event,) = found.events
    (line,) = found.lines()
    assert event["actor"] == {"kind": "staff", "id": "zoë"}
    assert event["targets"] == [{"kind": "invoice", "ids": [["93"]]}]
    assert event["details"] == {"note": "ü\n"}
    assert line["by"].startswith("~")
    assert line["request"] == "r-1"


def test_without_a_tee_an_audit_event_gives_nothing_away() -> None:
    """A stream that nobody tees is an application log: that something happened stands there, and
    not to whom."""
    found = run(
        'logs.audit("user.logged_in", details={"x": "s3cr3t"}); log.info("x")', signed=False
    )

    assert json.loads(found.unsigned[0].text) == {
        "v": 1,
        "c": "A",
        "unkept": "user.logged_in",
    }
    assert b"s3cr3t" not in b"".join(each.text for each in found.unsigned)


def test_loguru_through_its_sink() -> None:
    """loguru's messages are put together before a sink sees them: only what its caller wrote is
    shown; fields are judged, an exception has neither message nor locals, and AUDIT is kept."""
    found = run(
        """
        from loguru import logger
        from indelible.logs.loguru import sink
        logger.remove(); logger.add(sink, level=0, diagnose=True, backtrace=True)
        token = "".join(["s3", "cr3t"])
        logger.info("plain", status=200)
        logger.bind(user=token).info("user {} came", token)
        try:
            raise ValueError("bad " + token)
        except ValueError:
            logger.exception("failed")
        logger.bind(details={"x": 1}).log(60, "user.logged_in")
        """
    )

    plain, put_together, failed = found.lines()
    assert (plain["m"], plain["f"]) == ("plain", {"status": 200})
    assert (put_together["m"], put_together["f"]) == ("user <..> came", {"user": "<str:6>"})
    assert failed["x"]["message"] == "bad <..>"
    assert "s3cr3t" not in json.dumps(found.lines())
    assert [event["action"] for event in found.events] == ["user.logged_in"]
    assert found.unsigned == []


def test_uvicorn_with_our_configuration() -> None:
    """A real uvicorn under `dict_config()`: who called which path is withheld, method and status
    are shown, and an exception of the application's is no more than its type and place."""
    found = run(
        """
        import urllib.request, uvicorn
        async def app(scope, receive, send):
            if scope["type"] != "http": return
            if scope["path"].endswith("crash"): raise ValueError("token " + scope["path"])
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
        config = uvicorn.Config(app, port=0, log_config=logs.dict_config(), lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run); thread.start()
        while not server.started: time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        for path in ("reset/s3cr3t?key=s3cr3t", "s3cr3t/crash"):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}")
            except urllib.error.HTTPError as error:
                error.close()
        server.should_exit = True; thread.join()
        """
    )

    access = [line["a"] for line in found.lines() if line["n"] == "uvicorn.access"]
    assert [(each["method"], each["status_code"]) for each in access] == [
        ("GET", 204),
        ("GET", 500),
    ]
    assert all(each["path"].startswith("<str:") for each in access)
    assert [line["x"]["type"] for line in found.lines() if "x" in line] == ["ValueError"]
    assert "s3cr3t" not in json.dumps(found.lines())
    assert found.unsigned == []
