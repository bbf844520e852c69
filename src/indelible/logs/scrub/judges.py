"""Checksums and other rules that tell a value from what only looks like one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from datetime import date
from operator import itemgetter
from typing import Final

from indelible.logs.scrub.model import Judge, Span

_IBAN_LENGTHS: Final = {
    pair[:2]: int(pair[2:])
    for pair in re.findall(
        "[a-z0-9]+",
        "ad24 ae23 al28 at20 be16 bg22 br29 ch21 cy28 cz24 de22 dk18 ee20 es24 fi18 fr27 gb22 gi23 "
        "gr27 hr21 hu28 ie22 il23 is26 it27 li21 lt20 lu20 lv21 mc27 mt31 nl18 no15 pl28 pt25 ro24 "
        "rs22 sa24 se24 si19 sk24 sm27 tr26 ua29",
    )
}
IBAN_COUNTRIES: Final = "|".join(
    f"{first}[{''.join(code[1] for code in codes)}]"
    for first, codes in itertools.groupby(_IBAN_LENGTHS, key=itemgetter(0))
)
"""As an expression, in lower case."""
_DNI_LETTERS: Final = "trwagmyfpdxbnjzsqvhlcke"
_HETU_LETTERS: Final = "0123456789abcdefhjklmnprstuvwxy"
_CF_ODD: Final = dict(
    zip(
        "0123456789abcdefghijklmnopqrstuvwxyz",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21) * 2
        + (2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)


def found_in(match: re.Match[str]) -> Span:
    """The last group that matched, or all of the match."""
    return match.span(match.lastindex or 0)


def value_in(match: re.Match[str]) -> str:
    """The text of `found_in`."""
    start, end = found_in(match)
    return match.string[start:end]


def passes(check: Callable[[str], bool]) -> Judge:
    """What is found counts if its letters and digits, in lower case, pass the `check`."""

    def judge(match: re.Match[str]) -> Span | None:
        value = "".join(filter(str.isalnum, value_in(match))).lower()
        return found_in(match) if check(value) else None

    return judge


def digits_of(text: str) -> list[int]:
    """The digits in `text`."""
    return [int(char) for char in text if "0" <= char <= "9"]


def is_luhn(value: str) -> bool:
    """ISO/IEC 7812: every second digit from the right is doubled; the sum ends in 0."""
    total = 0
    for place, digit in enumerate(reversed(digits_of(value))):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def is_card(value: str) -> bool:
    """A number that a card scheme gives out, of a length that it gives out, that passes Luhn."""
    length, first2, first4 = len(value), int(value[:2]), int(value[:4])
    known = (
        (value[0] == "4" and length in (16, 19))
        or ((51 <= first2 <= 55 or 2221 <= first4 <= 2720) and length == 16)
        or (first2 in (34, 37) and length == 15)
        or ((first4 == 6011 or first2 == 65 or 6440 <= first4 <= 6499) and length == 16)
        or ((first2 in (36, 38) or 3000 <= first4 <= 3059) and length == 14)
        or (3528 <= first4 <= 3589 and length == 16)
        or (first2 == 62 and 16 <= length <= 19)
    )
    return known and len(set(value)) > 1 and is_luhn(value)


def judge_iban(match: re.Match[str]) -> Span | None:
    """ISO 13616: as long as its country has it, and 1 modulo 97; words behind it aren't of it."""
    text = match[0].lower()
    length = _IBAN_LENGTHS[text[:2]]
    places = [place for place, char in enumerate(text) if char.isalnum()][:length]
    if len(places) < length:
        return None
    end = places[-1] + 1
    if text[end : end + 1].isalnum():
        return None
    iban = "".join(text[place] for place in places)
    number = "".join(str(int(char, 36)) for char in iban[4:] + iban[:4])
    return (match.start(), match.start() + end) if int(number) % 97 == 1 else None


def is_ssn(value: str) -> bool:
    """A United States social security number that may have been given out."""
    area, group, serial = value[:3], value[3:5], value[5:]
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def is_nino(value: str) -> bool:
    """A United Kingdom national insurance number."""
    return value[:2] not in ("bg", "gb", "kn", "nk", "nt", "tn", "zz")


def is_nhs(value: str) -> bool:
    """A United Kingdom NHS number: modulo 11."""
    return _modulo_11(digits_of(value), range(10, 1, -1)) == digits_of(value)[9]


def is_nir(value: str) -> bool:
    """A French NIR: 97 minus the number modulo 97; Corsica counts as 19 and 18."""
    number = value[:13].replace("2a", "19").replace("2b", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(value[13:])


def is_dni(value: str) -> bool:
    """A Spanish DNI or NIE: its letter is the number modulo 23."""
    number = value[:-1].replace("x", "0").replace("y", "1").replace("z", "2")
    return _DNI_LETTERS[int(number) % 23] == value[-1]


def is_codice_fiscale(value: str) -> bool:
    """An Italian codice fiscale: its last letter."""
    total = 0
    for place, char in enumerate(value[:15]):
        even = int(char) if char.isdigit() else ord(char) - ord("a")
        total += even if place % 2 else _CF_ODD[char]
    return chr(ord("a") + total % 26) == value[15]


def is_steuer_id(value: str) -> bool:
    """A German tax identification number: ISO 7064, modulo 11, 10."""
    digits = digits_of(value)
    product = 10
    for digit in digits[:10]:
        product = ((digit + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == digits[10]


def is_bsn(value: str) -> bool:
    """A Dutch citizen service number: the eleven test."""
    digits = digits_of(value)
    return (sum(d * w for d, w in zip(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=True))) % 11 == 0


def is_pesel(value: str) -> bool:
    """A Polish PESEL: its weights, and a month and day that are."""
    digits = digits_of(value)
    total = sum(d * w for d, w in zip(digits, (1, 3, 7, 9) * 2 + (1, 3), strict=False))
    return (10 - total % 10) % 10 == digits[10] and _is_day(int(value[2:4]) % 20, int(value[4:6]))


def is_personnummer(value: str) -> bool:
    """A Swedish personnummer: Luhn over its last ten digits, and a day that is."""
    last = value[-10:]
    return _is_day(int(last[2:4]), int(last[4:6])) and is_luhn(last)


def is_fodselsnummer(value: str) -> bool:
    """A Norwegian fødselsnummer: two digits modulo 11."""
    digits = digits_of(value)
    return (
        _is_day(int(value[2:4]), int(value[:2]))
        and _modulo_11(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2)) == digits[9]
        and _modulo_11(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) == digits[10]
    )


def is_cpr(value: str) -> bool:
    """A Danish CPR number: a day that is (it has no check digit any more)."""
    return _is_day(int(value[2:4]), int(value[:2]))


def is_hetu(value: str) -> bool:
    """A Finnish personal identity code: its last character is the number modulo 31."""
    number = int("".join(filter(str.isdigit, value[:6] + value[-4:-1])))
    return _HETU_LETTERS[number % 31] == value[-1]


def is_rijksregister(value: str) -> bool:
    """A Belgian national number: 97 minus the number modulo 97, with a 2 before it from 2000 on."""
    check = int(value[9:])
    return check in (97 - int(value[:9]) % 97, 97 - int("2" + value[:9]) % 97)


def is_ahv(value: str) -> bool:
    """A Swiss AHV number: EAN-13."""
    digits = digits_of(value)
    total = sum(digits[0:12:2]) + 3 * sum(digits[1:12:2])
    return (10 - total % 10) % 10 == digits[12]


def is_cpf(value: str) -> bool:
    """A Brazilian CPF: two digits modulo 11."""
    digits = digits_of(value)
    first = sum(d * w for d, w in zip(digits, range(10, 1, -1), strict=False)) * 10 % 11 % 10
    second = sum(d * w for d, w in zip(digits, range(11, 1, -1), strict=False)) * 10 % 11 % 10
    return len(set(digits)) > 1 and [first, second] == digits[9:]


def _modulo_11(digits: Sequence[int], weights: Sequence[int]) -> int:
    return (11 - sum(d * w for d, w in zip(digits, weights, strict=False)) % 11) % 11


def _is_day(month: int, day: int) -> bool:
    try:
        date(2000, month, day)
    except ValueError:
        return False
    return True
