"""What is about a person: who they are, how to reach them, what they pay with, their health."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

from indelible.logs.scrub import judges
from indelible.logs.scrub.dress import judge_address, judge_person, named
from indelible.logs.scrub.judges import IBAN_COUNTRIES, found_in, judge_iban, passes, value_in
from indelible.logs.scrub.model import Judge, Rule, Span

_NOT_TOP: Final = frozenset("png jpg jpeg gif svg webp js mjs ts css map json py rb go java so".split())
_NOT_PEOPLE: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3", "::/127", "fc00::/7", "fe80::/10"),
            "ff00::/8",
        ),
    )
)
_DAY: Final = (
    r"(?:19|20)[0-9]{2}[\-/.][01]?[0-9][\-/.][0-3]?[0-9]|[0-3]?[0-9][\-/. ]{1,2}[01]?[0-9][\-/. ]{1,2}"
    r"(?:19|20)?[0-9]{2}|[0-3]?[0-9](?:st|nd|rd|th)?[.\-/ ]{1,2}[a-zäéû]{3,9}[.,\-/ ]{1,2}(?:19|20)[0-9]{2}|"
    r"[a-z]{3,9}\.? [0-3]?[0-9](?:st|nd|rd|th)?,? (?:19|20)[0-9]{2}|(?:19|20)[0-9]{6}"
)
_CONDITIONS: Final = (
    *("diabet", "cancer", "carcinoma", "leukemia", "leukaemia", "lymphoma", "chemotherap"),
    *("hepatitis", "tuberculosis", "depressi", "schizophreni", "bipolar disorder", "epilep"),
    *("asthma", "alzheimer", "parkinson'", "multiple sclerosis", "ptsd", "autis", "adhd"),
    *("anorexi", "bulimi", "pregnan", "miscarriage", "abortion", "dialysis", "chlamydia"),
    *("syphilis", "gonorrh", "endometriosis", "insulin", "metformin", "sertraline", "fluoxetine"),
    *("methadone", "antiretroviral", "hypertension", "dementia"),
)
_BELIEFS: Final = (
    *("muslim", "christian", "catholic", "protestant", "jew", "hindu", "buddhist", "atheist"),
    *("sikh", "gay", "lesbian", "bisexual", "transgender", "homosexual", "non-binary", "islam"),
    *("judaism", "communist", "green party", "socialist", "trade union"),
)
_TREATED: Final = (
    *("diagnosed with", "diagnosis of", "suffers from", "suffering from", "treated for"),
    *("treatment for", "prescribed", "allergic to", "tested positive for", "sick leave for"),
    *("sick leave due to", "sick leave because of"),
)
_SPECIAL_NAMES: Final = (
    r"diagnos[ie]s|(?<![a-z])icd[_\-]?(?:10|9|11)?(?:[_\-]?code)?|medications?|prescriptions?|"
    r"allerg(?:y|ies)|blood[_\- ]?(?:type|group)|hiv[_\- ]?status|"
    r"medical[_\- ]?(?:history|condition|notes?|record)|symptoms?|"
    r"health[_\- ]?(?:condition|status|issue|notes?)|disabilit(?:y|ies)|"
    r"religio(?:n|us[_\- ]?belief)|ethnic(?:ity|[_\- ]?(?:origin|group))|(?<![a-z])race(?![a-z])|"
    r"sexual[_\- ]?orientation|political[_\- ]?(?:opinion|party|affiliation|views?)|"
    r"party[_\- ]?membership|(?:trade[_\- ]?)?union[_\- ]?member(?:ship)?|"
    r"genetic[_\- ]?(?:data|marker|test)|biometric\w{0,12}|fingerprint[_\- ]?template|"
    r"sick[_\- ]?(?:leave[_\- ]?)?(?:reason|note)|pregnan(?:t|cy)|gender[_\- ]?identity"
)
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
_DOCUMENTS: Final = (
    r"(?:passport|driv(?:er|ing)[_\-']?s?[_\- ]?licen[cs]e|id[_\- ]?card|national[_\- ]?id|"
    r"tax[_\- ]?id|personalausweis|insurance[_\- ]?(?:number|no|id)|policy[_\- ]?holder[_\- ]?id)"
)
_WAYS: Final = (
    "Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Square|Terrace|Place|"
    "Close|Crescent|Row|Hill|Gardens|Parkway"
)


def _judge_email(match: re.Match[str]) -> Span | None:
    """Not a file beside a density (`icon@2x.png`), not the account of a Git server."""
    local, _, domain = match[0].replace("%40", "@").partition("@")
    return None if domain.rpartition(".")[2] in _NOT_TOP or local == "git" else match.span()


def _judge_phone(match: re.Match[str]) -> Span | None:
    """As many digits as a number has, and none that goes on."""
    count = sum(map(str.isdigit, value_in(match)))
    return found_in(match) if 8 <= count <= 15 else None


def _judge_ip(match: re.Match[str]) -> Span | None:
    """An address that may be a person's: not of a private network, not a version."""
    try:
        address = ipaddress.ip_address(value_in(match))
    except ValueError:
        return None
    start, end = found_in(match)
    before = match.string[max(start - 10, 0) : start]
    if re.search(r"[a-z_]/$|\bv$|ver(?:sion)?[\"'=: ]{1,4}$", before):
        return None
    if address.version == 4 and (str(address).endswith(".0.0") or "::" in before[-2:]):
        return None
    if any(address in network for network in _NOT_PEOPLE if network.version == address.version):
        return None
    return start, end


def _judge_place(match: re.Match[str]) -> Span | None:
    """A street in which every word but articles is written as a name."""
    words = re.findall(r"[^\W\d_]{2,}", value_in(match))
    small = {"de", "la", "le", "les", "du", "des", "del", "der", "den", "bis", "the", "of", "los", "las", "rue"}
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


def _national(pattern: str, shape: str, check: Callable[[str], bool]) -> Rule:
    """A number of a form of its own: nothing that goes on may touch it."""
    return _rule(
        "national-id",
        rf"(?<![\w\-])(?:{pattern})(?![\w\-])",
        (),
        rf"[^a-z0-9_\-](?:{shape or pattern})[^a-z0-9_\-]",
        passes(check),
    )


def _national_near(
    words: tuple[str, ...], names: str, pattern: str, check: Callable[[str], bool]
) -> Rule:
    """A number that has no form of its own, near its name."""
    return _rule(
        "national-id",
        rf"(?<![a-z])(?:{names})[^0-9\n]{{0,32}}\b({pattern})\b",
        words,
        rf"(?:{names})[^0-9\n]{{0,32}}{pattern}",
        passes(check),
    )


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
        r"(?:phone|mobile|tel|msisdn|handy|whatsapp|fax|sms)[a-z_\-]{0,16}[^a-z0-9\n]{1,8}"
        r"(?:[a-z]+[^a-z0-9\n]{1,4})?[0-9][0-9 ().\-/]{5}",
        _judge_phone,
    ),
    _rule(
        "card",
        r"(?<![\w.])(?<![0-9]-)([2-6][0-9](?:[ \-]?[0-9]){11,17})(?!\w)(?!\.[0-9])",
        (),
        r"[^a-z0-9_.][2-6][0-9]{3}[ \-]?[0-9]{4}[ \-]?[0-9]{4}[ \-]?[0-9]|"
        r"[^a-z0-9_.]3[0-9]{3}[ \-]?[0-9]{6}[ \-]?[0-9]{4}",
        passes(judges.is_card),
    ),
    _rule(
        "card-code",
        r"(?<![a-z])(?:cvv2?|cvc2?|csc|card[_\- ]?(?:verification|security)"
        r"[_\- ]?(?:code|value|number))(?![a-z])[^a-z0-9\n]{1,8}(?:(?:is|code|number)"
        r"[^a-z0-9\n]{1,4})?([0-9]{3,4})\b",
        ("cvv", "cvc", "csc", "card"),
        r"(?:cv[vc]|csc|verification|security)[^0-9\n]{0,24}[0-9]",
    ),
    _rule(
        "iban",
        rf"(?<![a-z0-9])(?:{IBAN_COUNTRIES})[0-9]{{2}}(?:[ \-]?[a-z0-9]{{4}}){{2,7}}"
        r"(?:[ \-]?[a-z0-9]{1,3})?",
        (),
        rf"[^a-z0-9](?:{IBAN_COUNTRIES})[0-9]{{2}}[ \-]?[a-z0-9]{{4}}[ \-]?[a-z0-9]{{4}}",
        judge_iban,
    ),
    _national(r"[0-9]{3}[\- ][0-9]{2}[\- ][0-9]{4}", "", judges.is_ssn),
    _national_near(("ssn", "social"), r"ssn|social[_\- ]?security", "[0-9]{9}", judges.is_ssn),
    _national(
        "[a-ceghj-prstw-z][a-ceghj-nprstw-z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[a-d]",
        "",
        judges.is_nino,
    ),
    _national_near(("nhs",), "nhs", r"[0-9]{3}[ \-]?[0-9]{3}[ \-]?[0-9]{4}", judges.is_nhs),
    _national(
        "[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[ab]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        "[12] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9ab] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        judges.is_nir,
    ),
    _national(r"(?:[0-9]{8}|[xyz]-?[0-9]{7})[\- ]?[a-hj-np-tv-z]", "", judges.is_dni),
    _national(
        "[a-z]{6}[0-9lmnp-v]{2}[abcdehlmprst][0-9lmnp-v]{2}[a-z][0-9lmnp-v]{3}[a-z]",
        "",
        judges.is_codice_fiscale,
    ),
    _national_near(
        ("steuer", "tax", "idnr", "tin"),
        r"steuer|tax[_\- ]?(?:id|number|no)|idnr|tin",
        "[1-9][0-9](?: ?[0-9]{3}){3}",
        judges.is_steuer_id,
    ),
    _national_near(
        ("bsn", "burgerservice", "sofi"), "bsn|burgerservice|sofi", "[0-9]{9}", judges.is_bsn
    ),
    _national_near(("pesel",), "pesel", "[0-9]{11}", judges.is_pesel),
    _national(r"(?:19|20)?[0-9]{6}[\-+][0-9]{4}", "", judges.is_personnummer),
    _national_near(
        ("personnummer", "pnr", "samordning"),
        "personnummer|pnr|samordningsnummer",
        "(?:19|20)?[0-9]{10}",
        judges.is_personnummer,
    ),
    _national(r"[0-3][0-9][0-7][0-9] ?[0-9]{2} ?[0-9]{5}", "", judges.is_fodselsnummer),
    _national_near(("cpr",), "cpr", "[0-3][0-9][01][0-9]{3}-?[0-9]{4}", judges.is_cpr),
    _national(
        r"[0-3][0-9][01][0-9]{3}[\-+a-fu-y][0-9]{3}[0-9a-fhj-npr-y]", "", judges.is_hetu
    ),
    _national(
        r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", "", judges.is_rijksregister
    ),
    _national(r"756\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}", "", judges.is_ahv),
    _national(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", "", judges.is_cpf),
    _rule(
        "document-number",
        rf"{_DOCUMENTS}[a-z_\-]{{0,12}}[^a-z0-9\n]{{1,8}}"
        r"(?:(?:number|no|is|nr)[^a-z0-9\n]{1,4})?((?=[a-z\-]{0,5}[0-9])[a-z0-9\-]{6,20})\b",
        ("passport", "licen", "card", "national", "tax", "ausweis", "insurance", "holder"),
        rf"{_DOCUMENTS}[a-z_\-]{{0,12}}[^a-z0-9\n]{{1,8}}(?:[a-z]+[^a-z0-9\n]{{1,4}})?[a-z0-9\-]{{6}}",
    ),
    _rule(
        "birth-date",
        r"(?:(?<![a-z])dob(?![a-z])|birth|(?<![a-z])born(?![a-z])|geburt|geboren|naissance|"
        rf"nacimiento|nascita)[^0-9\n]{{0,24}}?\b({_DAY})\b",
        ("dob", "birth", "born", "gebur", "geboren", "naissance", "nacimiento", "nascita"),
        r"(?:dob|birth|born|gebur|geboren|naissance|nacimiento|nascita)[^0-9\n]{0,36}[0-9]",
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
        r"\b[A-Z][\w.\-]{1,24} ?(?:[Ss]tra(?:ß|ss)e|[Ss]tr\.|[Ww]eg|[Pp]latz|[Aa]llee|gasse|straat|"
        r"laan|gatan|vej)\s[0-9]{1,4}[a-z]?\b(?:,? [0-9]{4,5} ?(?:[A-Z]{2})? [A-Z][\w\-]{1,24})?",
        ("stra", "str.", "weg", "platz", "allee", "gasse", "laan", "gatan", "vej"),
        r"(?:stra(?:ss|\xc3\x9f)e|str\.|weg|platz|allee|gasse|straat|laan|gatan|vej)\s[0-9]",
        folded=False,
    ),
    _rule(
        "address",
        r"(?<![\w.])[0-9]{1,4}(?: bis)?,? (?:rue|avenue|boulevard|place|chemin|impasse|quai|all.e) "
        r"(?:de )?(?:la |l'|du |des |d')?[A-Z][\w'\-]{1,24}(?: [A-Z][\w\-]{1,24})?"
        r"(?:,? [0-9]{5} [A-Z][\w\-]{1,24})?|"
        r"\b(?:[Cc]alle|[Vv]ia|[Pp]iazza|[Pp]laza|[Aa]venida|[Rr]ua) (?:(?:de|del|la|di|da|della) )?"
        r"[A-Z][\w\-]{1,24}(?: [A-Z][\w\-]{1,24})?,? [0-9]{1,4}\b(?:,? [0-9]{4,5} [A-Z][\w\-]{1,24})?",
        ("rue", "avenue", "boulevard", "place", "chemin", "impasse", "quai", "all", "calle", "via")
        + ("piazza", "plaza", "avenida", "rua"),
        r"[0-9](?: bis)?,? (?:rue|avenue|boulevard|place|chemin|impasse|quai|all.{1,2}e) |"
        r"(?:calle|via|piazza|plaza|avenida|rua) [a-z][^0-9\n]+[0-9]",
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
        r"(?<![\w:.])([0-9a-f]{1,4}:[0-9a-f]{1,4}:[0-9a-f:]{2,33}|[0-9a-f]{1,4}::[0-9a-f:]{1,33})"
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
    *named(
        "special",
        "special",
        _SPECIAL_NAMES,
        (
            *("diagnos", "icd", "medication", "prescription", "allerg", "blood", "hiv", "medical"),
            *("symptom", "health", "disabilit", "religio", "ethnic", "race", "sexual", "political"),
            *("party", "union", "genetic", "biometric", "fingerprint", "sick", "pregnan", "gender"),
        ),
        judge_person,
        several_words=True,
    ),
    Rule(
        "health",
        "special",
        rf"\b(?:{'|'.join(_TREATED)})\s([a-z][^.,;\"'\n\\]{{2,60}})",
        _TREATED,
    ),
    Rule(
        "health",
        "special",
        rf"\b(?:type [12] )?(?:{'|'.join(_CONDITIONS)})[a-z]{{0,7}}\b|\bhiv\b",
        (*_CONDITIONS, "hiv"),
    ),
    Rule(
        "belief",
        "special",
        r"\b(?:is|as|are|identifies as|member of|converted to|believes in|voted for)\s(?:an?\s|the\s)?"
        rf"((?:{'|'.join(_BELIEFS)})[a-z]{{0,5}})\b",
        _BELIEFS,
    ),
)
