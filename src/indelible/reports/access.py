"""Who accessed one person's data, as that person is told it: facts, in an order, without markup.

Other people are in the same entries: of records that were touched together with theirs only the
kind is told, and nobody is named but as `Naming` does.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from indelible.capture.installing import INSTALLED
from indelible.events.codec import decode_event
from indelible.events.model import Event, Subject, TargetRows, Timestamp
from indelible.events.values import format_id
from indelible.integrity.numbering import VERIFIED
from indelible.policy import Policy
from indelible.questions.accessors import named_subject, touching
from indelible.questions.answer import Answer
from indelible.questions.findings import AccessorFinding
from indelible.questions.judging import has_row
from indelible.questions.reading import read_events, whole_event
from indelible.questions.retained import Retained
from indelible.questions.window import Window
from indelible.reports.naming import Chain, Naming, chain_of
from indelible.store.protocol import TrailReader
from indelible.store.terms import action_term
from indelible.store.tiers import Tier
from indelible.tlog import Checkpoint, parse_checkpoint, parse_note

_MAX_DIGITS: Final = 1 << 20


class Record(NamedTuple):
    """One record, or (`id` None) some of a kind that can't be told or shown one by one."""

    kind: str
    id: str | None
    was_read: bool
    was_changed: bool


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """All that one of them did: `reads` and `changes` count how often, `records` come by name.

    `is_certain` is False where it may have been other people's data; `doubts` then say why, as
    answers do. `untold` counts those of which the records aren't known. `reasons` are empty where
    the policy doesn't show them. `by_day` where no more is kept than on which days it was.
    """

    who: str
    is_certain: bool
    first: Timestamp
    last: Timestamp
    reads: int
    changes: int
    records: tuple[Record, ...]
    untold: int = 0
    doubts: tuple[str, ...]
    reasons: tuple[str, ...]
    by_day: bool = False


class OtherClient(msgspec.Struct, frozen=True, kw_only=True):
    """A program that was connected to the database; what it read isn't known by record.

    `sessions` is how often, None where nobody knows.
    """

    who: str | None
    first: Timestamp
    last: Timestamp
    sessions: int | None
    why: str


class Gap(NamedTuple):
    """What is missing of one source of records: `missing` may still come, `lost` won't."""

    since: Timestamp | None
    missing: int
    lost: int


class Noticed(NamedTuple):
    """What the trail noticed about itself since the window began: how often, first and last."""

    action: str
    times: int
    first: Timestamp
    last: Timestamp


class AccessReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is told to `of`.

    `accesses` come by certainty and then by the time of the first. `signed` is the trail's last
    checkpoint, and `verified` when somebody last verified it, as the trail says. `began` is since
    when the trail has anything; `captured` since when each kind of the person's records is
    captured, None where the trail doesn't say. `complete_until` is the time of the newest record
    that came. `retained` is what of the period isn't kept any more. `unread` and `unwritten` are
    kinds of which reads or changes aren't recorded, by the policy of now.
    """

    of: Subject
    is_known: bool
    made: Timestamp
    since: Timestamp | None
    until: Timestamp | None
    origin: str
    size: int
    signed: Checkpoint | None
    verified: Timestamp | None
    accesses: tuple[Access, ...]
    others: tuple[OtherClient, ...]
    is_anonymous: bool
    shows_reasons: bool
    tiers: tuple[Tier, ...]
    began: Timestamp | None
    captured: tuple[tuple[str, Timestamp | None], ...]
    complete_until: Timestamp | None
    gaps: tuple[Gap, ...]
    retained: Retained | None
    noticed: tuple[Noticed, ...]
    unread: tuple[str, ...]
    unwritten: tuple[str, ...]


def report_access(
    reader: TrailReader,
    answer: Answer[AccessorFinding],
    *,
    of: Subject,
    policy: Policy,
    made: Timestamp,
) -> AccessReport:
    """The report of what `answer` (`Questions.accessors`) is about: the same entries, read again.

    Held in memory is what is told: the person's records, by whoever accessed them.
    """
    of = named_subject(reader, of)
    naming = Naming(policy.reports, of)
    kinds = frozenset(policy.kinds_of_subject(of.kind)) | {of.kind}
    reach = list(answer.sources())
    named = [table for table in policy.tables.values() if table.kind in kinds]
    return AccessReport(
        of=of,
        is_known=answer.known,
        made=made,
        since=answer.searched.since,
        until=answer.searched.until,
        origin=reader.origin,
        size=answer.size,
        signed=_signed(reader),
        verified=_verified(reader, answer.size),
        accesses=tuple(_accesses(_deeds(reader, answer, of, policy), naming)),
        others=tuple(_others(answer, naming)),
        is_anonymous=not naming.is_by_name,
        shows_reasons=policy.reports.reasons,
        tiers=answer.tiers(),
        began=reader.entry(0).received if answer.size else None,
        captured=_captured(reader, kinds, answer.size),
        complete_until=max(
            (each.complete_until for each in reach if each.complete_until), default=None
        ),
        gaps=tuple(
            Gap(each.complete_until, _count(each.missing), _count(each.lost))
            for each in reach
            if each.missing or each.lost
        ),
        retained=answer.retained(),
        noticed=_noticed(reader, answer.searched),
        unread=tuple(sorted({table.kind for table in named if not table.reads})),
        unwritten=tuple(sorted({table.kind for table in named if not table.writes})),
    )


class _Who(NamedTuple):
    is_certain: bool
    chain: Chain
    database_role: str | None
    by_day: bool = False


class _Deeds:
    """What one of them did, as it is collected."""

    def __init__(self, time: Timestamp) -> None:
        self.first = self.last = time
        self.reads = self.changes = self.untold = 0
        self.records: dict[tuple[str, str | None], set[str]] = {}
        self.doubts: dict[str, None] = {}
        self.reasons: dict[str, None] = {}

    def add(
        self, event: Event, records: Iterable[tuple[str, str | None]], doubt: str | None
    ) -> None:
        self.first, self.last = min(self.first, event.time), max(self.last, event.time)
        if event.kind == "change":
            self.changes += 1
        else:
            self.reads += 1
        for record in records:
            self.records.setdefault(record, set()).add(event.kind)
        if doubt is not None:
            self.doubts[doubt] = None


def _accesses(found: dict[_Who, _Deeds], naming: Naming) -> Iterator[Access]:
    in_order = sorted(found.items(), key=lambda each: (not each[0].is_certain, each[1].first))
    for who, deeds in in_order:
        yield Access(
            who=naming.name(who.chain, who.database_role),
            is_certain=who.is_certain,
            first=deeds.first,
            last=deeds.last,
            reads=deeds.reads,
            changes=deeds.changes,
            records=tuple(
                Record(kind, id_, "access" in how, "change" in how)
                for (kind, id_), how in sorted(deeds.records.items(), key=_place)
            ),
            untold=deeds.untold,
            doubts=tuple(deeds.doubts),
            reasons=tuple(deeds.reasons),
            by_day=who.by_day,
        )


def _deeds(
    reader: TrailReader, answer: Answer[AccessorFinding], of: Subject, policy: Policy
) -> dict[_Who, _Deeds]:
    found: dict[_Who, _Deeds] = {}
    kinds = frozenset(policy.kinds_of_subject(of.kind))
    elsewhere = {table.kind for table in policy.tables.values()} - kinds - {of.kind}
    for entry, view, why in touching(
        reader, of=of, window=answer.searched, kinds=kinds, size=answer.size
    ):
        event = whole_event(reader, entry, decode_event(entry.body)).event
        chain = chain_of(view.actor)
        who = _Who(why is None, chain, None if chain else view.database_role)
        deeds = found.setdefault(who, _Deeds(event.time))
        deeds.add(event, _records(event, of, elsewhere, is_certain=why is None), why)
        if policy.reports.reasons and event.reason is not None:
            deeds.reasons[event.reason] = None
    _add_untold(found, answer)
    return found


def _add_untold(found: dict[_Who, _Deeds], answer: Answer[AccessorFinding]) -> None:
    """What the answer counts and no event tells: left out it would look like nothing."""
    told: Counter[tuple[_Who, str]] = Counter()
    for who, deeds in found.items():
        told[who._replace(chain=who.chain[:1]), "reads"] += deeds.reads
        told[who._replace(chain=who.chain[:1]), "changes"] += deeds.changes
    for finding in answer:
        chain = chain_of(finding.actor)[:1]
        role = None if chain else finding.database_role
        who = _Who(finding.certain, chain, role, finding.resolution == "day")
        reads = finding.reads - told[who, "reads"]
        changes = finding.changes - told[who, "changes"]
        told[who, "reads"], told[who, "changes"] = max(0, -reads), max(0, -changes)
        if reads > 0 or changes > 0:
            deeds = found.setdefault(who, _Deeds(finding.first))
            deeds.first = min(deeds.first, finding.first)
            deeds.last = max(deeds.last, finding.last)
            deeds.reads += max(0, reads)
            deeds.changes += max(0, changes)
            deeds.untold += max(0, reads) + max(0, changes)
            if finding.why is not None:
                deeds.doubts[finding.why] = None


def _place(item: tuple[tuple[str, str | None], set[str]]) -> tuple[str, int, str]:
    """By kind; 9 comes before 10, and what can't be told one by one last."""
    (kind, id_), _ = item
    if id_ is None:
        return kind, sys.maxsize, ""
    return kind, len(id_) if id_.isdigit() else _MAX_DIGITS, id_


def _records(
    event: Event, of: Subject, elsewhere: set[str], *, is_certain: bool
) -> Iterator[tuple[str, str | None]]:
    """Those of the person; of a kind alone where they may be others', who aren't told on."""
    is_one = event.kind == "change" and sum(len(target.ids) for target in event.targets) == 1
    is_alone = is_certain and (is_one or set(event.subjects) <= {of})
    for target in event.targets:
        if target.kind in elsewhere:
            continue
        if target.kind == of.kind and of.id is not None:
            if _has(target, of.id):
                yield target.kind, of.id
            elif target.coverage != "exact":
                yield target.kind, None
        elif is_alone and target.coverage == "exact" and target.ids:
            for row_id in target.ids:
                yield target.kind, format_id(row_id)
        else:
            yield target.kind, None


def _has(target: TargetRows, id_: str) -> bool:
    return has_row(target.ids, id_) or has_row(target.ids_before, id_)


def _others(answer: Answer[AccessorFinding], naming: Naming) -> Iterator[OtherClient]:
    for each in answer.sessions():
        is_seen = each.role is not None
        yield OtherClient(
            who=naming.account(each.role, each.program, each.address) if is_seen else None,
            first=each.first,
            last=each.last,
            sessions=each.sessions,
            why=each.why,
        )


def _signed(reader: TrailReader) -> Checkpoint | None:
    note = reader.state().checkpoint
    return None if note is None else parse_checkpoint(parse_note(note).text)


def _verified(reader: TrailReader, size: int) -> Timestamp | None:
    found = read_events(
        reader,
        [action_term(VERIFIED)],
        Window(),
        size=size,
        kinds={"system"},
        newest_first=True,
    )
    return next((seen.event.time for seen in found if seen.event.action == VERIFIED), None)


def _captured(
    reader: TrailReader, kinds: frozenset[str], size: int
) -> tuple[tuple[str, Timestamp | None], ...]:
    since: dict[str, Timestamp | None] = dict.fromkeys(sorted(kinds))
    terms = [action_term(INSTALLED)]
    for seen in read_events(reader, terms, Window(), size=size, kinds={"system"}):
        for target in seen.event.targets if seen.event.action == INSTALLED else ():
            if target.kind in since and since[target.kind] is None:
                since[target.kind] = seen.event.time
    return tuple(since.items())


def _noticed(reader: TrailReader, window: Window) -> tuple[Noticed, ...]:
    found: dict[str, list[Timestamp]] = {}
    for notice in reader.notices():
        # Also later ones: what is noticed today may have been so for long.
        if window.since is None or notice.time >= window.since:
            found.setdefault(notice.action, []).append(notice.time)
    return tuple(
        Noticed(action, len(times), min(times), max(times))
        for action, times in sorted(found.items())
    )


def _count(ranges: Iterable[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)
