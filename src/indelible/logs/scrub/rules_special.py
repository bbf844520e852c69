"""GDPR, article 9: health, belief, origin, orientation, politics, unions, genes and biometrics."""

from __future__ import annotations

from typing import Final

from indelible.logs.scrub.dress import judge_person, named
from indelible.logs.scrub.model import Rule

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
    r"health[_\-]?(?:condition|issue|notes?)|disabilit(?:y|ies)|"
    r"religio(?:n|us[_\- ]?belief)|ethnic(?:ity|[_\- ]?(?:origin|group))|(?<![a-z])race(?![a-z])|"
    r"sexual[_\- ]?orientation|political[_\- ]?(?:opinion|party|affiliation|views?)|"
    r"party[_\- ]?membership|union[_\- ]?member(?:ship)?|"
    r"genetic[_\- ]?(?:data|marker|test)|biometrics?|fingerprint[_\- ]?template|"
    r"sick[_\- ]?(?:leave[_\- ]?)?(?:reason|note)|pregnan(?:t|cy)|gender[_\- ]?identity"
)

SPECIAL_RULES: Final[tuple[Rule, ...]] = (
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
        rf"\b(?:(?:type [12]|breast|lung|colon|skin|prostate) )?(?:{'|'.join(_CONDITIONS)})"
        r"[a-z]{0,7}\b|\bhiv\b",
        (*_CONDITIONS, "hiv"),
    ),
    Rule(
        "belief",
        "special",
        r"\b(?:is|as|are|identifies as|member of|converted to|believes in|voted for)\s"
        rf"(?:an?\s|the\s)?((?:{'|'.join(_BELIEFS)})[a-z]{{0,5}})\b",
        _BELIEFS,
    ),
)
