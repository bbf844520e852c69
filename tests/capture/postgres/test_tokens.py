"""Where PostgreSQL's tokens begin and end, in texts as its drivers are given them."""

from __future__ import annotations

import pytest

from indelible.capture.postgres.tokens import tokenize
from indelible.capture.statements.tokens import Kind


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a$b$c$b$", "a$b$c$b$"),
        ("$1$2", "$1|$2"),
        ("$a$it's $b$ $a$ x", "$a$it's $b$ $a$|x"),
        ("$$;$$;", "$$;$$|;"),
        ("E'a\\'b' 'c''d' n'e'", "E'a\\'b'|'c''d'|n'e'"),
        ("b'01' X'ff' bx", "b'01'|X'ff'|bx"),
        ('"a""b".c', '"a""b"|.|c'),
        ("a::numeric(10,2)", "a|::|numeric|(|10|,|2|)"),
        ("a[1:2]", "a|[|1|:|2|]"),
        ("a->>'b'", "a|->>|'b'"),
        ("a-- x\n-b", "a|-|b"),
        ("a-/* /* x */ */-b", "a|-|-|b"),
        ("a=%s", "a|=|%s"),
        ("a=%(b c)s", "a|=|%(b c)s"),
        ("a%%2 %% %(b)s %b %t", "a|%%|2|%%|%(b)s|%b|%t"),
        ("a %%s", "a|%%|s"),
        ("a %so", "a|%|so"),
        ("1..2 1.5e3 .5 0xFF 1_000", "1|..|2|1.5e3|.5|0xFF|1_000"),
        ("über$1 ü", "über$1|ü"),
        ("a@>b <@ c ?& d", "a|@>|b|<@|c|?&|d"),
    ],
)
def test_the_pieces_of_a_text(text: str, pieces: str) -> None:
    tokens = tokenize(text)
    assert [text[token.start : token.end] for token in tokens] == pieces.split("|")
    assert Kind.ILLEGAL not in {token.kind for token in tokens}


@pytest.mark.parametrize(
    "text",
    ["'open", '"open', "$a$open$b$", "/* open /* */", "'a\\b'", "U&'a'", 'u&"a"', "a \\ b", "a\0b"],
)
def test_what_cannot_be_told_is_illegal(text: str) -> None:
    """A plain string with a backslash too: whether that escapes is a setting's to say."""
    assert Kind.ILLEGAL in {token.kind for token in tokenize(text)}


def test_what_is_a_parameter() -> None:
    text = "SELECT %s, %(a)s, $1, '%s', \"%s\", a %% 2"
    found = [text[one.start : one.end] for one in tokenize(text) if one.kind is Kind.PARAMETER]
    assert found == ["%s", "%(a)s", "$1"]
