"""Verdicts for programs: JUnit's XML, and Prometheus' text format."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence

from indelible.invariants.verdicts import CANT_TELL, HOLDS, SHORT, SO_FAR, Verdict


def junit_of(verdicts: Sequence[Verdict], *, took_s: float) -> bytes:
    """A test suite of a test an invariant: what falls short failed, what can't be told is an error,
    what is planned was skipped."""
    suite = ET.Element("testsuite", name="indelible check", time=f"{took_s:.3f}")
    counts = {"tests": len(verdicts), "failures": 0, "errors": 0, "skipped": 0}
    for each in verdicts:
        case = ET.SubElement(suite, "testcase", classname=each.kind, name=_plain(each.name))
        if each.standing == "planned":
            counts["skipped"] += 1
            ET.SubElement(case, "skipped", message=_plain(f"{each.verdict}: {each.words}"))
        elif each.verdict == SHORT:
            counts["failures"] += 1
            ET.SubElement(case, "failure", message=_plain(each.words), type=each.verdict)
        elif each.verdict == CANT_TELL:
            counts["errors"] += 1
            ET.SubElement(case, "error", message=_plain(each.words), type=each.verdict)
        said = f"{each.promise}\n{each.verdict}: {each.words}" if each.promise else each.words
        ET.SubElement(case, "system-out").text = _plain(said)
    for key, count in counts.items():
        suite.set(key, str(count))
    return bytes(ET.tostring(suite, encoding="utf-8", xml_declaration=True))


def prometheus_of(verdicts: Sequence[Verdict], *, at: float) -> str:
    """Gauges by invariant, as the text format 0.0.4 has them; `at` is a POSIX time."""
    lines = [
        *_gauge(
            "indelible_invariant_holds",
            "Whether it holds, be it so far (1), or falls short or can't be told (0).",
            verdicts,
            lambda each: float(each.verdict in (HOLDS, SO_FAR)),
        ),
        *_gauge(
            "indelible_invariant_can_be_told",
            "Whether the trail shows if it holds (1), or not (0).",
            verdicts,
            lambda each: float(each.verdict != CANT_TELL),
        ),
        *_gauge(
            "indelible_invariant_figure",
            "What was measured, or by how much it falls short, in the unit of the label.",
            verdicts,
            lambda each: each.figure,
        ),
        *_gauge(
            "indelible_invariant_required",
            "What the figure is held against.",
            verdicts,
            lambda each: each.required,
        ),
        "# HELP indelible_checked_seconds When the invariants were checked.",
        "# TYPE indelible_checked_seconds gauge",
        f"indelible_checked_seconds {at:.3f}",
    ]
    return "\n".join(lines) + "\n"


def _gauge(
    name: str,
    about: str,
    verdicts: Sequence[Verdict],
    value_of: Callable[[Verdict], float | None],
) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} gauge"
    for each in verdicts:
        value = value_of(each)
        if value is not None:
            labels = {
                "invariant": each.name,
                "kind": each.kind,
                "standing": each.standing,
                "unit": each.unit,
            }
            named = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items())
            yield f"{name}{{{named}}} {value!r}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _plain(text: str) -> str:
    """`text` without what XML has no form for."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
