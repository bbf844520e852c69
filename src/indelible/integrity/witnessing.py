"""Has a trail's checkpoints cosigned while it is led, beside the sequencer and never in its way.

Each witness is asked by itself, for the checkpoint that is stored then: whenever there is a newer
one, and after `refresh_s`, so that a trail that is idle isn't taken for one that is dead. One that
is slow or fails holds up no other.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from indelible.errors import (
    ConfigurationError,
    DeliveryError,
    IndelibleError,
    VerificationError,
)
from indelible.integrity.asking import Answers, Asked
from indelible.integrity.faults import CONTRADICTED, ContradictedError
from indelible.integrity.key_ring import CheckpointSigner
from indelible.integrity.rotations import check_listed, keys_of, open_by
from indelible.integrity.witness_client import Cosigned, SignedCheckpoint, WitnessClient
from indelible.policy.model import WitnessSettings
from indelible.store.protocol import TrailStore
from indelible.tlog import (
    EMPTY_ROOT,
    Checkpoint,
    QuorumError,
    Size,
    TrustPolicy,
    verify_beginning,
)

_log = logging.getLogger(__name__)

_ASK_S: Final = 0.05
"""No witness is asked more often, however fast checkpoints come, unless somebody waits for it."""
_LOOK_S: Final = 0.5
_FINISH_LOOK_S: Final = 0.01
_RETRY_MAX_S: Final = 30.0


class Witnessing:
    """One trail and the witnesses of its trust policy that have a URL.

    `check` before anything is signed; `start` and `stop` around the time in which this process
    leads, `wake` when a checkpoint was stored. What a witness knows that contradicts this trail
    is given to `on_contradiction`, from a thread, once; each witness's first is also a `notice`.
    """

    def __init__(
        self,
        store: TrailStore,
        signer: CheckpointSigner,
        trust: TrustPolicy,
        settings: WitnessSettings,
        *,
        notice: Callable[[str, str], None] = lambda action, message: None,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Raises `ConfigurationError` where no witness can be asked, or the policy isn't about
        this trail.
        """
        self._store = store
        self._signer = signer
        self._trust = trust
        self._settings = settings
        self._notice = notice
        self._monotonic = monotonic
        self._jitter = jitter
        try:
            check_listed(trust, keys_of(signer))
        except QuorumError as error:
            raise ConfigurationError(f"{settings.policy}: {error}") from None
        cosigned = {row.vkey: row.size for row in store.witnesses()}
        self._asked = [
            _Asked(
                WitnessClient(
                    witness,
                    functools.partial(keys_of, signer),
                    store,
                    deadline_s=settings.deadline_s,
                    known=cosigned.get(str(witness.key), Size(0)),
                )
            )
            for witness in trust.witnesses
            if witness.url is not None
        ]
        if not self._asked:
            raise ConfigurationError(
                f"{settings.policy}: expected a witness with a URL, there is none to ask"
            )
        self._on_contradiction: Callable[[ContradictedError], None] = lambda error: None
        self._answers: Answers[_Asked, Cosigned] = Answers()
        self._is_stopping = False
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._counting = threading.Lock()
        self._waiting = 0

    def check(self, renew: Callable[[], None]) -> None:
        """Ask every witness what it knows; return if none contradicts this trail.

        Waits until a quorum has cosigned the last checkpoint once more, or the deadline is over;
        who hasn't answered by then is asked again later. Raises `ContradictedError` where a larger
        or another tree is known, another `VerificationError` where what is to be signed isn't a
        continuation of the last signed checkpoint, `DeliveryError` when it is closed meanwhile,
        and what `renew` raises, which is called while it waits.
        """
        for each in self._asked:
            each.forget()
        signed = self._last_signed()
        self._check_continued(signed.checkpoint)
        self._ask_due(signed)
        while any(each.is_asked for each in self._asked) and not self._is_quorum():
            self._take_news(self._until_next(signed))
            renew()
            if self._is_closed:
                raise DeliveryError("closed before the witnesses had answered")
        contradiction = self._contradiction()
        if contradiction is not None:
            raise contradiction

    def start(self, on_contradiction: Callable[[ContradictedError], None]) -> None:
        """Ask in a thread from now on, unless it is closed."""
        if self._is_closed:
            return
        self._on_contradiction = on_contradiction
        self._is_stopping = False
        # Known when it runs: `stop` may come from another thread meanwhile, and joins it.
        thread = threading.Thread(target=self._run, name="indelible-witnessing", daemon=True)
        thread.start()
        self._thread = thread

    def wake(self) -> None:
        """A checkpoint was stored. Returns at once."""
        self._answers.wake()

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """Meanwhile each witness is asked again as soon as it has answered."""
        with self._counting:
            self._waiting += 1
        if self._thread is not None:
            self.wake()
        try:
            yield
        finally:
            with self._counting:
                self._waiting -= 1

    def stop(self) -> None:
        """Ask no more; what is on its way is left to itself."""
        thread, self._thread = self._thread, None
        self._is_stopping = True
        self._answers.wake()
        if thread is not None:
            thread.join()

    def finish(self, timeout_s: float) -> None:
        """Wait so long for every witness to have answered, or failed, for what is stored now."""
        ends = self._monotonic() + timeout_s
        while self._monotonic() < ends and self._thread is not None and self._thread.is_alive():
            signed = self._last_signed()
            now = self._monotonic()
            is_signed = signed.checkpoint.size == self._store.size
            if is_signed and all(
                each.is_settled(signed, now, self._pause_s) for each in self._asked
            ):
                return
            time.sleep(_FINISH_LOOK_S)

    def close(self) -> None:
        """Ask no more for good, and wait for nobody."""
        self._is_closed = True
        self.stop()

    # -- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                signed = self._last_signed()
                self._ask_due(signed)
                self._take_news(self._until_next(signed))
                contradiction = self._contradiction()
                if contradiction is not None:
                    self._on_contradiction(contradiction)
                    return
                continue
            except VerificationError:
                _log.critical("the stored checkpoint doesn't verify", exc_info=True)
            except IndelibleError as error:
                _log.warning("witnesses not asked: %s", error)
            except Exception:  # noqa: BLE001 - the outermost frame of a thread
                _log.exception("asking the witnesses")
            time.sleep(_LOOK_S)

    def _last_signed(self) -> SignedCheckpoint:
        """The stored checkpoint; before the first, that of the empty trail."""
        note = self._store.state().checkpoint
        if note is None:
            empty = Checkpoint(origin=self._store.origin, size=Size(0), root=EMPTY_ROOT)
            return SignedCheckpoint(empty, self._signer.sign(empty, self._store))
        opened = open_by(note, self._store.origin, keys_of(self._signer))
        return SignedCheckpoint(opened.checkpoint, note)

    def _check_continued(self, signed: Checkpoint) -> None:
        """A crash may have left a root that isn't signed; it must be a continuation."""
        state = self._store.state()
        verify_beginning(
            self._store,
            old=signed.size,
            old_root=signed.root,
            new=state.size,
            new_root=state.root,
        )

    # -- asking ---------------------------------------------------------------------------------

    @property
    def _pause_s(self) -> float:
        return 0.0 if self._waiting else _ASK_S

    def _ask_due(self, signed: SignedCheckpoint) -> None:
        now = self._monotonic()
        for each in self._asked:
            if each.due_at(signed, self._pause_s) <= now:
                each.asks_for(signed, now)
                # A little longer than it takes by itself: looking a name up has no deadline.
                late_at = now + self._settings.deadline_s + 0.5
                cosign = functools.partial(each.client.cosign, signed)
                self._answers.ask(each, cosign, late_at, name="witness")

    def _until_next(self, signed: SignedCheckpoint) -> float:
        """Seconds until somebody is due, or late."""
        next_at = min(min(each.due_at(signed, self._pause_s), each.late_at) for each in self._asked)
        return min(_LOOK_S, max(0.0, next_at - self._monotonic()))

    def _take_news(self, timeout_s: float) -> None:
        """Keep each answer that has come, and that none has; wait so long for the first."""
        for answer in self._answers.take(timeout_s):
            self._keep(answer.asked, answer.result)
        for each in self._asked:
            if each.late_at <= self._monotonic():
                late = DeliveryError(f"no answer within {self._settings.deadline_s:g} s")
                self._keep(each, late)

    def _keep(self, each: _Asked, result: Cosigned | IndelibleError) -> None:
        signed = each.signed
        vkey = str(each.client.witness.key)
        now = self._monotonic()
        if isinstance(result, Cosigned):
            # Kept before it counts: what can't be kept is asked for again.
            self._store.store_cosignature(vkey, result.note, signed.checkpoint.size, result.time)
            each.succeeded(now + self._settings.refresh_s)
            return
        if isinstance(result, ContradictedError) and self._is_behind(signed):
            # Another process led meanwhile, and has had a later checkpoint cosigned.
            each.ask_again()
            return
        each.failed(result, now, self._jitter())
        contradicts = isinstance(result, ContradictedError)
        said = result.why if isinstance(result, ContradictedError) else str(result)
        name = each.client.witness.key.name
        if contradicts and not self._is_known_to_contradict(vkey):
            # An entry of whatever trail goes on from here, once.
            self._notice(CONTRADICTED, f"witness {name} contradicts {self._store.origin}: {said}")
        self._store.store_witness_fault(vkey, said, contradicts=contradicts)
        _log.warning("not cosigned by %s: %s", name, said)

    def _is_known_to_contradict(self, vkey: str) -> bool:
        return any(row.vkey == vkey and row.contradicts for row in self._store.witnesses())

    def _is_behind(self, signed: SignedCheckpoint) -> bool:
        return self._last_signed().checkpoint.size > signed.checkpoint.size

    def _contradiction(self) -> ContradictedError | None:
        """What forbids signing: a proof, or a claim that the others don't outvote.

        One witness that only says so can't stop a trail of which the rest are a quorum: what they
        cosigned is the one tree that anybody accepts.
        """
        found = [each.contradiction for each in self._asked if each.contradiction is not None]
        if not found:
            return None
        proven = [each for each in found if each.is_proven]
        return None if not proven and self._is_quorum() else (proven or found)[0]

    def _is_quorum(self) -> bool:
        """Whether those who cosigned when they were last asked are as many as the policy wants."""
        if self._trust.quorum is None:
            return False
        try:
            self._trust.check_quorum(
                each.client.witness.key for each in self._asked if each.has_cosigned
            )
        except QuorumError:
            return False
        return True


class _Asked(Asked):
    """What is remembered of one witness."""

    signed: SignedCheckpoint
    """What it was last asked for."""

    def __init__(self, client: WitnessClient) -> None:
        super().__init__()
        self.client = client
        self.forget()

    def forget(self) -> None:
        self.succeed()
        self.has_cosigned = False
        """When it was last asked."""
        self.contradiction: ContradictedError | None = None
        self._started_at = -math.inf
        self._not_before = 0.0
        self._refresh_at = 0.0
        self._note = b""

    def due_at(self, signed: SignedCheckpoint, pause_s: float) -> float:
        """When it is to be asked, so long behind the last time; not while it is being asked."""
        if not self.is_free:
            return math.inf
        if self.has_cosigned and self._note == signed.note:
            return self._refresh_at
        return max(self._not_before, self._started_at + pause_s)

    def is_settled(self, signed: SignedCheckpoint, now: float, pause_s: float) -> bool:
        """Whether it has cosigned this, or failed and is to be left alone for now."""
        if self.is_asked:
            return False
        return (
            self._note == signed.note if self.has_cosigned else self.due_at(signed, pause_s) > now
        )

    def asks_for(self, signed: SignedCheckpoint, now: float) -> None:
        self.signed, self._started_at = signed, now

    def succeeded(self, refresh_at: float) -> None:
        self.succeed()
        self.has_cosigned, self.contradiction = True, None
        self._note, self._refresh_at = self.signed.note, refresh_at

    def failed(self, error: IndelibleError, now: float, jitter: float) -> None:
        self._not_before = now + self.fail(_RETRY_MAX_S, jitter)
        self.has_cosigned = False
        self.contradiction = error if isinstance(error, ContradictedError) else None

    def ask_again(self) -> None:
        """At once."""
        self.end()
        self.has_cosigned, self._not_before, self._started_at = False, 0.0, -math.inf
