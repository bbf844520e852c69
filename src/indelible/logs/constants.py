"""Messages that stand at the top of a module: `WELCOME = "welcome %s"`, logged as `WELCOME` or as
`messages.WELCOME`.

A name is such a constant if its module's code gives it a literal, once, and nothing else in that
code gives it something: no second assignment, no choice between values, no `global`. And what it
names now must still be equal to that literal, so that whoever sets it from outside makes it a text
like any other. A text that came from outside would have to be what the author wrote, and to be that
very object.

Secrets stand at the top of modules, too. So a text counts only if it has the looks of a message,
two words or more, and the scrubber finds nothing in `NAME = "text"`.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from types import CodeType, ModuleType
from typing import Any, Final, NamedTuple

_MAX_MODULES: Final = 1_024
_MAX_SCOPES: Final = 16
_MAX_NAMES: Final = 512
_MAX_HOPS: Final = 4
_WORD: Final = re.compile(r"[^\W\d_]{2,}")


class _Import(NamedTuple):
    """`from module import name`."""

    module: str
    name: str


_Scope = dict[str, Any]


class ModuleConstants:
    """Which texts that code names are constants of modules. Safe for threads; never raises."""

    def __init__(self, scrub: Callable[[str], str]) -> None:
        self._scrub = scrub
        self._modules: dict[str, dict[str, str | _Import | None]] = {}

    def named_by(self, code: CodeType, scope: _Scope) -> Iterator[str]:
        """The texts that `code` names, in its module (whose globals `scope` are) or in one that it
        names: those very objects."""
        scopes = [scope]
        for each in scopes:
            for name in code.co_names[:_MAX_NAMES]:
                value = each.get(name)
                if type(value) is str:
                    if self._is_constant(each, name, value, _MAX_HOPS):
                        yield value
                elif (
                    type(value) is ModuleType
                    and len(scopes) < _MAX_SCOPES
                    and not any(known is vars(value) for known in scopes)
                ):
                    scopes.append(vars(value))

    def _is_constant(self, scope: _Scope, name: str, value: str, hops: int) -> bool:
        given = self._given_in(scope).get(name)
        if isinstance(given, _Import):
            found = sys.modules.get(given.module)
            return (
                hops > 0
                and type(found) is ModuleType
                and vars(found).get(given.name) is value
                and self._is_constant(vars(found), given.name, value, hops - 1)
            )
        return given == value and self._is_message(name, value)

    def _is_message(self, name: str, value: str) -> bool:
        text = f'{name} = "{value}"'
        return (
            len(value.split()) > 1 and len(_WORD.findall(value)) > 1 and self._scrub(text) == text
        )

    def _given_in(self, scope: _Scope) -> dict[str, str | _Import | None]:
        name = scope.get("__name__")
        if type(name) is not str:
            return {}
        found = self._modules.get(name)
        if found is None:
            if len(self._modules) >= _MAX_MODULES:
                self._modules.clear()
            try:
                code = _code_of(name, scope)
                found = {} if code is None else _given_by(code, scope.get("__package__") or "")
            except Exception:  # noqa: BLE001 - loaders are anybody's; a line is logged all the same
                found = {}
            self._modules[name] = found
        return found


def _code_of(name: str, scope: _Scope) -> CodeType | None:
    """A module's code, as its loader has it; None where there is none."""
    spec = scope.get("__spec__")
    loader: Any = scope.get("__loader__") if spec is None else spec.loader
    if name == "__main__":
        # What was started as a script; `get_code` would write a file of its bytecode.
        path = scope.get("__file__")
        if not isinstance(loader, importlib.machinery.SourceFileLoader) or type(path) is not str:
            return None
        return loader.source_to_code(loader.get_data(path), path)
    made: object = loader.get_code(name) if hasattr(loader, "get_code") else None
    return made if isinstance(made, CodeType) else None


def _given_by(module: CodeType, package: str) -> dict[str, str | _Import | None]:
    """What the top of a module gives its names: a literal text, something imported, or None for
    all else and for what is given twice."""
    import dis

    given: dict[str, str | _Import | None] = {}
    loaded: list[Any] = []
    module_name = ""
    last: str | _Import | None = None
    for step in dis.get_instructions(module):
        if step.is_jump_target:
            last = None  # it may come from elsewhere, with another value
        match step.opname:
            case "EXTENDED_ARG" | "CACHE" | "NOP":
                continue
            case "LOAD_CONST" | "LOAD_SMALL_INT":
                loaded = [*loaded[-1:], step.argval]
                last = step.argval if type(step.argval) is str else None
                continue
            case "IMPORT_NAME":
                level = loaded[0] if len(loaded) == 2 else 0
                module_name = _absolute(step.argval, level, package)
            case "IMPORT_FROM":
                last = _Import(module_name, step.argval)
                continue
            case "STORE_NAME" | "STORE_GLOBAL":
                given[step.argval] = None if step.argval in given else last
            case "DELETE_NAME" | "DELETE_GLOBAL":
                given[step.argval] = None
        last = None
    for name in _given_inside(module):
        given[name] = None
    return given


def _absolute(name: str, level: object, package: str) -> str:
    if type(level) is not int or level == 0:
        return name
    return importlib.util.resolve_name("." * level + name, package)


def _given_inside(module: CodeType) -> Iterator[str]:
    """The names of the module that its functions and classes give something, by `global`."""
    import dis

    waiting = [each for each in module.co_consts if isinstance(each, CodeType)]
    for code in waiting:
        waiting.extend(each for each in code.co_consts if isinstance(each, CodeType))
        steps = code.co_code[::2]
        if any(dis.opmap[name] in steps for name in ("STORE_GLOBAL", "DELETE_GLOBAL")):
            for step in dis.get_instructions(code):
                if step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                    yield step.argval
