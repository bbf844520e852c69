"""Each thing that goes wrong is told with its figure, and nothing else is said to be wrong."""

from __future__ import annotations

import re

import pytest

from indelible.policy.promises import INVARIANT_KEYS

from .bench import CANT_TELL, HOLDS, SHORT, Bench
from .situations import SITUATIONS, Situation


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda each: each.name)
def test_what_breaks_is_told_with_its_figure(situation: Situation, bench: Bench) -> None:
    """Each thing that goes wrong makes those promises fall short that it concerns, and no other."""
    situation.happens(bench)

    verdicts = bench.judge()

    for name, (verdict, figure) in situation.expected.items():
        found = verdicts[name]
        assert found.verdict == verdict, found.words
        if figure is not None:
            assert found.figure == pytest.approx(figure, rel=0.01, abs=0.001), found.words
    first = verdicts[next(iter(situation.expected))]
    assert re.search(situation.words, first.words), first.words
    if first.verdict == SHORT and situation.example:
        assert first.example is not None
        assert first.example in first.evidence
    others = {name: each for name, each in verdicts.items() if name not in situation.expected}
    assert {name for name, each in others.items() if each.verdict == CANT_TELL} == situation.blind
    assert {each.verdict for each in others.values()} <= {HOLDS, "holds so far", CANT_TELL}


def test_every_kind_of_promise_has_its_situation(bench: Bench) -> None:
    """There is something that makes each fall short, and each that does says by how much."""
    kinds = {invariant.name: invariant.kind for invariant in bench.policy.invariants}
    short = [
        (kinds[name], figure)
        for situation in SITUATIONS
        for name, (verdict, figure) in situation.expected.items()
        if verdict == SHORT
    ]
    assert {kind for kind, _ in short} == set(INVARIANT_KEYS)
    assert all(figure is not None for _, figure in short)
