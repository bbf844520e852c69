-- A witness: `PRAGMA application_id` 0x494E4457 ("INDW"), `PRAGMA user_version` the format.

-- One row: the key that cosigns what stands in this file, and nothing else.
CREATE TABLE witness (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  vkey TEXT NOT NULL
) STRICT;

-- Size and root of the last checkpoint that was cosigned (0 and the empty root before the first).
-- `checkpoint` is that note with the tlog's signature and ours; `heard` the POSIX second of our
-- cosignature, or of when the tlog was added. `retired`: cosigned no more, missed no more.
CREATE TABLE tlog (
  origin TEXT PRIMARY KEY,
  vkey TEXT NOT NULL,
  size INTEGER NOT NULL,
  root BLOB NOT NULL,
  checkpoint BLOB,
  heard INTEGER NOT NULL,
  retired INTEGER
) STRICT, WITHOUT ROWID;

-- Signed checkpoints that were refused because they aren't a continuation of what was cosigned,
-- with what was cosigned last then. `proven`: both are of one size.
CREATE TABLE refused (
  origin TEXT NOT NULL,
  size INTEGER NOT NULL,
  root BLOB NOT NULL,
  offered BLOB NOT NULL,
  known BLOB NOT NULL,
  proven INTEGER NOT NULL,
  seen INTEGER NOT NULL,
  acknowledged TEXT,
  PRIMARY KEY (origin, size, root)
) STRICT, WITHOUT ROWID;
