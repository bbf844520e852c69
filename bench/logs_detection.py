"""What patterns alone find of 54 kinds of value, and what they take for one.

`python -m bench logs_detection`: on seeded lines, which the rules were written with, and on
held-out lines in other dresses, for which no rule was ever changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from tests.logs.corpus import KINDS, Line, clean_lines, seeded_lines
from tests.logs.held_out import held_out_clean_lines, held_out_lines
from tests.logs.measure import measure

from indelible.logs.scrub import DATA_CLASSES, Scrubber

PER_KIND = 84
CLEAN = 5_000


def main() -> None:
    scrubber = Scrubber()
    report(scrubber, "seeded", seeded_lines(1, PER_KIND), clean_lines(2, CLEAN))
    report(scrubber, "held out", held_out_lines(1, PER_KIND), held_out_clean_lines(2, CLEAN))


def report(scrubber: Scrubber, tier: str, lines: Iterable[Line], clean: Iterable[Line]) -> None:
    found = measure(scrubber, lines)
    untouched = measure(scrubber, clean)
    print(f"\n{tier}: {found}")
    print(f"clean lines touched: {untouched.touched / untouched.clean:.2%} of {untouched.clean}")
    for text, count in Counter(untouched.wrong).most_common(5):
        print(f"  {count} {text[:110]}")
    by_class: dict[str, list[str]] = defaultdict(list)
    for name, kind in KINDS.items():
        by_class[kind.data_class].append(name)
    for data_class in DATA_CLASSES:
        names = by_class[data_class]
        missed = sum(found.missed[name] for name in names)
        print(f"{data_class}: recall {1 - missed / (len(names) * PER_KIND):.1%}")
    least = [f"{name} {1 - count / PER_KIND:.0%}" for name, count in found.missed.most_common(12)]
    print(f"least: {', '.join(least)}")


if __name__ == "__main__":
    main()
