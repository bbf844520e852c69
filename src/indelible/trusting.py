"""Who vouches for a trail: its key or signer, witnesses, anchors; and whether that holds."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from indelible.errors import ConfigurationError, DeliveryError, VerificationError
from indelible.explicit import Explicit
from indelible.integrity.anchors import open_anchors
from indelible.integrity.assurance import Tree, Witnessed, check_cosignatures, judge
from indelible.integrity.authorisations import Authorisers
from indelible.integrity.faults import CONTRADICTED, ContradictedError
from indelible.integrity.key_ring import KeyRing, PublicRing
from indelible.integrity.keys import TrailKeys
from indelible.integrity.rotations import SigningKeys, keys_of, rotations_in
from indelible.integrity.seen import Progress, Seen
from indelible.integrity.verifier import Verification, verify_trail
from indelible.policy import Policy
from indelible.store.keystore import Keystore
from indelible.store.protocol import AnchorRow, WitnessRow
from indelible.store.sqlite import SqliteTrail
from indelible.tlog import Checkpoint, TrustPolicy

if TYPE_CHECKING:
    from indelible.integrity.anchoring import Anchoring
    from indelible.integrity.signer_client import SignerClient
    from indelible.integrity.witnessing import Witnessing


class Trusting(Explicit):
    """The part of a `Trail` that is signed, witnessed, anchored and verified."""

    _store: SqliteTrail
    _keys: TrailKeys
    _signer: KeyRing | SignerClient | PublicRing
    _keystore: Keystore | None
    _authorisers: Authorisers

    def verify(self, *, seen: Seen | None = None, progress: Progress | None = None) -> Verification:
        """Return only if the trail is whole, what its key signed, and grown from `seen`.

        With `[witness]` its cosignatures are checked, and there must be the quorum that its trust
        policy asks for. Its anchors are read back. Raises `VerificationError`. Here the key and
        that policy are this trail's own: a party that trusts nobody here runs `indelible verify`
        with a key, a policy and pins of its own.
        """
        return verify_trail(
            self._policy.trail,
            self._keys.verifier_key,
            seen=seen,
            enrolment=self._keys.enrolment_key.verifier_key,
            trust=self._trust,
            anchors=open_anchors(self._policy.anchors, self._policy.trail, self._store.origin),
            authorisers=self._authorisers,
            keystore=self._keystore,
            progress=progress or (lambda done, of: None),
        )

    def witnessed(self) -> Witnessed | None:
        """By whom, how far and since when the trail is witnessed; None where nobody cosigned.

        Checks every cosignature, and no entry. Raises `VerificationError`.
        """
        found = self._cosignatures()
        return None if found is None else judge(check_cosignatures(*found), found[1])

    def _cosignatures(self) -> tuple[Sequence[WitnessRow], TrustPolicy, Tree] | None:
        if self._trust is None:
            return None
        rows = self._store.witnesses()
        state = self._store.state()  # behind the rows, and so not smaller than what they are about
        keys = SigningKeys(self._keys.verifier_key)
        keys.add_all(rotations_in(self._store), state.size)
        tree = Tree(
            keys.newest, self._store.origin, state.size, state.root, self._store, keys.earlier
        )
        return rows, self._trust, tree

    def witnesses(self) -> tuple[WitnessRow, ...]:
        """What each witness of the trust policy said when it was last asked, unchecked."""
        keys = {str(key) for key in self._trust.witness_keys} if self._trust is not None else ()
        return tuple(row for row in self._store.witnesses() if row.vkey in keys)

    def _witnessing(self) -> Witnessing | None:
        """Who asks the witnesses; None where the policy names none. Raises `ConfigurationError`."""
        settings = self._policy.witness
        if settings is None or self._trust is None:
            return None
        # HTTP and TLS, which a trail without witnesses doesn't need.
        from indelible.integrity.witnessing import Witnessing

        return Witnessing(self._store, self._signer, self._trust, settings, notice=self.notice)

    def signer_fault(self) -> str | None:
        """Why the signer process wouldn't sign this trail as it is; None where it would, or there
        is none. Nothing is signed."""
        if not isinstance(self._signer, KeyRing | PublicRing):
            try:
                self._signer.check(self._pending, self._store)
            except (DeliveryError, VerificationError) as error:
                return str(error)
        return None

    def _pending(self) -> Checkpoint:
        state = self._store.state()
        return Checkpoint(origin=self._store.origin, size=state.size, root=state.root)

    def _refused(self, error: ContradictedError) -> None:
        """The signer's refusal is an entry of whatever trail goes on from here, once."""
        if not self._is_refused():
            self.notice(CONTRADICTED, f"the signer contradicts {self._store.origin}: {error.why}")
            vkey = str(self._keys.verifier_key)
            self._store.store_witness_fault(vkey, error.why, contradicts=True)

    def _signed(self) -> None:
        """The signer signs, again perhaps: were it to refuse once more, that is another entry."""
        with contextlib.suppress(DeliveryError):
            if self._is_refused():
                vkey = str(self._keys.verifier_key)
                self._store.store_witness_fault(vkey, "", contradicts=False)

    def _is_refused(self) -> bool:
        """Whether the signer is known to have refused this trail."""
        vkey = str(self._keys.verifier_key)
        return any(row.vkey == vkey and row.contradicts for row in self._store.witnesses())

    def anchors(self) -> tuple[AnchorRow, ...]:
        """What each anchor of the configuration said when it was last asked, unchecked."""
        names = {each.name for each in self._policy.anchors}
        return tuple(row for row in self._store.anchors() if row.name in names)

    def _anchoring(self) -> Anchoring | None:
        """Who asks the anchors; None where there are none. Raises `ConfigurationError`."""
        settings = self._policy.anchors
        if not settings:
            return None
        from indelible.integrity.anchoring import Anchoring, Trusted

        anchors = open_anchors(settings, self._policy.trail, self._store.origin)
        trusted = Trusted(lambda: keys_of(self._signer), self._trust)
        return Anchoring(
            self._store, trusted, list(zip(anchors, settings, strict=True)), notice=self.notice
        )

    @property
    def refusal(self) -> ContradictedError | None:
        """Why this process signs nothing though it could: a witness or the signer knows another
        tree."""
        return self._leader.refusal


def open_signer(policy: Policy, store: SqliteTrail, keys: TrailKeys) -> SignerClient:
    """Who asks the signer process; raises `ConfigurationError` where none is named."""
    # HTTP, which a trail that has its key at hand doesn't need.
    from indelible.integrity.signer_client import SignerClient

    if policy.signer is None:
        raise ConfigurationError(f"{policy.source}: expected keys, or a signer that has them")
    return SignerClient(policy.signer, keys.verifier_key, [note for _, note in rotations_in(store)])
