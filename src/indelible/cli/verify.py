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
from indelible.integrity.tokens import read_token_file
from indelible.integrity.verified import Verified
from indelible.tlog import TrustPolicy, VerifierKey

if TYPE_CHECKING:
    from indelible.integrity.anchors import Anchor
    from indelible.integrity.authorisations import Authorisers
    from indelible.integrity.verifier import Verification
    from indelible.policy import Policy
    from indelible.store.keystore import Keystore

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
        trust = None if trust_file is None else load_trust_policy(trust_file)
        by = _Trusted(key, None, trust, max_age_s)
        _verify_remote(url, by, token_file, state, only_new=only_new, as_json=as_json)
        return
    if token_file is not None:
        raise click.UsageError("expected --url with --token-file")
    told = None
    if trail is not None and key is not None:
        trust = None if trust_file is None else load_trust_policy(trust_file)
        by = _Trusted(key, enrolment, trust, max_age_s)
    else:
        from indelible.policy import load_policy

        policy = load_policy(config)
        is_own = trail is None or _is_same(trail, policy.trail)
        trail = trail or policy.trail
        by = _trusted_by(
            policy,
            trail,
            key=key,
            enrolment=enrolment,
            trust_file=trust_file,
            max_age_s=max_age_s,
        )
        if is_own:
            told = policy
        else:
            # A copy is no place to write to, and may be from before what the keystore tells.
            by = by._replace(keystore=None)
    found, pin = _verify(trail, by, state=state, only_new=only_new, told=told)
    if as_json:
        print_json([found])
    else:
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
    by: _Trusted,
    token_file: Path | None,
    state: Path | None,
    *,
    only_new: bool,
    as_json: bool,
) -> None:
    token = None if token_file is None else read_token_file(token_file)
    directory = state or state_directory(dict(os.environ))
    pin = load_pin(directory, by.key.name)
    with (
        contextlib.closing(HttpFetcher(url, token)) as fetcher,
        progress_bar("verifying") as progress,
    ):
        found = verify_remote(
            fetcher,
            by.key,
            seen=pin.seen if pin else None,
            only_new=only_new,
            with_bodies=token is not None,
            trust=by.trust,
            max_age_s=by.max_age_s or None,
            progress=progress,
        )
    store_pin(directory, found.seen, format_time(time.time_ns() // 1_000))
    if as_json:
        print_json([found])
        return
    show_remote(found, pin)


def verify_and_pin(policy: Policy) -> Verification:
    """The trail of `policy`, verified as the command does it by default."""
    by = _trusted_by(policy, policy.trail)
    return _verify(policy.trail, by, state=None, only_new=False, told=policy)[0]


class _Trusted(NamedTuple):
    """By what a trail is verified. Cosignatures may be `max_age_s` old; 0: any age."""

    key: VerifierKey
    enrolment: VerifierKey | None
    trust: TrustPolicy | None
    max_age_s: int
    anchors: Sequence[Anchor] = ()
    authorisers: Authorisers | None = None
    keystore: Keystore | None = None


def _trusted_by(
    policy: Policy,
    trail: Path,
    *,
    key: VerifierKey | None = None,
    enrolment: VerifierKey | None = None,
    trust_file: Path | None = None,
    max_age_s: int = MAX_AGE_S,
) -> _Trusted:
    """What the configuration of the file `trail` says, but for what is given."""
    from indelible.erasure import authorisers_of, open_keystore
    from indelible.integrity.anchors import open_anchors

    own = load_public_key(policy.keys), load_public_key(policy.keys, "enrolment")
    key = key or own[0]
    trust_file = trust_file or trust_file_of(policy)
    return _Trusted(
        key=key,
        enrolment=enrolment or own[1],
        trust=None if trust_file is None else load_trust_policy(trust_file),
        max_age_s=max_age_s,
        anchors=open_anchors(policy.anchors, trail, key.name),
        authorisers=authorisers_of(policy, *own),
        keystore=open_keystore(policy),
    )


def trust_file_of(policy: Policy) -> Path | None:
    """The trust policy that `[witness]` names."""
    return policy.witness.policy if policy.witness is not None else None


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _verify(
    trail: Path, by: _Trusted, *, state: Path | None, only_new: bool, told: Policy | None
) -> tuple[Verification, Pin | None]:
    """What was found, and what was remembered before.

    That it was verified, by whom and with which result, is an entry of the trail of `told`.
    """
    from indelible.cli.opening import record_verification
    from indelible.integrity.verifier import verify_trail

    directory = state or state_directory(dict(os.environ))
    pin = load_pin(directory, by.key.name)
    left: list[Verified] = []
    try:
        with progress_bar("verifying") as progress:
            found = verify_trail(
                trail,
                by.key,
                seen=pin.seen if pin else None,
                earlier=pin.verified if pin and only_new else None,
                on_verified=left.append,
                enrolment=by.enrolment,
                trust=by.trust,
                max_age_s=by.max_age_s or None,
                anchors=by.anchors,
                authorisers=by.authorisers,
                keystore=by.keystore,
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
