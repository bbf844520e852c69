"""Every word of a report to a person, in English. Nothing captured stands here."""

from __future__ import annotations

from typing import Final

LANGUAGE: Final = "en"
TITLE: Final = "Who accessed your data"
YOU: Final = "you"
NOBODY_KNOWN: Final = "nobody known by name"
DATABASE_ACCOUNT: Final = "database account"
ACTING_FOR: Final = "acting for"
KIND_WORDS: Final = {
    "staff": "staff member",
    "user": "user",
    "customer": "customer",
    "service": "automatic service",
    "os": "system account",
}
"""What an actor of such a kind is called where no role is known; others by their kind."""

ABOUT: Final = "About this report"
PERSON: Final = "Whose data"
PERIOD: Final = "Period"
BEGINNING: Final = "the beginning of the records"
END: Final = "the time of this report"
PERIOD_WORDS: Final = "from {since} up to, and not including, {until}"
MADE: Final = "Made"
TRAIL: Final = "Audit trail"
TRAIL_WORDS: Final = "{origin}, {size} entries"
ROOT: Final = "Its fingerprint"
ROOT_WORDS: Final = (
    "This is of its first {size} entries, as signed by the trail's key: whoever verifies the trail "
    "sees by it whether any of them was changed since."
)
NO_ROOT: Final = "The trail has signed none yet."
TIMES: Final = "All times are in UTC (coordinated universal time)."

SUMMARY: Final = "In short"
SUMMARY_WORDS: Final = (
    "In this period {certain} accessed your data for certain, and {possible} may have."
)
ONE: Final = "one person or program"
MANY: Final = "{count} people or programs"
NONE: Final = "nobody"
NEVER_HEARD: Final = (
    "The trail holds nothing about this person, in any period: please check that the name above is "
    "the right one."
)
NOBODY_NAMED: Final = (
    "People aren't named here. Each is called by a role, or by a word for the kind of account, and "
    "a number that means the same person or program throughout this report."
)

CERTAIN: Final = "Certain"
CERTAIN_WORDS: Final = "Accesses to your data that were seen exactly."
POSSIBLE: Final = "Possible"
POSSIBLE_WORDS: Final = (
    "Here it couldn't be seen whether the data was yours, somebody else's or nobody's, or whether "
    "the access took place at all, or took place in this period. They are listed so that nothing "
    "is left out."
)
WHY_POSSIBLE: Final = "Why it isn't certain"
DOUBTS: Final = {
    "of which no commit is known": "it may have been taken back before it took effect",
    "perhaps half-way": "it failed, perhaps after something had been done",
    "the time of what was done is doubtful": "when it happened isn't certain, so it may not be of "
    "this period",
    "by day only": "only the day is known, and only a part of it is in this period",
    "its time is doubtful": "when it happened isn't certain, so it may not be of this period",
    "whose data it was couldn't be told": "whose data it was couldn't be told",
    "rows it touched couldn't be seen": "which records were touched couldn't be seen",
    "rows named may not have been touched": "which of several records were touched isn't known",
}
"""By what stands in an answer's own words, which are for those who keep the trail."""
OTHER_DOUBT: Final = "it wasn't seen exactly"
WHO: Final = "Who"
FIRST: Final = "First"
LAST: Final = "Last"
READS: Final = "Times read"
CHANGES: Final = "Times changed"
RECORDS: Final = "Records"
REASONS: Final = "Stated reasons"
NO_REASON: Final = "none recorded"
READ: Final = "read"
CHANGED: Final = "changed"
READ_AND_CHANGED: Final = "read and changed"
SOME: Final = "some of your records, or other people's with them"
MORE: Final = "and {count} more"
UNTOLD: Final = "{count} times it isn't known which ones"
BY_DAY: Final = "known by day only ({count} days); which ones isn't kept any more"
DETAIL_GONE: Final = (
    "Of what was read before {before} only the days are kept, and who it was: not which records, "
    "how often, and when on the day."
)
READS_GONE: Final = "Who read your data before {before} isn't kept any more."
CHANGES_GONE: Final = "Who changed your data before {before} isn't kept any more."
ATTESTED: Final = "An independent verifier checked what is left of it before the rest was deleted."
SELF_ATTESTED: Final = (
    "Those who keep the trail worked out what is left of it before the rest was deleted; nobody "
    "else checked that."
)
NO_RECORDS: Final = "which ones isn't known"
NOTHING: Final = "None."

OTHERS: Final = "Other programs at the database"
OTHERS_WORDS: Final = (
    "These were connected to the database in this period. Which records they read, and whether any "
    "were yours, isn't known."
)
CONNECTED: Final = "Connections"
WHY: Final = "Why it isn't known"
NOT_SEEN: Final = "not seen"
UNKNOWN: Final = "unknown"

COVERAGE: Final = "What this report covers"
SEARCHED: Final = "All {size} entries that the trail had when this report was made were searched."
HOT: Final = "Searched: the current part of the trail, from {since} on."
SEALED: Final = "Searched: an archived part of the trail, from {since} to {until}."
NO_ENTRIES: Final = "The trail has no entries yet."
BEGAN: Final = "The trail begins on {began}. What happened before that isn't in it."
BEGAN_LATER: Final = (
    "The trail begins on {began}, after the beginning of the period: nothing is known of the time "
    "before."
)
CAPTURED: Final = "Records of the kind {kind} are observed since {since}."
NOT_CAPTURED: Final = (
    "Since when records of the kind {kind} are observed isn't in the trail: there may be accesses "
    "to them that it doesn't have."
)
UNREAD: Final = "It is not recorded who reads records of the kind {kind}."
UNWRITTEN: Final = "It is not recorded who changes records of the kind {kind}."
COMPLETE: Final = (
    "Of what the trail knows of nothing is missing. The newest record is of {until}: what was done "
    "shortly before the report was made may still have been on its way."
)
VERIFIED: Final = "Somebody last verified the trail on {verified}, and found it whole."
NOT_VERIFIED: Final = "That somebody verified the trail isn't recorded in it."
WITH_GAPS: Final = "Not everything that was sent to the trail has arrived:"
GAP: Final = (
    "Of one of its sources, from {since} on, {missing} records are missing and may still come."
)
GAP_LOST: Final = "Of one of its sources, {lost} records are lost for good."
FROM_THE_FIRST: Final = "its first record"
NOTICED: Final = "In this period, or since, the trail noticed about itself:"
NOTICED_WORDS: Final = "{what} ({count}, from {first} to {last})"
NOTHING_NOTICED: Final = (
    "In this period, and since, the trail noticed nothing about itself that would limit this "
    "report."
)
NOTICES: Final = {
    "capture.access_lost": "accesses were lost before they were recorded",
    "capture.": "recording wasn't set up as it should have been, so that something may be missing",
    "log.": "a part of the database's own log was lost",
    "reconcile.": "the database held changes that hadn't been recorded",
    "source.": "records that had been made didn't arrive",
    "outbox.": "records that were waiting couldn't be read",
    "journal.": "records that were waiting were removed, or couldn't be read",
    "statements.": "it couldn't be told which records a program had asked for",
    "context.": "who acted couldn't be trusted as it was told",
    "incarnation.": "the database was put back to an earlier state",
    "database.": "the database was put back to an earlier state",
    "event.": "a record arrived in a form that couldn't be read",
    "producer.": "it couldn't be shown that records came from where they say",
    "trail.": "the trail couldn't be verified, or signed, as it should be",
    "changes.unattributed": "something was done by nobody known",
}
"""By how the action begins; the rest is `OTHER_NOTICE`."""
OTHER_NOTICE: Final = "something else that those responsible for it were told"

LIMITS: Final = "What this report can't show"
LIMITS_WORDS: Final = (
    "Copies outside of the application: paper, backups, files that were exported, and other "
    "organisations that were given the data.",
    "Accesses of programs that went past the recording, unless they are listed above.",
    "What was done with the data after it was read.",
)
HOW_TO_READ: Final = "How to read it"
HOW_TO_READ_WORDS: Final = (
    "“Read” means that the contents of a record were handed out to a person or a program, or went "
    "into a sum or another record. “Changed” means that it was created, altered or deleted.",
    "A record is named by its kind and its number or key in the application.",
    "“Times” counts occasions, not records: one search that shows ten records is one time read.",
)
PAGE: Final = "Page"
