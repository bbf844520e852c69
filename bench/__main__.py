"""`python -m bench [NAME ...]`: each named benchmark, or all of them, one after the other."""

import importlib
import sys
from pathlib import Path

# Not benchmarks: what they share.
SHARED = ("__init__", "__main__", "machine", "mix")


def main(arguments: list[str]) -> None:
    found = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    names = [name for name in found if name not in SHARED]
    chosen = [arguments.pop(0) for _ in range(len(arguments)) if arguments[0] in names]
    if arguments and len(chosen) != 1:
        sys.exit(f"expected names of {', '.join(names)}, got {' '.join(arguments)}")
    for name in chosen or names:
        sys.argv[1:] = arguments
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
