"""How a value stands beside its name: JSON, logfmt, query, header, YAML, repr, XML, form, option.

All patterns here are for texts in lower case.
"""

from __future__ import annotations

import re
from typing import Final

from indelible.logs.scrub.judges import found_in, value_in
from indelible.logs.scrub.model import DataClass, Judge, Rule, Span

_QUOTE: Final = r"""\\{0,7}["'`]"""
_TAIL: Final = r"(?P<tail>[\w.\-\[]{0,32})"
_JOINTS: Final = "|".join(
    (
        # "name": "value" · name=value · name: value · name => value · name%3dvalue
        rf"\]?(?:{_QUOTE})?(?:%22)?[\])]?\s{{0,4}}(?:=>|->|:=|==|[:=]|%3[ad])\s{{0,4}}[\[({{]{{0,2}}",
        # "name": "password", "value": "hunter2"
        rf"{_QUOTE}\s?,\s?\\{{0,7}}[\"']?value\\{{0,7}}[\"']?\s?[:=]\s?",
        rf"{_QUOTE}(?:\\r|\\n|[\r\n]){{2,6}}",  # name="name", an empty line, value
        r"\s(?P<prose>(?:(?:was |has been )?(?:set|reset|changed) to|is|was|are)\s[:=]?)\s?",
    )
)
_JOINT_SHAPE: Final = (
    r"(?:[\]\[\"'`\\%2)]*\s*(?:=|:|->|%3)|\\*[\"'`]\s?,\s?[\\\"']*value|[\"']?>|"
    r"\\*[\"'`](?:\\|\r|\n)|\s(?:is|was|are|set|reset|changed|has)\s)"
)
_BEHIND: Final = re.compile(r"\(\?<!\[([^()]*)\]\)")
_AHEAD: Final = re.compile(r"\(\?[!=][^()]*\)")
_QUOTED: Final = (
    r"\\{1,7}[\"']([^\"'\\]{1,4096})"
    r'|b?"((?:[^"\\]|\\.){1,4096})'
    r"|b?'((?:[^'\\]|\\.){1,4096})"
    r"|%22([^%\s&]{1,512})"
)
_ELEMENT: Final = r"[\"']?>([^<>]{1,1024})(?=<\\?/)"  # <name>value</name>
# A value without quotes may hold anything that can't end it.
_PART: Final = r"[^\s\"'`&<\\]|&(?![\w.\-\[\]%]{1,40}=)|<(?!/)|\\(?![\"'nrt])|[\"'](?=\w)"
_BARE: Final = rf"((?:{_PART}){{0,1023}}[^\s\"'`&<\\,;)\]}}])"
_NEXT_NAME: Final = r"[\w.\-]{1,30}[:=]"
_BARE_WORDS: Final = (
    rf"((?:[^\s\"'`&<\\,;|{{}}]|,\s(?!{_NEXT_NAME})(?=\w)|\s(?!{_NEXT_NAME})(?=[\w#])){{1,120}})"
)
_BENIGN: Final = re.compile(
    r"""(?x)
    true | false | null | none | nil | undefined | yes | no | n/a | unknown | ok | optional
    | set | unset | required | missing | empty | present | absent | valid | invalid | expired
    | incorrect | wrong | changed | reset | rotated | revoked | refreshed | failed
    | not | too | string | str | bytes | int | integer | text | varchar | object | field | must
    | <[a-z]{3,9}:[^<>\s]{1,40}>? | <[a-z_ ]{1,20}>?         # our own marks, placeholders
    | [\[(]?(?:filtered|redacted|masked)[\])]? | [\[(](?:removed|hidden|secret|protected)[\])]
    | [*x.\-_\#•]{1,64} | \*{3,}.{0,40}
    | %s | %\(\w{1,40}\)s | \?{1,3} | \$\d{1,2} | :\w{1,40} | \{\w{0,40}\}? | \$\{?\w{1,60}\}?
    | -?[0-9]{1,3} | -?[0-9]{1,6}\.[0-9]{1,6}
    """
)
_BENIGN_TAIL: Final = re.compile(
    r"""(?x)(?:^|[_.\-])(?:
    type | count | len | length | size | expir\w* | ttl | age | limit | used | usage | left | valid
    | enabled | required | status | policy | changed | attempts? | fields? | url | uri | path | file
    | filename | endpoint | kind | version | strength | score | at | prefix | id | min | max
    | rules? | manager | service | provider | store | errors? | bucket | rotation | scopes?
    | issuer | algorithm
    | alg | tries | retries | duration\w* | ms | mode | format | timeout | is | label
    )(?:$|[_.\-])"""
)
_UNITS: Final = re.compile(r"\s?(?:ms|s|us|µs|ns|sec|seconds|bytes|b|kb|mb|rows|items|%|x)\b")


def named(
    kind: str,
    data_class: DataClass,
    names: str,
    words: tuple[str, ...],
    judge: Judge,
    *,
    several_words: bool = False,
) -> tuple[Rule, ...]:
    """Rules for what stands beside a name with one of `names` in it; one of `words` is in each.

    With `several_words` the value may be some, even without quotes.
    """
    seen = _without_looking(names)
    bare = _BARE_WORDS if several_words else _BARE
    beside = Rule(
        kind,
        data_class,
        rf"(?:{names}){_TAIL}(?:(?:{_JOINTS})(?:{_QUOTED}|{bare})|{_ELEMENT})",
        words,
        rf"(?:{seen})[a-z0-9_.\-\[]*{_JOINT_SHAPE}",
        judge,
    )
    pair = Rule(  # ("password", "hunter2")
        kind,
        data_class,
        rf"[(\[]\s?b?{_QUOTE}[\w\-]{{0,24}}(?:{names})(?P<tail>[\w\-]{{0,24}}){_QUOTE}\s?,\s?"
        rf"(?:{_QUOTED})\\{{0,7}}[\"']\s?[)\]]",
        words,
        rf"(?:{seen})[a-z0-9_\-]*[\\\"'`]+\s?,",
        judge,
    )
    return beside, pair


def option(kind: str, names: str) -> Rule:
    """What follows a command's option with one of `names` in it: `--password hunter2`."""
    return Rule(
        kind,
        "takeover",
        rf"(?<![\w\-])--[\w\-]{{0,24}}(?:{names})(?P<tail>[\w\-]{{0,24}})\s{{1,2}}"
        r"(?!-)(?:\"([^\"]{1,512})|'([^']{1,512})|([^\s\"']{1,512}))",
        ("--",),
        rf"-[a-z0-9_\-]*(?:{_without_looking(names)})[a-z0-9_\-]*\s",
        judge_secret,
    )


def _without_looking(names: str) -> str:
    """`names` for engines that don't look behind or ahead: the letter before is of the match."""
    return _AHEAD.sub("", _BEHIND.sub(r"[^\1]", names))


def is_benign(value: str) -> bool:
    """Whether a value tells nothing: a state, a placeholder, a mark, a small number."""
    return _BENIGN.fullmatch(value.strip()) is not None


def judge_secret(match: re.Match[str]) -> Span | None:
    """A secret beside its name: not a state, a placeholder or a number about the secret.

    In prose ("the password is wrong") it needs a digit or a sign that no plain word has.
    """
    value = value_in(match)
    tail = match["tail"]
    if is_benign(value) or _BENIGN_TAIL.search(tail):
        return None
    if match[0] == f"{value}={value}":  # a line of source: login(password=password)
        return None
    if tail.startswith("s") and value.isdigit():  # tokens=512
        return None
    if _in_prose(match) and value.isalpha():
        return None
    return found_in(match)


def judge_person(match: re.Match[str]) -> Span | None:
    """What is said of a person beside its name: some text, and not a state or a placeholder."""
    value = value_in(match)
    if is_benign(value) or _BENIGN_TAIL.search(match["tail"]) or _in_prose(match):
        return None
    return found_in(match) if any(map(str.isalnum, value)) else None


def judge_address(match: re.Match[str]) -> Span | None:
    """As `judge_person`, of several words: not an address of a machine or in memory."""
    return judge_person(match) if re.search(r"[^\W\d]+\W+\w", value_in(match)) else None


def judge_quoted(match: re.Match[str]) -> Span | None:
    """A secret of which there is no tail: not a state or a placeholder."""
    return None if is_benign(value_in(match)) else found_in(match)


def judge_code(match: re.Match[str]) -> Span | None:
    """A short number near its word: not one with a unit behind it."""
    start, end = found_in(match)
    return None if _UNITS.match(match.string, end) else (start, end)


def judge_random(match: re.Match[str]) -> Span | None:
    """A part of a path: with digits among letters, as words don't have them."""
    value = value_in(match)
    digits = sum(map(str.isdigit, value))
    letters = sum(map(str.isalpha, value))
    return found_in(match) if digits >= 2 and letters >= 2 else None


def _in_prose(match: re.Match[str]) -> bool:
    return "prose" in match.re.groupindex and match["prose"] is not None
