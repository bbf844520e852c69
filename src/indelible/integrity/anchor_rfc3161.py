"""An anchor that is a timestamp authority (RFC 3161): it signs when a checkpoint was there.

Each token is kept beside the trail, with the checkpoint that it is over: two files, which
`openssl ts -verify -in FILE.tsr -data FILE.checkpoint -CAfile …` checks without us.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509

from indelible.durable import replace_whole
from indelible.errors import ConfigurationError, DeliveryError
from indelible.integrity.anchors import Held, ReadBack, Receipt, held_in
from indelible.integrity.faults import AnchorMismatchError
from indelible.integrity.http_exchange import exchange
from indelible.policy.anchors import Rfc3161Settings
from indelible.store.protocol import AnchorRow
from indelible.tlog import MAX_NOTE_BYTES, Checkpoint

try:
    import rfc3161_client
except ImportError:
    raise ConfigurationError(
        "an anchor of kind rfc3161 needs rfc3161-client: pip install 'indelible[anchors]'"
    ) from None

_QUERY: Final = "application/timestamp-query"
_MAX_ANSWER_BYTES: Final = 1 << 16
_TOKEN, _NOTE = ".tsr", ".checkpoint"


class _InvalidTokenError(Exception):
    """Says what is wrong with a token."""


class Rfc3161Anchor:
    """Implements `indelible.integrity.anchors.Anchor`; `folder` is where tokens are kept."""

    kind = "rfc3161"
    is_outside = True

    def __init__(self, settings: Rfc3161Settings, folder: Path) -> None:
        """Raises `ConfigurationError` for a file of certificates that can't be read."""
        self.name = settings.name
        self._settings = settings
        self._folder = folder
        try:
            self._roots = x509.load_pem_x509_certificates(settings.ca_file.read_bytes())
        except OSError as error:
            raise ConfigurationError(
                f"[anchors.{self.name}] ca_file: expected certificates at {settings.ca_file}: "
                f"{error.strerror}"
            ) from None
        except ValueError:
            raise ConfigurationError(
                f"[anchors.{self.name}] ca_file: expected certificates (PEM) in "
                f"{settings.ca_file}, came something else"
            ) from None

    def keep(self, note: bytes, checkpoint: Checkpoint, last: AnchorRow | None) -> Receipt:
        request = rfc3161_client.TimestampRequestBuilder(
            data=note, hash_algorithm=rfc3161_client.base.HashAlgorithm.SHA256
        ).build()
        answer = exchange(
            "POST",
            self._settings.url,
            deadline_s=self._settings.deadline_s,
            max_bytes=_MAX_ANSWER_BYTES,
            body=request.as_bytes(),
            content_type=_QUERY,
        )
        if answer.status != 200:
            raise DeliveryError(f"expected a timestamp, came status {answer.status}")
        try:
            time = self._checked(answer.body, note, nonce=request.nonce)
        except _InvalidTokenError as error:
            raise DeliveryError(
                f"its answer isn't a timestamp of this checkpoint: {error}"
            ) from None
        self._store(note, checkpoint, answer.body)
        return Receipt(time, answer.body, outside=True)

    def read_back(self, last: AnchorRow | None, *, whole: bool = True) -> ReadBack:
        kept = self._kept()
        if not whole:
            return ReadBack([self._held(path) for path in kept[-1:]], "")
        times = []
        held = []
        for path in kept:
            times.append(self._check(path.name, _read(path), _read(path.with_suffix(_NOTE))))
            held.append(self._held(path))
        if last is not None and last.note is not None:
            times.append(self._check("the trail's own", last.receipt, last.note))
        if not times:
            return ReadBack([], "no timestamp yet")
        first, newest = min(times), max(times)
        count = len(kept) or 1
        what = "timestamp" if count == 1 else "timestamps"
        shown = f"{count} {what} that {self._settings.ca_file.name} vouches for"
        if count > 1:
            shown += f", the first of {_shown(first)}"
        return ReadBack(held, shown, newest)

    def _checked(self, token: bytes, note: bytes, *, nonce: int | None) -> int:
        """When it says that this note was there, as a POSIX second.

        Its certificates have to be valid then, not now. Raises `_InvalidTokenError`.
        """
        try:
            response = rfc3161_client.decode_timestamp_response(token)
            verifier = rfc3161_client.VerifierBuilder(roots=list(self._roots), nonce=nonce).build()
            verifier.verify_message(response, note)
            return int(response.tst_info.gen_time.timestamp())
        except (rfc3161_client.VerificationError, ValueError, TypeError, OverflowError) as error:
            raise _InvalidTokenError(str(error) or type(error).__name__) from None

    def _check(self, what: str, token: bytes, note: bytes) -> int:
        try:
            return self._checked(token, note, nonce=None)
        except _InvalidTokenError as error:
            raise AnchorMismatchError(
                self.name, f"{what}: expected a timestamp of its checkpoint: {error}"
            ) from None

    def _kept(self) -> list[Path]:
        """Every token, by the size of its tree."""
        try:
            return sorted(path for path in self._folder.iterdir() if path.suffix == _TOKEN)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DeliveryError(f"can't read {self._folder}: {error.strerror}") from None

    def _held(self, path: Path) -> Held:
        note = _read(path.with_suffix(_NOTE))
        # Whose it is is for the signature to say: the folder is this trail's own.
        held = held_in(note, note.partition(b"\n")[0].decode("utf-8", "replace"))
        if held is None:
            raise AnchorMismatchError(
                self.name,
                f"{path.with_suffix(_NOTE).name}: expected a checkpoint, came other bytes",
            )
        return held

    def _store(self, note: bytes, checkpoint: Checkpoint, token: bytes) -> None:
        """Both files durably, the token last. By their content, so that none is ever replaced."""
        name = f"{checkpoint.size:020d}-{sha256(note + token).hexdigest()[:16]}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for suffix, content in ((_NOTE, note), (_TOKEN, token)):
                replace_whole(self._folder / f"{name}{suffix}", content)
        except OSError as error:
            raise DeliveryError(f"can't write to {self._folder}: {error.strerror}") from None


def _read(path: Path) -> bytes:
    """No more of it than a checkpoint or a token has."""
    try:
        with path.open("rb") as file:
            return file.read(max(_MAX_ANSWER_BYTES, MAX_NOTE_BYTES) + 1)
    except OSError as error:
        raise DeliveryError(f"can't read {path}: {error.strerror}") from None


def _shown(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%SZ}"
