"""Where witnesses are to cosign, nothing is sealed that no quorum has."""

from __future__ import annotations

from pathlib import Path

from tests.integrity.witnessed import Operated, policy_of, record, wait_until_witnessed
from tests.integrity.witnesses import WitnessProcess, running

FUTURE = "2100-01-01"


def test_only_what_a_quorum_has_cosigned_is_sealed(tmp_path: Path) -> None:
    """While the witness is away nothing is; once it has cosigned, what it has."""
    witness = WitnessProcess(tmp_path / "w", "witness.example/w")
    operated = Operated(tmp_path / "trail", policy_of([witness], 1))
    witness.add(operated.key)
    with operated.open() as trail:
        record(trail, 300)
        assert list(trail.seal(before=FUTURE, only_full=False)) == []
        with running(witness):
            wait_until_witnessed(trail)
        cosigned = int(trail.reader.size)
        record(trail, 300)
        (segment,) = trail.seal(before=FUTURE, only_full=False)
        assert segment.last == cosigned // 256 * 256 - 1
        assert list(trail.seal(before=FUTURE, only_full=False)) == []
