"""The token that lets somebody read bodies, in a file that only its owner reads.

Whoever has it reads all of a trail's bodies, and can't write any.
"""

from __future__ import annotations

import hmac
import os
import re
from pathlib import Path
from typing import Final, NoReturn

from indelible.errors import ConfigurationError
from indelible.integrity.private_files import read_private

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{32,512}=*")
"""`b64token` of RFC 6750, long enough that nobody guesses it."""


class Token:
    """A bearer token; only `header` gives it out. `name` is that of its file."""

    __slots__ = ("_text", "name")

    def __init__(self, text: str, name: str = "token") -> None:
        self._text = text
        self.name = name

    @property
    def header(self) -> str:
        """The value of an `Authorization` header."""
        return f"Bearer {self._text}"

    def is_in(self, header: str) -> bool:
        """Whether this `Authorization` header has the token; takes as long for any that hasn't."""
        scheme, _, text = header.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            text.strip().encode("utf-8", "surrogateescape"), self._text.encode()
        )

    def __repr__(self) -> str:
        return "<Token>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Token is never pickled or copied")


def read_token_file(path: Path) -> Token:
    """The token in the file; raises `ConfigurationError`, which never shows it.

    Where there is no such file, where others may read it, or where it holds something else.
    """
    text = read_private(path, "a token")
    if not _TOKEN.fullmatch(text):
        raise ConfigurationError(
            f"expected a token of 32 letters, digits or more in {path}, came another text: "
            f"(umask 077; openssl rand -hex 32 > {path})"
        )
    # A file's name may be any bytes.
    return Token(text, os.fsencode(path.name).decode(errors="replace"))
