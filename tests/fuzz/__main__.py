"""`python -m tests.fuzz TARGET|all|list [libFuzzer options]`: fuzzing with atheris, by coverage.

`all` gives each input to the target that its first byte names, so that one process does for all;
`list` prints the targets.
What is found is written to `crash-…` in the current folder, and printed.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["indelible"]):
    from tests.fuzz import targets


def main() -> None:
    name, *options = sys.argv[1:]
    names = list(targets.TARGETS)
    if name == "list":
        print("\n".join(names))
        return
    with tempfile.TemporaryDirectory() as corpus:

        def take(raw: bytes) -> None:
            if name != "all":
                targets.run(targets.TARGETS[name], raw)
            elif raw:
                targets.run(targets.TARGETS[names[raw[0] % len(names)]], raw[1:])

        for number, each in enumerate(names):
            for place, seed in enumerate(targets.TARGETS[each].seeds):
                if name in (each, "all"):
                    prefix = bytes([number]) if name == "all" else b""
                    Path(corpus, f"{number}-{place}").write_bytes(prefix + seed)
        # Without a leak detector: Python keeps what it allocated.
        arguments = [sys.argv[0], corpus, f"-max_len={targets.MOST_BYTES}", *options]
        atheris.Setup([*arguments, "-detect_leaks=0"], take)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
