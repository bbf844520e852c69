"""What Indelible itself says in a trail: the actions of `system` entries, which no actor does."""

from __future__ import annotations

from typing import Final

_NAMES: Final = """
    authorisation.not_recorded authorisation.policy_failed changes.unattributed nest.unclear
    batch.sequenced capture.access_lost capture.differs capture.drift capture.fallback_failed
    capture.fell_back capture.installed capture.not_installed capture.stray capture.suspended
    capture.uninstalled context.contested context.invalid context.memory_lost database.restored
    event.quarantined export.opened hold.added hold.released incarnation.opened invariant.fell_short
    invariants.checked journal.clock_set_back journal.damaged journal.dropped
    journal.file_removed journal.removed journal.tail_cut key.rotated log.endangered log.ended
    log.lost log.shed log.started notice.acknowledged outbox.cleared outbox.held
    outbox.unreadable producer.began producer.ended producer.signed producer.silent
    producer.vanished reconcile.differs reconcile.finished retention.applied
    retention.authorised retention.daily retention.dropped sessions.ended sessions.missed
    sessions.seen sessions.unwatched source.conflict source.gap source.void statements.lost
    statements.position_lost statements.skipped statements.unread statements.unreadable
    subject.erased subject.erasure_authorised table.baseline table.restored trail.asked
    trail.bodies_read trail.continued trail.contradicted trail.denied trail.not_verified
    trail.unsigned trail.verified
"""
SYSTEM_ACTIONS: Final = frozenset(_NAMES.split())
OWN_NOUNS: Final = frozenset({"capture", "incarnation", "invariants", "reconcile"})
"""All actions of these are such."""
