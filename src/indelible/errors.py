"""Every exception that Indelible raises, split by who must act.

::

    IndelibleError
    ├── ConfigurationError      the operator: raised at open or install, never in a request
    │   ├── PolicyError             indelible.toml: names file, key and what is allowed
    │   ├── NoTrailError            nothing at this path: `indelible init` makes a trail
    │   ├── TrailExistsError        `init` found a trail where it was to make one
    │   ├── TrailFormatError        made by another Indelible, or not a trail
    │   └── KeystoreError           no keystore of subjects' keys, or not its master key
    ├── CaptureError            the developer: the application's database and our hold on it
    │   ├── NotInstalledError       no triggers here: `indelible install`
    │   ├── DriftError              tables or triggers changed since `install`
    │   └── ProtectedTableError     the application touched a table of ours
    ├── EventError              the developer: a fact that can't be written down
    │   ├── ValueEncodingError      a value of a type that no event holds
    │   ├── EventTooLargeError      can't be cut into parts of 65,535 bytes
    │   ├── MalformedEventError     bytes that aren't an event
    │   ├── BoxError                a sealed value that was changed or moved, or for another key
    │   └── LogFrameError           a line of a log stream that can't be made or read
    ├── DeliveryError           the network, the disk: retry
    │   ├── StoreBusyError          locked by another process for too long
    │   ├── StoreFullError          no space left; nothing was lost, make room
    │   ├── DeposedError            another sequencer took the lease: stop
    │   ├── UnacknowledgedError     not as safe in time as a critical action has to be
    │   └── UnreadableLogError      a log that couldn't be read to its end
    ├── QueryError              the caller: a question that can't be asked
    │   └── WindowError             it ends before it starts, or a time can't be read
    ├── ReversalError           the caller: a plan that can't be carried out
    ├── ErasureError            the caller: a hold, or too few authorisers, forbid it
    └── VerificationError       the incident team: never retried, never swallowed

`VerificationError` has a subclass for each thing that can be wrong with a proof or a stored
trail; they stand beside the code that finds them (`indelible.tlog`, `indelible.integrity`).
"""

from __future__ import annotations


class IndelibleError(Exception):
    """Base of every exception raised on purpose by Indelible."""


class ConfigurationError(IndelibleError):
    """The set-up is wrong; the operator must change it before anything can run."""


class PolicyError(ConfigurationError):
    """`indelible.toml` holds a key or a value that isn't allowed."""


class NoTrailError(ConfigurationError):
    """There is no trail at the path; opening one never creates it."""


class TrailExistsError(ConfigurationError):
    """A trail is already where a new one was to be made."""


class TrailFormatError(ConfigurationError):
    """The file is no trail, or was written by a newer format than this version reads."""


class KeystoreError(ConfigurationError):
    """There is no keystore of subjects' keys, it is damaged, or its master key isn't at hand."""


class CaptureError(IndelibleError):
    """Capture can't see what it was told to see."""


class NotInstalledError(CaptureError):
    """The database has no triggers of ours; run `indelible install`."""


class DriftError(CaptureError):
    """The database's schema or triggers differ from what `install` left."""


class ProtectedTableError(CaptureError):
    """The application tried to read or write a table that belongs to Indelible."""


class EventError(IndelibleError):
    """A fact that can't be written down as an event."""


class ValueEncodingError(EventError):
    """A value of a type that events don't hold."""


class EventTooLargeError(EventError):
    """An event whose parts can't be cut to 65,535 bytes each."""


class MalformedEventError(EventError):
    """Bytes that were delivered as an event and aren't one."""


class BoxError(EventError):
    """A sealed value that was changed, moved elsewhere, or is for another key."""


class LogFrameError(EventError):
    """A line of a log stream that can't be made, or isn't one."""


class DeliveryError(IndelibleError):
    """Something on the way of an event didn't answer; it stays where it was: retry."""


class StoreBusyError(DeliveryError):
    """Another process held the trail's lock for longer than the timeout."""


class StoreFullError(DeliveryError):
    """No space left on the device; nothing that was acknowledged is lost."""


class DeposedError(DeliveryError):
    """Another sequencer holds the lease now; what this one was about to commit wasn't."""


class UnacknowledgedError(DeliveryError):
    """An event wasn't as safe within its deadline as its owner asked; it may be so later."""


class UnreadableLogError(DeliveryError):
    """A log that is to be scanned isn't there, may not be read, or ends within compressed data."""


class QueryError(IndelibleError):
    """A question that can't be asked."""


class WindowError(QueryError):
    """A window that ends before it starts, or a time that can't be read."""


class ReversalError(IndelibleError):
    """A reversal that can't be carried out; the database is as it was."""


class ErasureError(IndelibleError):
    """An erasure, a hold or a retention that isn't authorised, or that a hold forbids; nothing was
    done."""


class VerificationError(IndelibleError):
    """The evidence doesn't hold. Never retry, never swallow."""
