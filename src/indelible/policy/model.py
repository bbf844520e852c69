"""What is captured of which table, and where everything lives: frozen values."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from indelible.events.personal import NOBODY_PERSONAL, Personal
from indelible.policy.anchors import AnchorSettings
from indelible.policy.durations import Duration
from indelible.policy.invariants import Invariant

Durability = Literal["strict", "request", "async"]
Baseline = Literal["full", "keys"]
Profile = Literal["triggers", "log", "both"]
LockMode = Literal["governance", "compliance"]
StaffNames = Literal["role", "name"]


class Hop(msgspec.Struct, frozen=True):
    """One foreign key of a subject path: `column` refers to the primary key of `table`."""

    column: str
    table: str


class SubjectPath(msgspec.Struct, frozen=True):
    """How a row names the subject whose data it is.

    No hops: the row is the subject itself (`"self"`). Otherwise each hop's column stands on the
    table that the hop before it named; the value of the last hop's column is the subject's id.
    """

    kind: str
    hops: tuple[Hop, ...] = ()


class TablePolicy(msgspec.Struct, frozen=True):
    """What is captured of one table. `personal` gives for columns (in lower case) that hold names
    of persons the kind of subject that they name."""

    table: str
    kind: str
    writes: bool = True
    reads: bool = True
    durability: Durability = "request"
    baseline: Baseline = "full"
    mask: frozenset[str] = frozenset()
    without_values: frozenset[str] = frozenset()
    subject: SubjectPath | None = None
    seal: frozenset[str] = frozenset()
    personal: Mapping[str, str] = {}


class RelaySettings(msgspec.Struct, frozen=True):
    """How the relay carries events: sizes in events and bytes, times in seconds."""

    batch_events: int = 1_000
    poll_s: float = 0.2
    read_s: float = 0.05
    retry_max_s: float = 30.0
    buffer_events: int = 10_000
    sessions_s: float = 5.0


class WitnessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """By whom checkpoints are cosigned: `policy` is a file of c2sp.org/tlog-policy.

    A witness that doesn't answer within `deadline_s` has failed for now; all are asked again after
    `refresh_s` where nothing new was signed.
    """

    policy: Path
    deadline_s: float = 3.0
    refresh_s: float = 50.0


class TierSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where older entries go, and from when on.

    `sealed` is a folder, or `s3://bucket/prefix`; what is older than `hot_days` is sealed to it.
    With a `lock` an object store is told to let nobody delete a segment for `lock_days`. `lake` is
    the folder of the copies for analysis; None: there are none. `iceberg` is the table that lists
    them, catalogue.namespace.table. Prices are for a gigabyte (10⁹ bytes) and a month, in whatever
    is paid with.
    """

    sealed: Path | str
    hot_days: int = 90
    lock: LockMode | None = None
    lock_days: int = 365
    lake: Path | None = None
    iceberg: str | None = None
    hot_price: float | None = None
    sealed_price: float | None = None


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where subjects' keys are, and who may have one erased.

    `keystore` is the file of wrapped keys, `master_key` that of the key that opens them. Of the
    `authorisers`, which are vkeys, `threshold` have to sign; with 0 nobody may. `verifiers` attest
    what `indelible retain` drops: of accesses the detail after `access_detail`, and the rest after
    `accesses`; `changes`, with the rows of baselines; `events`. None: never.
    """

    keystore: Path
    master_key: Path
    threshold: int = 0
    authorisers: tuple[str, ...] = ()
    verifiers: tuple[str, ...] = ()
    access_detail: Duration | None = None
    accesses: Duration | None = None
    changes: Duration | None = None
    events: Duration | None = None


class ReportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a person is told who accessed their data.

    With `staff = "role"` nobody is named: each is a role and a number. `roles` are by actor
    (`staff:alice`) or by kind. `reasons` are shown only where that is set: they may name people.
    """

    staff: StaffNames = "role"
    roles: dict[str, str] = {}
    reasons: bool = False


class Server(msgspec.Struct, frozen=True):
    """A database of PostgreSQL, MariaDB or MySQL: `url` may hold a password, so that it is shown
    without.

    `roles` are those as which the application connects, from `hosts`; they may record explicit
    events. `audit_log` are the files into which the server's audit writes statements: a path, or
    a pattern of the shell's. `profile` is what sees the writes: triggers, PostgreSQL's log, or
    triggers compared with the log.
    """

    url: str
    roles: tuple[str, ...] = ()
    profile: Profile = "triggers"
    hosts: tuple[str, ...] = ()
    audit_log: str | None = None

    @property
    def is_mariadb(self) -> bool:
        """Whether it is MariaDB or MySQL."""
        return self.url.startswith(("mysql:", "mariadb:"))

    def has_role(self, role: str | None) -> bool:
        """Whether the application connects as `role`. MariaDB's sessions don't tell `app@%` from
        `app@localhost`."""
        names = [name.partition("@")[0] if self.is_mariadb else name for name in self.roles]
        return role in names

    def is_application(self, role: str | None, address: str | None) -> bool:
        """Whether only the application connects so, if its hosts are nobody else's: an address
        can't be made up, as a program's name can."""
        return self.has_role(role) and address in self.hosts

    def __str__(self) -> str:
        parts = urllib.parse.urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"

    __repr__ = __str__

    def without_password(self, text: str) -> str:
        """`text` with stars in place of the password."""
        parts = urllib.parse.urlsplit(self.url)
        given = [parts.netloc.rpartition("@")[0].partition(":")[2]]
        given += urllib.parse.parse_qs(parts.query).get("password", [])
        for secret in (*given, *map(urllib.parse.unquote, given)):
            text = text.replace(secret, "***") if secret else text
        return text


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `indelible.toml` decides.

    `trail` is the trail's SQLite file; `journals` the directory of journals and `keys` that of
    keys, beside it. `origin` is the name that a new trail gets; None: a random one, as verifiers
    tell trails by it. The application's database, where the owner named it, is `database`, an
    SQLite file, or `server`. Without `witness` nobody cosigns; `anchors` are asked beside. `signer`
    is the socket of the process that has the key which signs checkpoints; without it that is among
    `keys`. Key files may be under a passphrase, in `passphrase_file` or the environment variable
    `passphrase_env`. `tiers` says where older entries go when they are sealed. `invariants`
    are what is promised; `directory` is that of the file, which paths in them are beside. `reports`
    says how persons are told who accessed their data. `personal` is what the tables' columns of
    that name come to.
    """

    trail: Path
    journals: Path
    keys: Path
    origin: str | None = None
    database: Path | None = None
    server: Server | None = None
    default: TablePolicy = TablePolicy("default", "default")
    tables: dict[str, TablePolicy] = {}
    personal: Personal = NOBODY_PERSONAL
    relay: RelaySettings = RelaySettings()
    witness: WitnessSettings | None = None
    anchors: tuple[AnchorSettings, ...] = ()
    signer: Path | None = None
    passphrase_file: Path | None = None
    passphrase_env: str | None = None
    tiers: TierSettings | None = None
    retention: RetentionSettings | None = None
    reports: ReportSettings = ReportSettings()
    invariants: tuple[Invariant, ...] = ()
    directory: Path = Path()
    source: str = "(defaults)"

    @property
    def seals(self) -> bool:
        """Whether any table has sealed or personal columns, so that there is a keystore."""
        return bool(self.personal) or any(
            table.seal for table in (self.default, *self.tables.values())
        )

    @property
    def subject_kinds(self) -> frozenset[str]:
        """The kinds of those whose data the tables hold."""
        subjects = (table.subject for table in (self.default, *self.tables.values()))
        return frozenset(subject.kind for subject in subjects if subject is not None)

    @property
    def has_keystore(self) -> bool:
        """Whether one is made: also for what an application seals itself."""
        return self.seals or self.retention is not None

    @property
    def sealed_actors(self) -> frozenset[str]:
        """Kinds of subjects that have sealed columns, or names that become tokens: where from they
        act is sealed, too."""
        tables = (self.default, *self.tables.values())
        sealed = frozenset(each.subject.kind for each in tables if each.seal and each.subject)
        return sealed | self.personal.kinds

    def kinds_of_subject(self, kind: str) -> tuple[str, ...]:
        """The kinds of the tables whose rows belong to subjects of this kind."""
        return tuple(
            table.kind
            for table in self.tables.values()
            if table.subject is not None and table.subject.kind == kind
        )

    def kept(self) -> RetentionSettings:
        """`retention`, where nothing is said what it is by default: beside the trail."""
        name = self.trail.name
        return self.retention or RetentionSettings(
            keystore=self.trail.with_name(f"{name}.keystore"),
            master_key=self.trail.with_name(f"{name}.master.key"),
        )

    def table(self, name: str) -> TablePolicy:
        """The policy of the table `name`, by the default where it isn't listed.

        SQLite's names don't tell upper from lower case; neither does this.
        """
        folded = name.lower()
        found = self.tables.get(folded)
        if found is not None:
            return found
        return msgspec.structs.replace(self.default, table=name, kind=folded)
