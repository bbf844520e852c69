"""Read `[tiers]` and `[retention]`: where what is old goes, and who may have something erased."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from indelible.policy.durations import Duration
from indelible.policy.model import LockMode, Policy, RetentionSettings, TierSettings
from indelible.policy.sections import Where, check_keys, take, take_choice, take_section, take_texts

LENGTHS: Final = ("access_detail", "accesses", "changes", "events")
RETENTION_KEYS: Final = ("keystore", "master_key", "authorisers", "verifiers", *LENGTHS)
TIER_KEYS: Final = (
    "sealed",
    "hot_days",
    "lock",
    "lock_days",
    "lake",
    "iceberg",
    "hot_price",
    "sealed_price",
)
_MOST_DAYS: Final = 36_500


def tiers_of(trail: Path) -> TierSettings:
    """The default for the trail in that file: a folder beside it."""
    return TierSettings(sealed=trail.with_name(trail.name + ".sealed"))


def parse_tiers(
    document: Mapping[str, object], top: Where, directory: Path, trail: Path
) -> TierSettings:
    section, at = take_section(document, "tiers", top), top.under("tiers")
    check_keys(section, TIER_KEYS, at)
    base = tiers_of(trail)
    sealed = take(section, "sealed", str, "", at)
    if "://" in sealed and not sealed.startswith("s3://"):
        raise at.error(
            f"expected sealed as a folder or s3://bucket/prefix, got {sealed!r}", "sealed"
        )
    lake = take(section, "lake", str, "", at)
    iceberg = take(section, "iceberg", str, "", at)
    if iceberg and not lake:
        raise at.error('expected iceberg only beside lake = "FOLDER"', "iceberg")
    if "iceberg" in section and (iceberg.count(".") < 2 or not all(iceberg.split("."))):
        raise at.error(
            f'expected iceberg as "catalogue.namespace.table", got {iceberg!r}', "iceberg"
        )
    lock: LockMode | None = None
    if "lock" in section:
        lock = take_choice(section, "lock", "governance", LockMode, at)
        if not sealed.startswith("s3://"):
            raise at.error('expected lock only beside sealed = "s3://bucket/prefix"', "lock")
    elif "lock_days" in section:
        raise at.error('expected lock_days only beside lock = "compliance"', "lock_days")
    settings = TierSettings(
        sealed=base.sealed if not sealed else sealed if "://" in sealed else directory / sealed,
        hot_days=take(section, "hot_days", int, base.hot_days, at),
        lock=lock,
        lock_days=take(section, "lock_days", int, base.lock_days, at),
        lake=directory / lake if lake else None,
        iceberg=iceberg or None,
        hot_price=_price(section, "hot_price", at),
        sealed_price=_price(section, "sealed_price", at),
    )
    for key, least in (("hot_days", 0), ("lock_days", 1)):
        if not least <= getattr(settings, key) <= _MOST_DAYS:
            raise at.error(
                f"expected {key} from {least} to {_MOST_DAYS}, got {getattr(settings, key)}", key
            )
    return settings


def _price(section: Mapping[str, object], key: str, at: Where) -> float | None:
    if key not in section:
        return None
    price = take(section, key, float, 0.0, at)
    if not 0 <= price < float("inf"):
        raise at.error(f"expected {key} not below zero, got {price}", key)
    return price


def parse_retention(
    document: Mapping[str, object], top: Where, policy: Policy, directory: Path
) -> RetentionSettings | None:
    """None where the section is missing: all as `Policy.kept` says."""
    if "retention" not in document:
        return None
    section, at = take_section(document, "retention", top), top.under("retention")
    check_keys(section, RETENTION_KEYS, at)
    base = policy.kept()
    keystore = take(section, "keystore", str, str(base.keystore), at)
    master_key = take(section, "master_key", str, str(base.master_key), at)
    threshold, keys = _authorisers(section.get("authorisers"), at)
    lengths = {key: _length(section, key, at) for key in LENGTHS}
    settings = RetentionSettings(
        keystore=directory / keystore,
        master_key=directory / master_key,
        threshold=threshold,
        authorisers=keys,
        verifiers=take_texts(section, "verifiers", "public keys, as `indelible key` prints", at),
        **lengths,
    )
    _check_lengths(settings, policy.tiers, at)
    return settings


def _length(section: Mapping[str, object], key: str, at: Where) -> Duration | None:
    if key not in section:
        return None
    try:
        return Duration(take(section, key, str, "", at))
    except ValueError as error:
        raise at.error(f"{key}: {error}", key) from None


def _check_lengths(settings: RetentionSettings, tiers: TierSettings | None, at: Where) -> None:
    detail, accesses = settings.access_detail, settings.accesses
    if detail is not None and accesses is not None and accesses <= detail:
        raise at.error(
            f"expected accesses longer than access_detail, which is {detail}, got {accesses}",
            "accesses",
        )
    lengths = [length for key in LENGTHS if (length := getattr(settings, key)) is not None]
    if not lengths or tiers is None or tiers.lock is None:
        return
    shortest = min(lengths)
    if (tiers.hot_days + tiers.lock_days) * 86_400 > shortest.seconds:
        raise at.error(
            f"expected nothing to be dropped while it is locked: it is sealed after "
            f"{tiers.hot_days} days and locked for {tiers.lock_days} more ([tiers] lock_days), "
            f"{shortest} are shorter"
        )


def _authorisers(found: object, at: Where) -> tuple[int, tuple[str, ...]]:
    """How many have to sign, and their vkeys, each once."""
    if found is None:
        return 0, ()
    if not isinstance(found, dict) or set(found) != {"k", "keys"}:
        raise at.error(
            'expected authorisers as {k = 2, keys = ["name+hash+key", …]}', "authorisers"
        )
    threshold = found["k"]
    keys = take_texts(found, "keys", "public keys, as `indelible key` prints them", at)
    if len(set(keys)) != len(keys):
        raise at.error("expected each key of authorisers once", "authorisers")
    if type(threshold) is not int or not 1 <= threshold <= len(keys):
        raise at.error(f"expected k of authorisers from 1 to {len(keys)}, its keys", "authorisers")
    return threshold, keys
