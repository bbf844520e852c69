"""Who somebody is and how to reach them: names, addresses of every kind, numbers to call."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final

from indelible.logs.scrub.dress import judge_address, judge_person, named
from indelible.logs.scrub.judges import found_in, value_in
from indelible.logs.scrub.model import Judge, Rule, Span

_FILES: Final = re.compile("png|jpe?g|gif|svg|webp|m?js|ts|css|map|json|py|rb|go|java|so")
_NOT_PEOPLE: Final = {
    family: [
        (int(network.network_address), int(network.netmask))
        for network in map(ipaddress.ip_network, networks)
    ]
    for family, networks in {
        socket.AF_INET: (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3"),
        ),
        socket.AF_INET6: ("::/127", "fc00::/7", "fe80::/10", "ff00::/8"),
    }.items()
}
_BEFORE_VERSION: Final = re.compile(r"[a-z_]/$|\bv$|ver(?:sion)?[\"'=: ]{1,4}$")
_NAMES: Final = (
    r"(?:full|first|last|middle|family|given|customer|cardholder|card[_\- ]?holder|holder|patient|"
    r"contact|recipient|billing|shipping|sender|employee|guest|member|beneficiary|display)"
    r"[_\- ]?name|(?<![a-z])(?:surname|vorname|nachname|nom|prenom|apellidos?)(?![a-z])|"
    r"(?:account|card|policy)[_\- ]?holder(?![_\- ]?id)"
)
_ADDRESSES: Final = (
    r"(?:street|postal|home|billing|shipping|delivery|mailing|residential)[_\- ]?addr(?:ess)?|"
    r"(?<![a-z])addr(?:ess)?(?:[_\-]?line)?[_\-]?[12]?(?![a-z])|(?<![a-z])street(?![a-z])|"
    r"anschrift|adresse"
)
_PHONES: Final = (
    r"(?:phone|mobile|(?<![a-z])tel(?:efon)?(?![a-z])|msisdn|handy|whatsapp|(?<![a-z])fax|"
    r"(?<![a-z])sms)"
)
_PROPER: Final = r"[A-ZÀ-Þ][\w.'\-\x80-\U0010ffff]{1,24}"
_WAYS: Final = (
    "Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Square|Terrace|Place|"
    "Close|Crescent|Row|Hill|Gardens|Parkway"
)


def _judge_email(match: re.Match[str]) -> Span | None:
    """Not a file beside a density (`icon@2x.png`), not the account of a Git server."""
    local, _, domain = match[0].replace("%40", "@").partition("@")
    return None if _FILES.fullmatch(domain.rpartition(".")[2]) or local == "git" else match.span()


def _judge_phone(match: re.Match[str]) -> Span | None:
    """As many digits as a number has, and none that goes on."""
    count = sum(map(str.isdigit, value_in(match)))
    return found_in(match) if 8 <= count <= 15 else None


def _judge_ip(match: re.Match[str]) -> Span | None:
    """An address that may be a person's: not of a private network, not a version."""
    start, end = found_in(match)
    value = match.string[start:end]
    family = socket.AF_INET6 if ":" in value else socket.AF_INET
    try:
        # What `ipaddress` accepts, too, in a tenth of its time.
        packed = socket.inet_pton(family, value.partition("%")[0])
    except (OSError, ValueError):
        return None
    before = match.string[max(start - 10, 0) : start]
    if _BEFORE_VERSION.search(before):
        return None
    if family is socket.AF_INET and (value.endswith(".0.0") or "::" in before[-2:]):
        return None
    number = int.from_bytes(packed, "big")
    if any(number & mask == network for network, mask in _NOT_PEOPLE[family]):
        return None
    return start, end


def _judge_place(match: re.Match[str]) -> Span | None:
    """A street in which every word but articles is written as a name."""
    words = re.findall(r"[^\W\d_]{2,}", value_in(match))
    small = {
        "de",
        "la",
        "le",
        "les",
        "du",
        "des",
        "del",
        "der",
        "den",
        "bis",
        "the",
        "of",
        "los",
        "las",
        "rue",
    }
    return found_in(match) if all(w[0].isupper() or w.lower() in small for w in words) else None


def _rule(
    kind: str,
    pattern: str,
    words: tuple[str, ...],
    shape: str = "",
    judge: Judge | None = None,
    *,
    folded: bool = True,
) -> Rule:
    return Rule(kind, "personal", pattern, words, shape, judge, folded)


PEOPLE_RULES: Final[tuple[Rule, ...]] = (
    _rule(
        "email",
        r"(?<![a-z0-9._%+\-\x80-\U0010ffff])[a-z0-9_\x80-\U0010ffff]"
        r"[a-z0-9._%+'\-\x80-\U0010ffff]{0,63}(?:@|%40)[a-z0-9\x80-\U0010ffff]"
        r"[a-z0-9.\-\x80-\U0010ffff]{0,190}\.[a-z]{2,24}(?![a-z0-9_])",
        ("@", "%40"),
        r"(?:@|%40)[^\s@/:\"',]+\.[a-z]{2}",
        _judge_email,
    ),
    _rule(
        "phone",
        r"(?<![\w+.])(?:\+|%2b|00)[1-9][0-9]{0,2}[ .\-/]?(?:\([0-9]{1,5}\)[ .\-]?)?[0-9]"
        r"[0-9 .\-/]{5,16}[0-9](?![\w:])",
        ("+", "%2b", "00"),
        r"[^a-z0-9_+.](?:\+|%2b|00)[1-9][0-9]{0,2}[ .\-/]?(?:\([0-9]{1,5}\)[ .\-]?)?[0-9]"
        r"[0-9 .\-/]{5}",
        lambda m: None if m[0].startswith("00") and m[0].isdigit() else _judge_phone(m),
    ),
    _rule(
        "phone",
        r"(?<![\w.\-/])(?:1[ .\-])?\(?[2-9][0-9]{2}\)?[ .\-]{1,2}[2-9][0-9]{2}[ .\-][0-9]{4}"
        r"(?![\w\-.])",
        (),
        r"[2-9][0-9]{2}\)?[ .\-]{1,2}[2-9][0-9]{2}[ .\-][0-9]{4}[^a-z0-9_.\-]",
    ),
    _rule(
        "phone",
        r"(?<![\w.\-/:])0[1-9](?:[ .\-][0-9]{2}){4}(?![\w\-.])|(?<![\w.\-/:])\(?0[1-9][0-9]{1,4}\)?"
        r"[ /\-][0-9]{3,8}(?:[ \-][0-9]{2,5})?(?:[ \-][0-9]{2,5})?(?![\w\-.:])",
        (),
        r"[^a-z0-9_.\-/:]\(?0[1-9](?:[ .\-][0-9]{2}[ .\-][0-9]{2}[ .\-]|[0-9]{1,4}\)?"
        r"[ /\-][0-9]{3})",
        _judge_phone,
    ),
    _rule(
        "phone",
        rf"{_PHONES}[a-z_\-]{{0,16}}[^a-z0-9\n]{{1,8}}(?:(?:is|to|number|no)[^a-z0-9\n]{{1,4}})?"
        r"(\+?[0-9(][0-9 ().\-/]{5,20}[0-9])(?![\w:])",
        ("phone", "mobile", "tel", "msisdn", "handy", "whatsapp", "fax", "sms"),
        r"(?:phone|mobile|tel|msisdn|handy|whatsapp|fax|sms)[a-z_\-]*[^a-z0-9\n]+"
        r"(?:[a-z]+[^a-z0-9\n]+)?[0-9]",
        _judge_phone,
    ),
    _rule(
        "address",
        rf"(?<![\w.])[0-9]{{1,5}}[A-Za-z]?,? [A-Z][A-Za-z.' \-]{{1,40}} (?:{_WAYS})\b\.?"
        r"(?:,? (?:Apt|Flat|Suite|Unit|#)\.? ?[0-9A-Za-z]{1,5})?(?:, [A-Z][A-Za-z. \-]{1,30})?"
        r"(?:,? [A-Z]{2} [0-9]{5}(?:-[0-9]{4})?|,? [A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2})?",
        (),
        rf"[0-9][a-z]?,? [a-z][a-z.' \-]+ (?:{_WAYS.lower()})[^a-z]",
        _judge_place,
        folded=False,
    ),
    _rule(
        "address",
        rf"(?<!\w){_PROPER} ?(?:[Ss]tra(?:ß|ss)e|[Ss]tr\.|[Ww]eg|[Pp]latz|[Aa]llee|gasse|straat|"
        rf"laan|gatan|vej)\s[0-9]{{1,4}}[a-z]?\b(?:,? [0-9]{{4,5}} ?(?:[A-Z]{{2}})? {_PROPER})?",
        ("stra", "str.", "weg", "platz", "allee", "gasse", "laan", "gatan", "vej"),
        r"(?:stra(?:ss|\xc3\x9f)e|str\.|weg|platz|allee|gasse|straat|laan|gatan|vej)\s[0-9]",
        folded=False,
    ),
    _rule(
        "address",
        r"(?<![\w.])[0-9]{1,4}(?: bis)?,? (?:rue|avenue|boulevard|place|chemin|impasse|quai|all.e) "
        rf"(?:de )?(?:la |l'|du |des |d')?{_PROPER}(?: {_PROPER})?(?:,? [0-9]{{5}} {_PROPER})?|"
        r"\b(?:[Cc]alle|[Vv]ia|[Pp]iazza|[Pp]laza|[Aa]venida|[Rr]ua) "
        rf"(?:(?:de|del|la|di|da|della) )?{_PROPER}(?: {_PROPER})?,? [0-9]{{1,4}}\b"
        rf"(?:,? [0-9]{{4,5}} {_PROPER})?",
        (
            *("rue", "avenue", "boulevard", "place", "chemin", "impasse", "quai", "all", "calle"),
            *("via", "piazza", "plaza", "avenida", "rua"),
        ),
        r"[0-9](?: bis)?,? (?:rue|avenue|boulevard|place|chemin|impasse|quai|all.{1,2}e) |"
        r"(?:calle|via|piazza|plaza|avenida|rua) [^\n]+[0-9]",
        folded=False,
    ),
    *named(
        "address",
        "personal",
        _ADDRESSES,
        ("addr", "street", "anschrift", "adresse"),
        judge_address,
        several_words=True,
    ),
    *named(
        "name",
        "personal",
        _NAMES,
        ("name", "holder", "nom", "apellido"),
        judge_person,
        several_words=True,
    ),
    _rule(
        "ip",
        r"(?<![\w.\-])([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})(?![\w\-]|\.[0-9])",
        (),
        r"[^a-z0-9_.\-][0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        _judge_ip,
    ),
    _rule(
        "ip",
        r"(?<![\w:.])([0-9a-f]{1,4}:[0-9a-f]{1,4}:[0-9a-f]{0,4}:[0-9a-f:]{1,33}|[0-9a-f]{1,4}::[0-9a-f][0-9a-f:]{0,32})"
        r"(?![\w:]|\.[0-9])",
        (":",),
        r"[^a-z0-9_:.][0-9a-f]{1,4}:[0-9a-f]{1,4}:[0-9a-f]{0,4}:[0-9a-f:]|"
        r"[^a-z0-9_:.][0-9a-f]{1,4}:(?:[0-9a-f]{1,4}:)?:[0-9a-f]",
        _judge_ip,
    ),
    _rule(
        "location",
        r"(?<![a-z])(?:lat(?:itude)?|lng|lon(?:gitude)?)(?![a-z])[\"']?\s?[:=]\s?[\"']?"
        r"(-?[0-9]{1,3}\.[0-9]{4,15})",
        ("lat", "lng", "lon"),
        r"(?:lat(?:itude)?|lng|lon(?:gitude)?)[\"']?\s?[:=]\s?[\"']?-?[0-9]{1,3}\.[0-9]{4}",
    ),
)
