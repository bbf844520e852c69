"""`indelible anchor`: have anchors take the newest checkpoint now; test a bucket's lock."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from indelible.cli.app import ANSWER_IS_NO
from indelible.cli.options import CONFIG
from indelible.cli.output import console, printable
from indelible.cli.verify import trust_file_of
from indelible.errors import ConfigurationError, DeliveryError, VerificationError
from indelible.integrity.assurance import load_trust_policy
from indelible.integrity.keys import load_public_key
from indelible.policy import Policy, load_policy
from indelible.policy.anchors import AnchorSettings


@click.command("anchor")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--self-test",
    is_flag=True,
    help="Of buckets: first try to delete what they said they keep, with these credentials.",
)
@CONFIG
def command(names: tuple[str, ...], self_test: bool, config: Path) -> None:
    """Have the anchors NAME take the newest checkpoint now, whatever their `every_s` says.

    Without NAME all of them. Exits with 1 where a bucket turns out not to be write-once, with 3
    where an anchor contradicts the trail, with 4 where one took nothing.
    """
    # HTTP and SQLite, which `--help` doesn't need.
    from indelible.cli.opening import record_contradiction
    from indelible.integrity.anchor_s3 import S3Anchor
    from indelible.integrity.anchoring import Trusted, anchor_now, newest_cosigned, newest_signed
    from indelible.integrity.anchors import open_anchors
    from indelible.integrity.rotations import key_line
    from indelible.store.sqlite import SqliteTrail

    policy = load_policy(config)
    chosen = _chosen(policy, names)
    if self_test:
        chosen = [each for each in chosen if each.kind == "s3"]
        if not chosen:
            raise ConfigurationError("expected an anchor of kind s3 with --self-test")
    key = load_public_key(policy.keys)
    trust_file = trust_file_of(policy)
    out = console()
    failed = []
    is_deleting = False
    contradicted: VerificationError | None = None
    with contextlib.closing(SqliteTrail(policy.trail)) as store:
        keys = key_line(store, key).keys
        trusted = Trusted(
            lambda: keys, None if trust_file is None else load_trust_policy(trust_file)
        )
        signed = newest_cosigned(store, trusted) or newest_signed(store, trusted)
        if signed is None:
            raise ConfigurationError("expected a signed checkpoint: nothing is in the trail yet")
        known = store.anchors()
        for anchor in open_anchors(chosen, policy.trail, store.origin):
            try:
                if self_test and isinstance(anchor, S3Anchor):
                    found = anchor.self_test()
                    out.print(printable(f"{anchor.name}: {found.verdict}: {found.why}"))
                    if found.verdict == "deletes":
                        is_deleting = True
                        fault = f"it isn't write-once: {found.why}"
                        store.store_anchor_fault(anchor.name, fault, contradicts=False)
                        continue
                row = anchor_now(anchor, signed, store, keys)
            except VerificationError as error:
                if not any(each.name == anchor.name and each.contradicts for each in known):
                    record_contradiction(
                        policy, f"anchor {anchor.name} contradicts {store.origin}: {error}"
                    )
                store.store_anchor_fault(anchor.name, str(error), contradicts=True)
                out.print(printable(f"{anchor.name}: contradicts this trail: {error}"))
                contradicted = contradicted or error
                continue
            except DeliveryError as error:
                store.store_anchor_fault(anchor.name, str(error), contradicts=False)
                out.print(printable(f"{anchor.name}: took nothing: {error}"))
                failed.append(anchor.name)
                continue
            store.store_anchored(row)
            out.print(printable(f"{anchor.name}: has {row.size} of {store.size} entries"))
    if contradicted is not None:
        raise contradicted
    if failed:
        raise DeliveryError(f"anchors that took nothing: {', '.join(failed)}")
    if is_deleting:
        raise SystemExit(ANSWER_IS_NO)


def _chosen(policy: Policy, names: tuple[str, ...]) -> list[AnchorSettings]:
    known = {each.name: each for each in policy.anchors}
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"expected the name of an anchor, got {name!r}: {policy.source} has "
                f"{', '.join(known) or 'none'}"
            )
    if not known:
        raise ConfigurationError(f"{policy.source}: expected [anchors.NAME], there is none")
    return [known[name] for name in dict.fromkeys(names)] or list(policy.anchors)
