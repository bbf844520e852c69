"""Where checkpoints are kept beside a trail: the settings of each kind of anchor."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

EVERY_S: Final = 3_600.0
DEADLINE_S: Final = 30.0
RETENTION_DAYS: Final = 3_650


class AnchorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One anchor. `every_s` is how often it gets a checkpoint at most; it has failed for now where
    it doesn't take it within `deadline_s`. URLs may hold secrets, and aren't shown.
    """

    name: str
    every_s: float = EVERY_S
    deadline_s: float = DEADLINE_S

    kind = ""

    @property
    def is_outside(self) -> bool:
        """Whether other hands keep what it answers, so that it can be checked afterwards."""
        return False

    def __repr__(self) -> str:
        return f"<{self.kind} anchor {self.name}>"


class Rfc3161Settings(AnchorSettings, frozen=True, kw_only=True):
    """A timestamp authority at `url`; `ca_file` (PEM) has the certificates that vouch for it."""

    url: str
    ca_file: Path

    kind = "rfc3161"
    is_outside = True


class S3Settings(AnchorSettings, frozen=True, kw_only=True):
    """A bucket with Object Lock; each object is kept for `retention_days`."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    retention_days: int = RETENTION_DAYS

    kind = "s3"
    is_outside = True


class GitSettings(AnchorSettings, frozen=True, kw_only=True):
    """A bare repository, which is pushed to the URL `push` where there is one."""

    repository: Path
    push: str | None = None

    kind = "git"

    @property
    def is_outside(self) -> bool:
        return self.push is not None


class FileSettings(AnchorSettings, frozen=True, kw_only=True):
    """A file to which lines are added, on another disk or machine."""

    path: Path

    kind = "file"


class WebhookSettings(AnchorSettings, frozen=True, kw_only=True):
    """A URL to which each checkpoint is posted, with the token in `token_file`."""

    url: str
    token_file: Path | None = None

    kind = "webhook"
