"""Read `indelible.toml`; every mistake in it names file, key and what is allowed."""

from __future__ import annotations

import tomllib
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar, get_args

import msgspec

from indelible.errors import ConfigurationError, PolicyError
from indelible.policy.model import (
    Baseline,
    Durability,
    Hop,
    LockMode,
    Policy,
    Profile,
    RelaySettings,
    RetentionSettings,
    Server,
    SubjectPath,
    TablePolicy,
    TierSettings,
    WitnessSettings,
)
from indelible.policy.promises import parse_invariants

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
_RETENTION_KEYS: Final = ("keystore", "master_key", "authorisers")
_WITNESS_KEYS: Final = ("policy", "deadline_s", "refresh_s")
_TIER_KEYS: Final = (
    "sealed",
    "hot_days",
    "lock",
    "lock_days",
    "lake",
    "hot_price",
    "sealed_price",
)
_MOST_DAYS: Final = 36_500
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
    return _logs(document, _Where(str(path), text, ""))


def policy_for_url(url: str) -> Policy:
    """The default policy for a trail named by URL: `sqlite:///trail.db` (or a fourth slash)."""
    trail = _sqlite_path(url, _Where("URL", "", url), Path())
    return Policy(
        trail=trail,
        journals=trail.with_name(trail.name + ".journals"),
        keys=trail.with_name(trail.name + ".keys"),
        tiers=tiers_of(trail),
        source=url,
    )


def tiers_of(trail: Path) -> TierSettings:
    """The default for the trail in that file: a folder beside it."""
    return TierSettings(sealed=trail.with_name(trail.name + ".sealed"))


def parse_policy(text: str, *, name: str = "indelible.toml", directory: Path = Path()) -> Policy:
    """The policy in `text`; `name` stands in errors, `directory` before relative paths."""
    from indelible.policy.load_anchors import parse_anchors  # reads by what stands here

    document = _document(text, name)
    top = _Where(name, text, "")
    _check_keys(
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
            "invariant",
        ),
        top,
    )
    _logs(document, top)
    trail_at = top.under("trail")
    trail = _section(document, "trail", top)
    _check_keys(trail, _TRAIL_KEYS, trail_at)
    if "url" not in trail:
        raise trail_at.error('expected `url`, as in url = "sqlite:///trail.db"')
    trail_url = _take(trail, "url", str, "", trail_at)
    trail_path = _sqlite_path(trail_url, trail_at, directory)
    defaults = policy_for_url(trail_url)
    passphrase_file = _take(trail, "passphrase_file", str, "", trail_at)
    passphrase_env = _take(trail, "passphrase_env", str, "", trail_at)
    if passphrase_file and passphrase_env:
        raise trail_at.error("expected passphrase_file or passphrase_env, got both")
    database = _section(document, "database", top)
    database_path, server = _database(database, top.under("database"), directory)
    tables = _section(document, "tables", top)
    default = _table(
        _section(tables, "default", top.under("tables")),
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
            )
            policies[table.lower()] = _table(_section(tables, table, top.under("tables")), base, at)
    policy = Policy(
        trail=trail_path,
        journals=directory / _take(trail, "journals", str, str(defaults.journals), trail_at),
        keys=directory / _take(trail, "keys", str, str(defaults.keys), trail_at),
        origin=_take(trail, "origin", str, "", trail_at) or None,
        database=database_path,
        server=server,
        default=_of_kind(default, policies),
        tables={name: _of_kind(policy, policies) for name, policy in policies.items()},
        relay=_relay(_section(document, "relay", top), top.under("relay")),
        witness=_witness(document, top, directory),
        anchors=parse_anchors(document, top, directory),
        signer=_signer(trail, trail_at),
        passphrase_file=directory / passphrase_file if passphrase_file else None,
        passphrase_env=passphrase_env or None,
        tiers=_tiers(document, top, directory, trail_path),
        invariants=parse_invariants(document.get("invariant", []), text, name),
        directory=directory,
        source=name,
    )
    return msgspec.structs.replace(policy, retention=_retention(document, top, policy, directory))


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


class _Where:
    """A place in the file, to be named in an error with its line."""

    def __init__(self, file: str, text: str, *path: str) -> None:
        self._file = file
        self._text = text
        self._path = tuple(part for part in path if part)

    def under(self, *names: str) -> _Where:
        return _Where(self._file, self._text, *self._path, *names)

    def error(self, message: str, key: str = "") -> PolicyError:
        line = self._line(key)
        section = f" [{'.'.join(self._path)}]" if self._path else ""
        place = f"{self._file}, line {line}" if line else self._file
        return PolicyError(f"{place}{section}: {message}")

    def _line(self, key: str) -> int:
        section = ".".join(self._path)
        inside = not section
        for number, raw in enumerate(self._text.splitlines(), start=1):
            line = raw.strip()
            if line.startswith("["):
                head = line.strip("[] ").replace('"', "").replace("'", "")
                if inside and section:
                    break
                inside = head == section or (not section and head.split(".")[0] == key)
                if inside and (not key or not section):
                    return number
            elif inside and key and line.split("=")[0].strip().strip("\"'") == key:
                return number
        return 0


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


def _logs(document: Mapping[str, object], top: _Where) -> frozenset[str]:
    section = _section(document, "logs", top)
    at = top.under("logs")
    _check_keys(section, _LOGS_KEYS, at)
    return _names(section, "allowed", frozenset(), at, "classes and kinds")


def _section(document: Mapping[str, object], key: str, at: _Where) -> Mapping[str, object]:
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise at.error(f"expected [{key}] as a table, got {type(found).__name__}", key)
    return found


def _check_keys(section: Mapping[str, object], allowed: tuple[str, ...], at: _Where) -> None:
    for key in section:
        if key not in allowed:
            raise at.error(f"unknown key {key!r}; allowed here: {', '.join(allowed)}", key)


def _take(section: Mapping[str, object], key: str, kind: type[T], default: T, at: _Where) -> T:
    found = section.get(key, default)
    if kind is float and type(found) is int:
        found = float(found)
    if type(found) is not kind:
        raise at.error(f"expected {key} as {kind.__name__}, got {type(found).__name__}", key)
    return found


def _names(
    section: Mapping[str, object],
    key: str,
    default: frozenset[str],
    at: _Where,
    of: str = "column names",
) -> frozenset[str]:
    found = section.get(key)
    if found is None:
        return default
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise at.error(f"expected {key} as a list of {of}", key)
    return frozenset(name.lower() for name in found)


def _choice(section: Mapping[str, object], key: str, default: T, allowed: object, at: _Where) -> T:
    found = section.get(key, default)
    choices = get_args(allowed)
    if found not in choices:
        raise at.error(f"expected {key} as one of {', '.join(choices)}, got {found!r}", key)
    return found  # type: ignore[return-value]


def _table(section: Mapping[str, object], base: TablePolicy, at: _Where) -> TablePolicy:
    _check_keys(section, _TABLE_KEYS, at)
    kind = _take(section, "kind", str, base.kind, at)
    if not kind or ":" in kind:
        raise at.error(f"expected kind without ':', got {kind!r}", "kind")
    subject = base.subject
    if "subject" in section:
        text = _take(section, "subject", str, "", at)
        try:
            subject = parse_subject_path(text, kind)
        except ValueError as error:
            raise at.error(f"subject: {error}, got {text!r}", "subject") from None
    seal = _names(section, "seal", base.seal, at)
    if seal and subject is None:
        raise at.error(
            "expected subject beside seal: values are sealed for the subject whose data they are",
            "seal",
        )
    return TablePolicy(
        table=base.table,
        kind=kind,
        writes=_take(section, "writes", bool, base.writes, at),
        reads=_take(section, "reads", bool, base.reads, at),
        durability=_choice(section, "durability", base.durability, Durability, at),
        baseline=_choice(section, "baseline", base.baseline, Baseline, at),
        mask=_names(section, "mask", base.mask, at),
        without_values=_names(section, "without_values", base.without_values, at),
        subject=subject,
        seal=seal,
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
    section: Mapping[str, object], at: _Where, directory: Path
) -> tuple[Path | None, Server | None]:
    """A file or a server. What the URL says is never in an error: it may hold a password."""
    _check_keys(section, _DATABASE_KEYS, at)
    if "url" not in section:
        return None, None
    url = _take(section, "url", str, "", at)
    scheme = url.partition("://")[0] if "://" in url else ""
    roles = _texts(section, "roles", "names", at)
    hosts = _texts(section, "hosts", "addresses", at)
    log = _take(section, "audit_log", str, "", at)
    audit_log = str(directory.absolute() / log) if log else None
    profile: Profile = "triggers"
    profile = _choice(section, "profile", profile, Profile, at)
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


def _texts(section: Mapping[str, object], key: str, what: str, at: _Where) -> tuple[str, ...]:
    found = section.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise at.error(f"expected {key} as a list of {what}", key)
    return tuple(found)


def _relay(section: Mapping[str, object], at: _Where) -> RelaySettings:
    _check_keys(section, _RELAY_KEYS, at)
    base = RelaySettings()
    settings = RelaySettings(
        batch_events=_take(section, "batch_events", int, base.batch_events, at),
        poll_s=_take(section, "poll_s", float, base.poll_s, at),
        read_s=_take(section, "read_s", float, base.read_s, at),
        retry_max_s=_take(section, "retry_max_s", float, base.retry_max_s, at),
        buffer_events=_take(section, "buffer_events", int, base.buffer_events, at),
        sessions_s=_take(section, "sessions_s", float, base.sessions_s, at),
    )
    for key in _RELAY_KEYS:
        if getattr(settings, key) <= 0:
            raise at.error(f"expected {key} above zero, got {getattr(settings, key)}", key)
    return settings


def _witness(
    document: Mapping[str, object], top: _Where, directory: Path
) -> WitnessSettings | None:
    """None where the section is missing: nobody is asked."""
    if "witness" not in document:
        return None
    section, at = _section(document, "witness", top), top.under("witness")
    _check_keys(section, _WITNESS_KEYS, at)
    policy = _take(section, "policy", str, "", at)
    if not policy:
        raise at.error('expected `policy`, as in policy = "trust.policy"')
    base = WitnessSettings(policy=directory / policy)
    settings = WitnessSettings(
        policy=base.policy,
        deadline_s=_take(section, "deadline_s", float, base.deadline_s, at),
        refresh_s=_take(section, "refresh_s", float, base.refresh_s, at),
    )
    for key in ("deadline_s", "refresh_s"):
        if not 0 < getattr(settings, key) <= _WITNESS_MAX_S:
            raise at.error(
                f"expected {key} above zero and at most {_WITNESS_MAX_S:g}, "
                f"got {getattr(settings, key)}",
                key,
            )
    return settings


def _signer(section: Mapping[str, object], at: _Where) -> Path | None:
    """The socket that `unix:///run/indelible/signer.sock` names; None: the key is a file here."""
    url = _take(section, "signer", str, "", at)
    if not url:
        return None
    path = url.removeprefix(_SIGNER_SCHEME)
    if path == url or not path.startswith("/"):
        raise at.error(f"expected a URL like unix:///run/signer.sock, got {url!r}", "signer")
    return Path(path)


def _tiers(
    document: Mapping[str, object], top: _Where, directory: Path, trail: Path
) -> TierSettings:
    section, at = _section(document, "tiers", top), top.under("tiers")
    _check_keys(section, _TIER_KEYS, at)
    base = tiers_of(trail)
    sealed = _take(section, "sealed", str, "", at)
    if "://" in sealed and not sealed.startswith("s3://"):
        raise at.error(
            f"expected sealed as a folder or s3://bucket/prefix, got {sealed!r}", "sealed"
        )
    lake = _take(section, "lake", str, "", at)
    lock: LockMode | None = None
    if "lock" in section:
        lock = _choice(section, "lock", "governance", LockMode, at)
        if not sealed.startswith("s3://"):
            raise at.error('expected lock only beside sealed = "s3://bucket/prefix"', "lock")
    settings = TierSettings(
        sealed=base.sealed if not sealed else sealed if "://" in sealed else directory / sealed,
        hot_days=_take(section, "hot_days", int, base.hot_days, at),
        lock=lock,
        lock_days=_take(section, "lock_days", int, base.lock_days, at),
        lake=directory / lake if lake else None,
        hot_price=_price(section, "hot_price", at),
        sealed_price=_price(section, "sealed_price", at),
    )
    for key, least in (("hot_days", 0), ("lock_days", 1)):
        if not least <= getattr(settings, key) <= _MOST_DAYS:
            raise at.error(
                f"expected {key} from {least} to {_MOST_DAYS}, got {getattr(settings, key)}", key
            )
    return settings


def _price(section: Mapping[str, object], key: str, at: _Where) -> float | None:
    if key not in section:
        return None
    price = _take(section, key, float, 0.0, at)
    if not 0 <= price < float("inf"):
        raise at.error(f"expected {key} not below zero, got {price}", key)
    return price


def _retention(
    document: Mapping[str, object], top: _Where, policy: Policy, directory: Path
) -> RetentionSettings | None:
    """None where the section is missing: all as `Policy.kept` says."""
    if "retention" not in document:
        return None
    section, at = _section(document, "retention", top), top.under("retention")
    _check_keys(section, _RETENTION_KEYS, at)
    base = policy.kept()
    keystore = _take(section, "keystore", str, str(base.keystore), at)
    master_key = _take(section, "master_key", str, str(base.master_key), at)
    threshold, keys = _authorisers(section.get("authorisers"), at)
    return RetentionSettings(
        keystore=directory / keystore,
        master_key=directory / master_key,
        threshold=threshold,
        authorisers=keys,
    )


def _authorisers(found: object, at: _Where) -> tuple[int, tuple[str, ...]]:
    """How many have to sign, and their vkeys, each once."""
    if found is None:
        return 0, ()
    if not isinstance(found, dict) or set(found) != {"k", "keys"}:
        raise at.error(
            'expected authorisers as {k = 2, keys = ["name+hash+key", …]}', "authorisers"
        )
    threshold = found["k"]
    keys = _texts(found, "keys", "public keys, as `indelible key` prints them", at)
    if len(set(keys)) != len(keys):
        raise at.error("expected each key of authorisers once", "authorisers")
    if type(threshold) is not int or not 1 <= threshold <= len(keys):
        raise at.error(f"expected k of authorisers from 1 to {len(keys)}, its keys", "authorisers")
    return threshold, keys


def _sqlite_path(url: str, at: _Where, directory: Path) -> Path:
    if not url.startswith(_SCHEME) or url == _SCHEME:
        raise at.error(f"expected a URL like sqlite:///trail.db, got {url!r}", "url")
    return directory / url.removeprefix(_SCHEME)
