"""Texts that make careless patterns slow: what a pattern begins with, again and again."""

from __future__ import annotations

from collections.abc import Iterator

from indelible.logs.scrub import DEFAULT_RULES

SIZE = 100_000
_PIECES = (
    *("a", "1", " ", "\n", "-", "_", ".", "/", ":", "@", "=", "&", "%", "+", "\\", '"', "'", "\"'"),
    *("a:", "a://", "a.", "a@", "a@b.", "1 ", "1-", "1.", "+1", "0", "00", "01 ", "4", "41 ", "a1"),
    *("a=", "a=1&", "?a=", "/a", "//", "<a>", "{", "[", "(", "[{", '{"a":', '\\\\"', "%22", "%40"),
    *("key", "key ", "key\t", "key=", "passwordpassword", "password=", 'password="', "password:  "),
    *(
        "password is ",
        '("password", ',
        "token_",
        "token[",
        "--password",
        "--a",
        "secret_access_key",
    ),
    *("basic ", "bearer ", "basic YQ", "bearer a", "authorization:", "cookie", "cookie: a=b; "),
    *("eyJ", "eyJaaaaaaaaa.", "-----begin ", "-----begin private key-----", "https://a:", "://a:"),
    *(
        "/reset/",
        "/reset/a/",
        "/a-reset-a/",
        "otp ",
        "otp a",
        "your code ",
        "1234 is your ",
        "pin ",
    ),
    *(
        "recovery codes ",
        "recovery codes a-1, ",
        "curl ",
        "curl a -u a",
        "curl curl ",
        "de12 1234 ",
    ),
    *("12 3 ", "1 Aa ", "1 Aa St", "12 rue de ", "Calle A", "Aastr. ", "+1 (1) 1", "(415) 555 "),
    *(
        "birth ",
        "born 1",
        "name: a ",
        "name=a, b",
        "full name: a b c ",
        "address: 1 a, ",
        "a::",
        "1:",
    ),
    *(
        "diagnosed with a",
        "type 2 ",
        "is a ",
        "member of the ",
        "tax id 1 ",
        "passport a",
        "sms ",
        "é",
    ),
    *(
        "'\"",
        '\\\\\\\\"',
        '["[\\"',
        "%25",
        "%2522",
        "%e4%bd",
        "\\u0040",
        "\\u0022",
        "\\x22",
        "\\ud83d",
    ),
    *(
        "@a.",
        "a@b.cd.",
        "%40%40",
        "a.b-c@d-e.fg",
        "é@é.é",
        "12-34.",
        "123 456 ",
        "1, ",
        "1/2/",
        "01+",
    ),
    *(
        "1.2.3.4 ",
        "fe80::1 ",
        "token=a&",
        "key\t=\t",
        "756.1234.5678.97 ",
        "12345678z ",
        "+12345678901",
    ),
    *(
        "3782 822463 10005 ",
        "01.01.70-123.45 ",
        "AbC+/9",
        "AbC-_9.",
        "de89 3704 0044 ",
        "?code=a1&",
    ),
    *("ſ", "İ", "\ud800", "😀", "password=é", "a@é", "lat=1.", "756.", "cvv ", "EAA", "SG.", "sk-"),
)


def hostile_texts(size: int = SIZE) -> Iterator[str]:
    """Texts of `size` characters."""
    pieces = {*_PIECES, *(word for rule in DEFAULT_RULES for word in rule.words)}
    for piece in sorted(pieces):
        yield (piece * (size // len(piece) + 1))[:size]
        yield ((piece + " ") * (size // (len(piece) + 1) + 1))[:size]
        yield ((piece + "a" * 40) * (size // (len(piece) + 40) + 1))[:size]
        yield (piece + "a" * size)[:size]
        yield (piece + "a1-" * size)[:size]
        yield (piece + "=" + "1 " * size)[:size]
