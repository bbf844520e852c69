"""What is wrong with the tlogs that a witness knows, and saying so: to cron, or to a webhook."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from indelible.errors import DeliveryError
from indelible.integrity.http_exchange import exchange
from indelible.integrity.witness import Witness
from indelible.integrity.witness_file import Refused, WitnessedTlog

_log = logging.getLogger(__name__)

ALARM_AFTER_S: Final = 300
_WEBHOOK_S: Final = 10.0
_MAX_ANSWER_BYTES: Final = 64 * 1024


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong: `silent`, `another tree` (two signed checkpoints of one size, which
    prove it) or `not proven` (a signed checkpoint that nobody proved to continue what was
    cosigned). The checkpoints are signed notes.
    """

    origin: str
    what: str
    message: str
    known: str | None = None
    offered: str | None = None


def alarms(witness: Witness, *, now: int, after_s: int = ALARM_AFTER_S) -> list[Alarm]:
    """All that is wrong at `now` (POSIX seconds), by origin; what was acknowledged left out."""
    found = [
        _silent(tlog, now)
        for tlog in witness.file.tlogs()
        if tlog.retired is None and not -after_s <= now - tlog.heard <= after_s
    ]
    found += [_refused(each) for each in witness.file.refused() if each.acknowledged is None]
    return sorted(found, key=lambda alarm: alarm.origin)


def _silent(tlog: WitnessedTlog, now: int) -> Alarm:
    if tlog.heard > now:
        message = f"cosigned {tlog.heard - now} s in the future: a clock went backwards"
    elif tlog.checkpoint is None:
        message = f"nothing was heard of it since it was added, {now - tlog.heard} s ago"
    else:
        message = f"nothing was heard of it for {now - tlog.heard} s, since its size {tlog.size}"
    return Alarm(origin=tlog.origin, what="silent", message=message, known=_text(tlog.checkpoint))


def _refused(refused: Refused) -> Alarm:
    if refused.proven:
        what = "another tree"
        message = f"its key signed two different trees of size {refused.size}"
    else:
        what = "not proven"
        message = (
            f"its key signed a tree of size {refused.size} that wasn't proven to continue ours"
        )
    return Alarm(
        origin=refused.origin,
        what=what,
        message=message,
        known=_text(refused.known),
        offered=_text(refused.offered),
    )


def _text(note: bytes | None) -> str | None:
    return None if note is None else note.decode("utf-8", "backslashreplace")


class AlarmBell:
    """Looks every `look_s` and tells a webhook: when an alarm begins, and when it is over.

    A POST of JSON `{"witness", "text", "begun": […], "over": […]}`, at least once: until the
    webhook answers with 2xx the same is told again. A witness that starts anew tells what is wrong
    then.
    """

    def __init__(
        self,
        witness: Witness,
        webhook: str,
        *,
        clock: Callable[[], int],
        after_s: int = ALARM_AFTER_S,
        look_s: float = 1.0,
    ) -> None:
        self._witness = witness
        self._webhook = webhook
        self._clock = clock
        self._after_s = after_s
        self._look_s = look_s
        self._told: dict[tuple[str, str, str | None], Alarm] = {}
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="indelible-alarm", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_stopping.wait(self._look_s):
            try:
                self._look()
            except DeliveryError as error:
                _log.warning("alarm not told yet: %s", error)
            except Exception:  # noqa: BLE001 - the outermost frame of a thread
                _log.exception("looking for alarms")

    def _look(self) -> None:
        now = {
            (alarm.origin, alarm.what, alarm.offered): alarm
            for alarm in alarms(self._witness, now=self._clock(), after_s=self._after_s)
        }
        begun = [alarm for key, alarm in now.items() if key not in self._told]
        over = [alarm for key, alarm in self._told.items() if key not in now]
        if begun or over:
            self._tell(begun, over)
            self._told = now

    def _tell(self, begun: Sequence[Alarm], over: Sequence[Alarm]) -> None:
        name = self._witness.verifier_key.name
        lines = [f"{alarm.origin}: {alarm.what}: {alarm.message}" for alarm in begun]
        lines += [f"{alarm.origin}: {alarm.what}: over" for alarm in over]
        told = {"witness": name, "text": "\n".join(lines), "begun": begun, "over": over}
        answer = exchange(
            "POST",
            self._webhook,
            deadline_s=_WEBHOOK_S,
            max_bytes=_MAX_ANSWER_BYTES,
            body=msgspec.json.encode(told),
            content_type="application/json",
        )
        if not 200 <= answer.status < 300:
            raise DeliveryError(f"expected a 2xx of the webhook, came {answer.status}")
