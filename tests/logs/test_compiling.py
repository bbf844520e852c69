"""Patterns are compiled to be found faster, and find the same."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.logs.scrub import DEFAULT_RULES
from indelible.logs.scrub.compiling import compile_pattern
from tests.logs.corpus import clean_lines, seeded_lines
from tests.logs.held_out import held_out_lines
from tests.logs.hostile import hostile_texts


@pytest.mark.parametrize(
    ("pattern", "compiled"),
    [
        (r"(?<![a-z])pin|(?:a|b)c", r"p(?<![a-z]p)in|ac|bc"),
        (r"\b(?:ab|[cd]e)f", r"(?:a(?<!\wa)b|c(?<!\w[cd])e|d(?<!\w[cd])e)f"),
        (r"(?<!\w)([0-9]{1,3}\.)", r"([0-9](?<!\w[0-9])[0-9]{0,2}\.)"),
        (r"(?<!a|b)\(?x", r"\((?<!(?:a|b)\()x|x(?<!(?:a|b)x)"),
        (r"(?P<n>(?:a|b)c|d)(e)", r"(?P<n>ac|bc|d)(e)"),
        # Left as they are: a set among others, captures twice, what looks ahead or ends nowhere.
        *((same, same) for same in (r"a|[^b]c", r"(?:a(b)|c)d|e", r"x?(y)", r"(?=a)b", r"\B-")),
        *((same, same) for same in (r"a??b", r"\b-a", r"(?i:a)b", r"(?<!(a))(b)", "(?#[)a|b", "")),
    ],
)
def test_what_begins_a_match_comes_first(pattern: str, compiled: str) -> None:
    """Before what looks behind, and out of groups; or the pattern stays."""
    assert compile_pattern(pattern).pattern == compiled


def _found(pattern: re.Pattern[str], text: str) -> list[object]:
    return [(m.span(), m.regs, m.lastindex, m.lastgroup) for m in pattern.finditer(text)]


def test_every_rule_finds_what_its_pattern_finds() -> None:
    """In seeded, held-out, clean and hostile texts, in lower case and as they are."""
    texts = [line.text for line in seeded_lines(seed=71, per_kind=6)]
    texts += [line.text for line in held_out_lines(seed=72, per_kind=4)]
    texts += [line.text for line in clean_lines(seed=73, count=100)]
    texts += list(itertools.islice(hostile_texts(300), 0, None, 7))
    texts += [text.lower() for text in texts]
    for rule in DEFAULT_RULES:
        written = re.compile(rule.pattern, re.ASCII)
        compiled = compile_pattern(rule.pattern)
        for text in texts:
            assert _found(compiled, text) == _found(written, text), (rule.pattern, text)


_ATOMS = st.sampled_from(
    ["a", "b", "_", " ", r"\-", "0", "[ab]", "[a-b]", "[_ ]", "[0-9]", "[^a]", ".", r"\w", r"\("]
)
_TIMES = st.sampled_from(["", "", "", "?", "{0,2}", "{2}", "{1,3}", "??"])
_LOOKS = st.sampled_from(["", "", r"\b", "(?<!a)", "(?<![ab])", "(?<=_)", "(?<!a|_)", "(?!ab)"])
_OPENS = st.sampled_from(["(?:", "(?:", "("])


def _longer(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = st.builds("{}{}){}".format, _OPENS, inner, st.sampled_from(["", "", "?"]))
    element = st.builds("{}{}".format, _ATOMS, _TIMES) | group
    sequence = st.builds(
        "{}{}".format, _LOOKS, st.lists(element, min_size=1, max_size=3).map("".join)
    )
    return st.lists(sequence, min_size=1, max_size=4).map("|".join)


@settings(max_examples=1_500, deadline=None)
@given(
    st.recursive(_ATOMS, _longer, max_leaves=12),
    st.lists(st.text(alphabet="ab_ -0(", max_size=20), min_size=1, max_size=6),
)
def test_any_pattern_finds_the_same(pattern: str, texts: list[str]) -> None:
    """Spans and groups, whatever is looked at, repeated, optional or captured."""
    compiled = compile_pattern(pattern)
    for text in texts:
        assert _found(compiled, text) == _found(re.compile(pattern, re.ASCII), text)
