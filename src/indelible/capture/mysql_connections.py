"""What PyMySQL's and mysqlclient's connections do under capture, over the drivers' own classes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

from indelible.capture.access import Access
from indelible.capture.host import CaptureHost
from indelible.capture.kept import class_kept_with
from indelible.capture.mariadb.statements import ConnectionStatements, ServerCapture
from indelible.capture.mariadb.transaction import WritingTransaction
from indelible.capture.mariadb.wires import Wire

T = TypeVar("T")


def class_for(trail: CaptureHost, base: type[T]) -> type[T]:
    """The class of `base`'s connections that are captured into `trail`, always the same one.

    Raises `CaptureError` where the trail's configuration names no such server.
    """
    return class_kept_with(trail, base, ServerCapture)


class CapturedConnection:
    """Stands before a driver's class of connections: tells who acts and records what is read."""

    encoding: str
    _server: ClassVar[ServerCapture]
    _captured: ConnectionStatements | None = None
    _is_inside = False

    def _wire(self) -> Wire:
        raise NotImplementedError

    @property
    def captured(self) -> ConnectionStatements:
        """What is captured of this connection."""
        if self._captured is None:
            self._captured = self._server.statements(self._wire())
        return self._captured

    @property
    def context(self) -> WritingTransaction:
        """Where `trail.record(..., on=connection)` puts an event."""
        return self.captured.transaction

    def run_unseen(self, text: Any, run: Callable[[], T]) -> T:
        """What `run` returns, which runs `text`: who acts is told, its rows are by statement."""
        given: list[T] = []
        self.run_captured(text, None, lambda *_: given.append(run()), is_seen=False)
        return given[0]

    def run_captured(
        self, text: Any, parameters: Any, run: Callable[[str, Any], object], *, is_seen: bool
    ) -> Access | None:
        """Run `text`, or what takes its place, by way of `run`."""

        def run_inside(own: str, values: Any) -> None:
            with self.inside():
                run(own, values)

        captured = self.captured
        if isinstance(text, bytes | bytearray):
            text, is_seen = text.decode(self.encoding, "replace"), False
        try:
            return captured.run(text, parameters, run_inside, is_seen=is_seen)
        finally:
            captured.ran()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """What is sent in here is seen already, or capture's own."""
        before, self._is_inside = self._is_inside, True
        try:
            yield
        finally:
            self._is_inside = before

    def commit(self) -> None:
        self._ends()
        super().commit()  # type: ignore[misc]

    def rollback(self) -> None:
        self._ends()
        super().rollback()  # type: ignore[misc]

    def begin(self) -> None:
        self._ends()
        super().begin()  # type: ignore[misc]

    def autocommit(self, *args: Any, **kwargs: Any) -> None:
        if self._captured is not None and [*args, *kwargs.values()] != [self.get_autocommit()]:  # type: ignore[attr-defined]
            self._ends()
        super().autocommit(*args, **kwargs)  # type: ignore[misc]

    def select_db(self, *args: Any, **kwargs: Any) -> None:
        super().select_db(*args, **kwargs)  # type: ignore[misc]
        if self._captured is not None:
            self._captured.reads.names_changed()

    def close(self) -> None:
        self._check_in()
        super().close()  # type: ignore[misc]

    def _ends(self) -> None:
        if self._captured is not None:
            self._captured.ends()

    def _check_in(self) -> None:
        if self._captured is not None:
            self._captured.check_in()

    def _begins_anew(self) -> None:
        """Nothing of the old session holds any more."""
        self._check_in()
        self._captured = None
