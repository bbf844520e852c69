"""SQL stands in `.sql` files beside the code: `-- name: <name>` before each statement."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def load_statements(package: str, file: str) -> dict[str, str]:
    """The named statements of `file` in `package`."""
    text = resources.files(package).joinpath(file).read_text("utf-8")
    parts = (part.partition("\n") for part in text.split("-- name: ")[1:])
    return {name.strip(): statement.strip() for name, _, statement in parts}
