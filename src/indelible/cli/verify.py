"""`indelible verify`: is the trail whole, and what its key signed?

A trail on another machine is verified without a database driver: only a trail's file needs one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from indelible.cli.options import CONFIG, JSON, VKEY
from indelible.cli.output import print_json, progress_bar
from indelible.cli.verify_texts import show_remote, show_verification
from indelible.errors import DeliveryError, VerificationError
from indelible.events.codec import format_time
from indelible.integrity.assurance import load_trust_policy
from indelible.integrity.fetching import HttpFetcher
from indelible.integrity.keys import load_public_key
from indelible.integrity.pins import Pin, load_pin, state_directory, store_pin
from indelible.integrity.remote import verify_remote
from indelible.integrity.seen import Progress
from indelible.integrity.tokens import read_token_file
from indelible.integrity.verified import Verified
from indelible.tlog import TrustPolicy, VerifierKey

if TYPE_CHECKING:
    from indelible.integrity.anchors import Anchor
    from indelible.integrity.authorisations import Authorisers
    from indelible.integrity.verifier import Verification
    from indelible.policy import Policy
    from indelible.store.keystore import Keystore

    _Acts = tuple[Authorisers | None, Keystore | None]
MAX_AGE_S: Final = 600
"""How old cosignatures may be: an idle trail is cosigned again every minute."""


@click.command("verify")
@click.argument(
    "file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True)
)
@click.option(
    "--key", type=VKEY, metavar="VKEY", help="The trail's public key, from whom you trust."
)
@click.option(
    "--verifier",
    type=VKEY,
    metavar="VKEY",
    help="Of FILE: whose signature is to say that it is complete.",
)
@click.option(
    "--enrolment",
    type=VKEY,
    metavar="VKEY",
    help="The key that enrols processes, from whom you trust.",
)
@click.option(
    "--trail", type=click.Path(path_type=Path, dir_okay=False), help="Another copy of the trail."
)
@click.option("--url", metavar="URL", help="A trail that is served, or was exported, there.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --url: hold bodies against their heads, too, with the token in this file (0600).",
)
@click.option(
    "--only-new",
    is_flag=True,
    help="Read entries that came since the last verification alone: an edit of others since then "
    "isn't found.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to remember what was verified. [default: $XDG_STATE_HOME/indelible]",
)
@click.option(
    "--policy",
    "trust_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Which witnesses must have cosigned, from whom you trust (a tlog-policy). "
    "[default: that of the configuration]",
)
@click.option(
    "--max-age",
    "max_age_s",
    type=click.IntRange(min=0),
    default=MAX_AGE_S,
    show_default=True,
    metavar="SECONDS",
    help="How old their cosignatures may be; 0 for a copy that was laid aside: any age.",
)
@JSON
@CONFIG
def command(
    file: Path | None,
    key: VerifierKey | None,
    verifier: VerifierKey | None,
    enrolment: VerifierKey | None,
    trail: Path | None,
    url: str | None,
    token_file: Path | None,
    only_new: bool,
    state: Path | None,
    trust_file: Path | None,
    max_age_s: int,
    as_json: bool,
    config: Path,
) -> None:
    """Hash everything stored again, build the index again, and hold both against the checkpoint.

    Remembers what it verified, outside of the trail, and refuses a trail that went backwards or
    another history. Exits with 3 and names the first index that is wrong; also where the
    witnesses' policy asks for a quorum, and that many didn't cosign, and where an anchor has a
    checkpoint that this trail doesn't continue. Exits with 4 where an anchor can't be asked.

    With --url and --key it is a trail on another machine: its checkpoint, tiles and heads, and with
    a token its bodies; the index isn't served.

    With FILE, which `indelible export` wrote, that is verified instead; no trail is needed.
    """
    if file is not None and url is not None:
        raise click.UsageError("expected FILE or --url, got both")
    if file is not None:
        from indelible.cli.evidence import show_evidence

        trust = None if trust_file is None else load_trust_policy(trust_file)
        show_evidence(file, key, verifier, trust, as_json=as_json)
        return
    if verifier is not None:
        raise click.UsageError("expected a FILE with --verifier")
    if url is not None:
        if trail is not None or key is None:
            raise click.UsageError(
                "expected --key with --url, and no --trail: who serves a trail can't be asked for "
                "the key to check it with"
            )
        witnesses = _Witnesses(trust_file, max_age_s)
        _verify_remote(url, key, token_file, witnesses, state, only_new=only_new, as_json=as_json)
        return
    if token_file is not None:
        raise click.UsageError("expected --url with --token-file")
    anchors: Sequence[Anchor] = ()
    policy = None
    acts: _Acts = (None, None)
    if trail is None or key is None:
        from indelible.cli.opening import policy_of
        from indelible.integrity.anchors import open_anchors

        policy = policy_of(config)
        trail = trail or policy.trail
        key = key or load_public_key(policy.keys)
        enrolment = enrolment or load_public_key(policy.keys, "enrolment")
        trust_file = trust_file or trust_file_of(policy)
        anchors = open_anchors(policy.anchors, trail, key.name)
        acts = acts_of(policy)
        if trail != policy.trail:
            acts = acts[0], None  # a copy may be from before what the keystore tells
    witnesses = _Witnesses(trust_file, max_age_s)
    # Another copy of it is no place to write to.
    told = policy if policy is not None and policy.trail == trail else None
    with progress_bar("verifying") as progress:
        found, pin = _verify(
            trail, key, enrolment, witnesses, anchors, state, only_new, acts, progress, told
        )
    if as_json:
        print_json([found])
        _check_reached(found)
        return
    show_verification(found, pin)
    _check_reached(found)


def _check_reached(found: Verification) -> None:
    """What couldn't be asked wasn't verified."""
    unreached = [each for each in found.anchors if each.fault]
    if unreached:
        names = ", ".join(each.name for each in unreached)
        raise DeliveryError(f"the trail verifies; anchors that couldn't be asked: {names}")


def _verify_remote(
    url: str,
    key: VerifierKey,
    token_file: Path | None,
    witnesses: _Witnesses,
    state: Path | None,
    *,
    only_new: bool,
    as_json: bool,
) -> None:
    token = None if token_file is None else read_token_file(token_file)
    directory = state or state_directory(dict(os.environ))
    pin = load_pin(directory, key.name)
    with (
        contextlib.closing(HttpFetcher(url, token)) as fetcher,
        progress_bar("verifying") as progress,
    ):
        found = verify_remote(
            fetcher,
            key,
            seen=pin.seen if pin else None,
            only_new=only_new,
            with_bodies=token is not None,
            trust=witnesses.trust,
            max_age_s=witnesses.max_age_s or None,
            progress=progress,
        )
    store_pin(directory, found.seen, format_time(time.time_ns() // 1_000))
    if as_json:
        print_json([found])
        return
    show_remote(found, pin)


def verify_and_pin(policy: Policy, progress: Progress) -> Verification:
    """The trail of `policy`, verified as the command does it by default."""
    from indelible.integrity.anchors import open_anchors

    key = load_public_key(policy.keys)
    enrolment = load_public_key(policy.keys, "enrolment")
    witnesses = _Witnesses(trust_file_of(policy), MAX_AGE_S)
    anchors = open_anchors(policy.anchors, policy.trail, key.name)
    acts = acts_of(policy)
    return _verify(
        policy.trail, key, enrolment, witnesses, anchors, None, False, acts, progress, policy
    )[0]


def acts_of(policy: Policy) -> _Acts:
    """By whom acts must be authorised, as the configuration says; and the keystore, if any."""
    from indelible.erasure import authorisers_of, open_keystore

    own = load_public_key(policy.keys), load_public_key(policy.keys, "enrolment")
    return authorisers_of(policy, *own), open_keystore(policy)


class _Witnesses(NamedTuple):
    """Who must have cosigned, and how old that may be; 0: any age."""

    trust_file: Path | None
    max_age_s: int

    @property
    def trust(self) -> TrustPolicy | None:
        """Raises `ConfigurationError`."""
        return load_trust_policy(self.trust_file) if self.trust_file is not None else None


def trust_file_of(policy: Policy) -> Path | None:
    """The trust policy that `[witness]` names."""
    return policy.witness.policy if policy.witness is not None else None


def _verify(
    trail: Path,
    key: VerifierKey,
    enrolment: VerifierKey | None,
    witnesses: _Witnesses,
    anchors: Sequence[Anchor],
    state: Path | None,
    only_new: bool,
    acts: _Acts,
    progress: Progress,
    told: Policy | None,
) -> tuple[Verification, Pin | None]:
    """What was found, and what was remembered before.

    That it was verified, by whom and with which result, is an entry of the trail of `told`.
    """
    from indelible.cli.opening import record_verification
    from indelible.integrity.verifier import verify_trail

    directory = state or state_directory(dict(os.environ))
    pin = load_pin(directory, key.name)
    left: list[Verified] = []
    try:
        found = verify_trail(
            trail,
            key,
            seen=pin.seen if pin else None,
            earlier=pin.verified if pin and only_new else None,
            on_verified=left.append,
            enrolment=enrolment,
            trust=witnesses.trust,
            max_age_s=witnesses.max_age_s or None,
            anchors=anchors,
            authorisers=acts[0],
            keystore=acts[1],
            progress=progress,
        )
    except VerificationError as error:
        if told is not None:
            record_verification(told, error)
        raise
    if told is not None:
        record_verification(told, found)
    store_pin(directory, found.seen, left[0].what.time, left[0])
    return found, pin
