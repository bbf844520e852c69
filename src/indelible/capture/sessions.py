"""The sessions of a captured server, as one look at it finds them."""

from __future__ import annotations

import msgspec


class Session(msgspec.Struct, frozen=True):
    """One session that may read the application's database.

    `key` is no other session's of this server. `since` is when it began, in microseconds since
    1970, by the server's clock. What the server doesn't tell is None. `is_counted` says whether it
    is among `SessionsLook.counted`: False perhaps not yet, None never.
    """

    key: str
    role: str
    program: str | None
    address: str | None
    since: int | None
    is_replication: bool = False
    is_counted: bool | None = True


class SessionsLook(msgspec.Struct, frozen=True, kw_only=True):
    """The sessions of now but the one that looks, whose key is `own`.

    `counted` is how many the server has counted, since a moment that `counting` names. None where
    it doesn't count.
    """

    sessions: tuple[Session, ...]
    own: Session
    counted: int | None
    counting: str

    @property
    def uncounted(self) -> int:
        """How many of those that are there the server may have yet to count."""
        return sum(1 for session in self.sessions if session.is_counted is False)

    @property
    def countable(self) -> frozenset[str]:
        """The keys of those that the server counts sooner or later, our own among them."""
        sessions = (*self.sessions, self.own)
        return frozenset(each.key for each in sessions if each.is_counted is not None)
