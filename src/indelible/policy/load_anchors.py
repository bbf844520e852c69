"""Read `[anchors.NAME]` of `indelible.toml`: where checkpoints are kept beside the trail."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from indelible.policy.anchors import (
    DEADLINE_S,
    EVERY_S,
    RETENTION_DAYS,
    AnchorSettings,
    FileSettings,
    GitSettings,
    Rfc3161Settings,
    S3Settings,
    WebhookSettings,
)
from indelible.policy.sections import Where, check_keys, take, take_section

_DEADLINE_MAX_S: Final = 600.0
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
COMMON_KEYS: Final = ("kind", "every_s", "deadline_s")
KIND_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "rfc3161": ("url", "ca_file"),
    "s3": ("bucket", "prefix", "endpoint", "region", "retention_days"),
    "git": ("repository", "push"),
    "file": ("path",),
    "webhook": ("url", "token_file"),
}


def parse_anchors(
    document: Mapping[str, object], top: Where, directory: Path
) -> tuple[AnchorSettings, ...]:
    """Every `[anchors.NAME]`, in the order of the file. Raises `PolicyError`."""
    anchors = take_section(document, "anchors", top)
    return tuple(
        _anchor(name, take_section(anchors, name, top.under("anchors")), top, directory)
        for name in anchors
    )


def _anchor(
    name: str, section: Mapping[str, object], top: Where, directory: Path
) -> AnchorSettings:
    at = top.under("anchors", name)
    if not _NAME.fullmatch(name):
        raise at.error("expected a name of at most 64 letters, digits, - and _")
    kind = take(section, "kind", str, "", at)
    if kind not in KIND_KEYS:
        key = "kind" if "kind" in section else ""
        raise at.error(f"expected kind as one of {', '.join(KIND_KEYS)}, got {kind!r}", key)
    check_keys(section, (*COMMON_KEYS, *KIND_KEYS[kind]), at)
    every_s = take(section, "every_s", float, EVERY_S, at)
    deadline_s = take(section, "deadline_s", float, DEADLINE_S, at)
    if not 0 < every_s < float("inf"):
        raise at.error(f"expected every_s above zero, got {every_s}", "every_s")
    if not 0 < deadline_s <= _DEADLINE_MAX_S:
        raise at.error(
            f"expected deadline_s above zero and at most {_DEADLINE_MAX_S:g}, got {deadline_s}",
            "deadline_s",
        )
    made = _KINDS[kind](name, section, at, directory)
    return msgspec.structs.replace(made, every_s=every_s, deadline_s=deadline_s)


def _rfc3161(
    name: str, section: Mapping[str, object], at: Where, directory: Path
) -> AnchorSettings:
    url = _url(section, "url", at)
    return Rfc3161Settings(
        name=name, url=url, ca_file=directory / _required(section, "ca_file", '"tsa-ca.pem"', at)
    )


def _s3(name: str, section: Mapping[str, object], at: Where, directory: Path) -> AnchorSettings:
    days = take(section, "retention_days", int, RETENTION_DAYS, at)
    if not 1 <= days <= 36_500:
        raise at.error(f"expected retention_days from 1 to 36500, got {days}", "retention_days")
    return S3Settings(
        name=name,
        bucket=_required(section, "bucket", '"audit-anchors"', at),
        prefix=take(section, "prefix", str, "", at),
        endpoint=_url(section, "endpoint", at) if "endpoint" in section else None,
        region=take(section, "region", str, "", at) or None,
        retention_days=days,
    )


def _git(name: str, section: Mapping[str, object], at: Where, directory: Path) -> AnchorSettings:
    push = take(section, "push", str, "", at)
    if push.startswith("-") or "::" in push or not push.isprintable():
        raise at.error("expected push as the URL or the path of a repository", "push")
    if "://" in push and _has_password(push):
        raise at.error(
            "expected push without a password in it: let git have it from a credential helper or "
            "a key",
            "push",
        )
    if push and "://" not in push and ":" not in push.partition("/")[0]:
        push = str((directory / push).absolute())
    return GitSettings(
        name=name,
        repository=directory / _required(section, "repository", '"anchors.git"', at),
        push=push or None,
    )


def _file(name: str, section: Mapping[str, object], at: Where, directory: Path) -> AnchorSettings:
    path = _required(section, "path", '"/mnt/elsewhere/anchors.jsonl"', at)
    return FileSettings(name=name, path=directory / path)


def _webhook(
    name: str, section: Mapping[str, object], at: Where, directory: Path
) -> AnchorSettings:
    token_file = take(section, "token_file", str, "", at)
    return WebhookSettings(
        name=name,
        url=_url(section, "url", at),
        token_file=directory / token_file if token_file else None,
    )


_KINDS: Final[Mapping[str, Callable[[str, Mapping[str, object], Where, Path], AnchorSettings]]] = {
    "rfc3161": _rfc3161,
    "s3": _s3,
    "git": _git,
    "file": _file,
    "webhook": _webhook,
}


def _required(section: Mapping[str, object], key: str, example: str, at: Where) -> str:
    found = take(section, key, str, "", at)
    if not found:
        raise at.error(f"expected `{key}`, as in {key} = {example}")
    return found


def _url(section: Mapping[str, object], key: str, at: Where) -> str:
    """What it says is never in an error: it may hold a token."""
    url = take(section, key, str, "", at)
    try:
        parts = urllib.parse.urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or not url.isascii() or not url.isprintable() or " " in url:
        place = key if key in section else ""
        raise at.error(f"expected {key} as a URL that begins with https:// or http://", place)
    if _has_password(url):
        raise at.error(f"expected {key} without a name or password before its host", key)
    return url


def _has_password(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return True
    if parts.scheme in ("http", "https"):
        return "@" in parts.netloc
    return ":" in parts.netloc.rpartition("@")[0]
