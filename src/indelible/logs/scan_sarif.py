"""What a scan found as SARIF 2.1.0, for what shows findings beside code."""

from __future__ import annotations

import urllib.parse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from indelible._version import __version__
from indelible.logs.scan import Exposure

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: Final = {"takeover": "error", "special": "error", "personal": "warning"}
_MEANS: Final = {
    "takeover": "takes over an account",
    "special": "is of a special category (GDPR, article 9)",
    "personal": "is personal data",
}


def sarif_of(exposures: Sequence[Exposure], allowed: Collection[str]) -> dict[str, object]:
    """One run with a rule a kind and a result a place that was kept.

    What is allowed is there with the level "note". No value stands in it, only masked samples.
    """
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "indelible scan",
                        "version": __version__,
                        "rules": [_rule(exposure) for exposure in exposures],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [
                    result
                    for index, exposure in enumerate(exposures)
                    for result in _results(index, exposure, is_allowed(exposure, allowed))
                ],
            }
        ],
    }


def is_allowed(exposure: Exposure, allowed: Collection[str]) -> bool:
    """Whether its class or its kind is among the `allowed`."""
    return exposure.data_class in allowed or exposure.kind in allowed


def _rule(exposure: Exposure) -> dict[str, object]:
    return {
        "id": exposure.kind,
        "shortDescription": {"text": f"{exposure.kind}: {_MEANS[exposure.data_class]}"},
        "defaultConfiguration": {"level": _LEVELS[exposure.data_class]},
        "properties": {
            "class": exposure.data_class,
            "count": exposure.count,
            "lines": exposure.lines,
        },
    }


def _results(index: int, exposure: Exposure, allowed: bool) -> list[dict[str, object]]:
    return [
        {
            "ruleId": exposure.kind,
            "ruleIndex": index,
            "level": "note" if allowed else _LEVELS[exposure.data_class],
            "message": {"text": f"{exposure.kind} {place.sample}: {_MEANS[exposure.data_class]}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": _uri(place.file)},
                        "region": {"startLine": place.line},
                    }
                }
            ],
        }
        for place in exposure.places
    ]


def _uri(file: str) -> str:
    path = Path(file)
    return path.as_uri() if path.is_absolute() else urllib.parse.quote(path.as_posix())
