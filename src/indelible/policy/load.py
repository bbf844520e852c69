"""Read `indelible.toml`; every mistake in it names file, key and what is allowed."""

from __future__ import annotations

import tomllib
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from indelible.errors import ConfigurationError, PolicyError
from indelible.policy.load_anchors import parse_anchors
from indelible.policy.load_keeping import parse_retention, parse_tiers, tiers_of
from indelible.policy.load_reports import parse_reports
from indelible.policy.model import (
    Baseline,
    Durability,
    Hop,
    Policy,
    Profile,
    RelaySettings,
    Server,
    SubjectPath,
    TablePolicy,
    WitnessSettings,
)
from indelible.policy.personal import parse_personal, personal_of, resolve_personal
from indelible.policy.promises import parse_invariants
from indelible.policy.sections import (
    Where,
    check_keys,
    take,
    take_choice,
    take_names,
    take_section,
    take_texts,
)

T = TypeVar("T")
_SCHEME: Final = "sqlite:///"
_TABLE_KEYS: Final = (
    "kind",
    "writes",
    "reads",
    "durability",
    "baseline",
    "mask",
    "without_values",
    "seal",
    "personal",
    "subject",
)
_DATABASE_KEYS: Final = ("url", "roles", "profile", "hosts", "audit_log")
_SERVER_SCHEMES: Final = ("postgresql", "postgres", "mysql", "mariadb")
_SERVER_URLS: Final = "postgresql://host/name or mysql://host/name"
_TRAIL_KEYS: Final = (
    "url",
    "journals",
    "keys",
    "origin",
    "signer",
    "passphrase_file",
    "passphrase_env",
)
_SIGNER_SCHEME: Final = "unix://"
_LOGS_KEYS: Final = ("allowed",)
_RELAY_KEYS: Final = (
    "batch_events",
    "poll_s",
    "read_s",
    "retry_max_s",
    "buffer_events",
    "sessions_s",
)
_WITNESS_KEYS: Final = ("policy", "deadline_s", "refresh_s")
_WITNESS_MAX_S: Final = 60.0
"""Witnesses raise the alarm over a trail that is silent for some minutes."""


def load_policy(path: str | Path) -> Policy:
    """The policy in the file at `path`; relative paths in it are beside it.

    Raises `PolicyError` (what is wrong, where, what is allowed) and `ConfigurationError` when
    the file can't be read.
    """
    path = Path(path)
    text = _text_of(path)
    return parse_policy(text, name=str(path), directory=path.parent)


def load_allowed_in_logs(path: str | Path) -> frozenset[str]:
    """What `[logs] allowed` says in the file at `path`, of which no other section is looked at.

    Raises what `load_policy` does.
    """
    path = Path(path)
    text = _text_of(path)
    document = _document(text, str(path))
    return _logs(document, Where(str(path), text, ""))


def policy_for_url(url: str) -> Policy:
    """The default policy for a trail named by URL: `sqlite:///trail.db` (or a fourth slash)."""
    trail = _sqlite_path(url, Where("URL", "", url), Path())
    return Policy(
        trail=trail,
        journals=trail.with_name(trail.name + ".journals"),
        keys=trail.with_name(trail.name + ".keys"),
        tiers=tiers_of(trail),
        source=url,
    )


def parse_policy(text: str, *, name: str = "indelible.toml", directory: Path = Path()) -> Policy:
    """The policy in `text`; `name` stands in errors, `directory` before relative paths."""
    document = _document(text, name)
    top = Where(name, text, "")
    check_keys(
        document,
        (
            "trail",
            "database",
            "tables",
            "relay",
            "logs",
            "witness",
            "anchors",
            "tiers",
            "retention",
            "reports",
            "invariant",
        ),
        top,
    )
    _logs(document, top)
    trail_at = top.under("trail")
    trail = take_section(document, "trail", top)
    check_keys(trail, _TRAIL_KEYS, trail_at)
    if "url" not in trail:
        raise trail_at.error('expected `url`, as in url = "sqlite:///trail.db"')
    trail_url = take(trail, "url", str, "", trail_at)
    trail_path = _sqlite_path(trail_url, trail_at, directory)
    defaults = policy_for_url(trail_url)
    passphrase_file = take(trail, "passphrase_file", str, "", trail_at)
    passphrase_env = take(trail, "passphrase_env", str, "", trail_at)
    if passphrase_file and passphrase_env:
        raise trail_at.error("expected passphrase_file or passphrase_env, got both")
    database = take_section(document, "database", top)
    database_path, server = _database(database, top.under("database"), directory)
    tables = take_section(document, "tables", top)
    default = _table(
        take_section(tables, "default", top.under("tables")),
        TablePolicy("default", "default"),
        top.under("tables", "default"),
    )
    policies = {}
    for table in tables:
        if table != "default":
            at = top.under("tables", table)
            base = TablePolicy(
                table,
                table.lower(),
                default.writes,
                default.reads,
                default.durability,
                default.baseline,
                default.mask,
                default.without_values,
                default.subject,
                default.seal,
                default.personal,
            )
            policies[table.lower()] = _table(
                take_section(tables, table, top.under("tables")), base, at
            )
    default, policies = resolve_personal(
        _of_kind(default, policies),
        {name: _of_kind(policy, policies) for name, policy in policies.items()},
        top,
    )
    policy = Policy(
        trail=trail_path,
        journals=directory / take(trail, "journals", str, str(defaults.journals), trail_at),
        keys=directory / take(trail, "keys", str, str(defaults.keys), trail_at),
        origin=take(trail, "origin", str, "", trail_at) or None,
        database=database_path,
        server=server,
        default=default,
        tables=policies,
        personal=personal_of(default, policies),
        relay=_relay(take_section(document, "relay", top), top.under("relay")),
        witness=_witness(document, top, directory),
        anchors=parse_anchors(document, top, directory),
        signer=_signer(trail, trail_at),
        passphrase_file=directory / passphrase_file if passphrase_file else None,
        passphrase_env=passphrase_env or None,
        tiers=parse_tiers(document, top, directory, trail_path),
        reports=parse_reports(document, top),
        invariants=parse_invariants(document.get("invariant", []), text, name),
        directory=directory,
        source=name,
    )
    return msgspec.structs.replace(
        policy, retention=parse_retention(document, top, policy, directory)
    )


def parse_subject_path(text: str, table: str) -> SubjectPath:
    """`"self"`, `"customer_id -> customer"` or `"invoice_id -> invoice.customer_id -> customer"`.

    Raises `ValueError` saying what was expected.
    """
    if text.strip() == "self":
        return SubjectPath(table.lower())
    steps = [step.strip() for step in text.split("->")]
    if len(steps) < 2 or not all(steps):
        raise ValueError('expected "self" or "column -> table" or longer')
    hops = []
    column = steps[0]
    for step in steps[1:-1]:
        head, dot, tail = step.partition(".")
        if not dot or not head or not tail:
            raise ValueError(f'expected "table.column" between arrows, got {step!r}')
        hops.append(Hop(column, head))
        column = tail
    if "." in steps[-1]:
        raise ValueError(f"expected a table after the last arrow, got {steps[-1]!r}")
    hops.append(Hop(column, steps[-1]))
    return SubjectPath(steps[-1].lower(), tuple(hops))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"expected a configuration file at {path}: {error.strerror}; "
            "`indelible init` writes one"
        ) from None
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: expected UTF-8, got other bytes at {error.start}") from None


def _document(text: str, name: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{name}: expected TOML: {error}") from None


def _logs(document: Mapping[str, object], top: Where) -> frozenset[str]:
    section = take_section(document, "logs", top)
    at = top.under("logs")
    check_keys(section, _LOGS_KEYS, at)
    return take_names(section, "allowed", frozenset(), at, "classes and kinds")


def _table(section: Mapping[str, object], base: TablePolicy, at: Where) -> TablePolicy:
    check_keys(section, _TABLE_KEYS, at)
    kind = take(section, "kind", str, base.kind, at)
    if not kind or ":" in kind:
        raise at.error(f"expected kind without ':', got {kind!r}", "kind")
    subject = base.subject
    if "subject" in section:
        text = take(section, "subject", str, "", at)
        try:
            subject = parse_subject_path(text, kind)
        except ValueError as error:
            raise at.error(f"subject: {error}, got {text!r}", "subject") from None
    seal = take_names(section, "seal", base.seal, at)
    if seal and subject is None:
        raise at.error(
            "expected subject beside seal: values are sealed for the subject whose data they are",
            "seal",
        )
    return TablePolicy(
        table=base.table,
        kind=kind,
        writes=take(section, "writes", bool, base.writes, at),
        reads=take(section, "reads", bool, base.reads, at),
        durability=take_choice(section, "durability", base.durability, Durability, at),
        baseline=take_choice(section, "baseline", base.baseline, Baseline, at),
        mask=take_names(section, "mask", base.mask, at),
        without_values=take_names(section, "without_values", base.without_values, at),
        subject=subject,
        seal=seal,
        personal=parse_personal(section, base.personal, at),
    )


def _of_kind(policy: TablePolicy, policies: Mapping[str, TablePolicy]) -> TablePolicy:
    """`policy`, whose subject is of the kind that the table has on which its path ends."""
    path = policy.subject
    if path is None or not path.hops:
        return policy
    end = policies.get(path.hops[-1].table.lower())
    kind = end.kind if end is not None else path.kind
    return msgspec.structs.replace(policy, subject=msgspec.structs.replace(path, kind=kind))


def _database(
    section: Mapping[str, object], at: Where, directory: Path
) -> tuple[Path | None, Server | None]:
    """A file or a server. What the URL says is never in an error: it may hold a password."""
    check_keys(section, _DATABASE_KEYS, at)
    if "url" not in section:
        return None, None
    url = take(section, "url", str, "", at)
    scheme = url.partition("://")[0] if "://" in url else ""
    roles = take_texts(section, "roles", "names", at)
    hosts = take_texts(section, "hosts", "addresses", at)
    log = take(section, "audit_log", str, "", at)
    audit_log = str(directory.absolute() / log) if log else None
    profile: Profile = "triggers"
    profile = take_choice(section, "profile", profile, Profile, at)
    if profile != "triggers" and not scheme.startswith("postgres"):
        raise at.error(
            f"expected profile = {profile!r} only beside a URL like postgresql://host/name",
            "profile",
        )
    if scheme in _SERVER_SCHEMES:
        try:
            urllib.parse.urlsplit(url).port  # noqa: B018 - whether it is a number
        except ValueError:
            raise at.error(f"expected a URL like {_SERVER_URLS}", "url") from None
        return None, Server(url, roles, profile, hosts, audit_log)
    if scheme != "sqlite":
        raise at.error(
            f"expected a URL like sqlite:///app.db, {_SERVER_URLS}, got {scheme!r} before its ://",
            "url",
        )
    for key in section:
        if key != "url":
            raise at.error(f"expected {key} only beside a URL like {_SERVER_URLS}", key)
    return _sqlite_path(url, at, directory), None


def _relay(section: Mapping[str, object], at: Where) -> RelaySettings:
    check_keys(section, _RELAY_KEYS, at)
    base = RelaySettings()
    settings = RelaySettings(
        batch_events=take(section, "batch_events", int, base.batch_events, at),
        poll_s=take(section, "poll_s", float, base.poll_s, at),
        read_s=take(section, "read_s", float, base.read_s, at),
        retry_max_s=take(section, "retry_max_s", float, base.retry_max_s, at),
        buffer_events=take(section, "buffer_events", int, base.buffer_events, at),
        sessions_s=take(section, "sessions_s", float, base.sessions_s, at),
    )
    for key in _RELAY_KEYS:
        if getattr(settings, key) <= 0:
            raise at.error(f"expected {key} above zero, got {getattr(settings, key)}", key)
    return settings


def _witness(document: Mapping[str, object], top: Where, directory: Path) -> WitnessSettings | None:
    """None where the section is missing: nobody is asked."""
    if "witness" not in document:
        return None
    section, at = take_section(document, "witness", top), top.under("witness")
    check_keys(section, _WITNESS_KEYS, at)
    policy = take(section, "policy", str, "", at)
    if not policy:
        raise at.error('expected `policy`, as in policy = "trust.policy"')
    base = WitnessSettings(policy=directory / policy)
    settings = WitnessSettings(
        policy=base.policy,
        deadline_s=take(section, "deadline_s", float, base.deadline_s, at),
        refresh_s=take(section, "refresh_s", float, base.refresh_s, at),
    )
    for key in ("deadline_s", "refresh_s"):
        if not 0 < getattr(settings, key) <= _WITNESS_MAX_S:
            raise at.error(
                f"expected {key} above zero and at most {_WITNESS_MAX_S:g}, "
                f"got {getattr(settings, key)}",
                key,
            )
    return settings


def _signer(section: Mapping[str, object], at: Where) -> Path | None:
    """The socket that `unix:///run/indelible/signer.sock` names; None: the key is a file here."""
    url = take(section, "signer", str, "", at)
    if not url:
        return None
    path = url.removeprefix(_SIGNER_SCHEME)
    if path == url or not path.startswith("/"):
        raise at.error(f"expected a URL like unix:///run/signer.sock, got {url!r}", "signer")
    return Path(path)


def _sqlite_path(url: str, at: Where, directory: Path) -> Path:
    if not url.startswith(_SCHEME) or url == _SCHEME:
        raise at.error(f"expected a URL like sqlite:///trail.db, got {url!r}", "url")
    return directory / url.removeprefix(_SCHEME)
