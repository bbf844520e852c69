-- A trail: `PRAGMA application_id` 0x494E4445 ("INDE"), `PRAGMA user_version` the format.
-- What is committed to are head, salt and body of each entry (block); all else can be derived from
-- them and from the checkpoint, and `indelible verify` does and compares.

-- One row. `size` and `root` are pending until `checkpoint`, a signed note, covers them.
CREATE TABLE trail (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  origin TEXT NOT NULL,
  vkey TEXT NOT NULL,
  source_id TEXT NOT NULL,
  size INTEGER NOT NULL,
  root BLOB NOT NULL,
  checkpoint BLOB
) STRICT;

-- What each witness that was asked (its vkey) said: the last checkpoint that it cosigned, a signed
-- note with the trail's signature and its own, `time` the POSIX second that it stated; and why it
-- didn't cosign when it was last asked ('': it did). Derived from nothing: signatures are checked.
CREATE TABLE witness (
  vkey TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  time INTEGER NOT NULL,
  note BLOB,
  fault TEXT NOT NULL,
  contradicts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What each anchor said, by its name in the configuration: the last checkpoint that it has (`note`, a
-- signed note), what it answered (`receipt`) at the POSIX second `time`, whether that is `outside`
-- evidence; and why it failed when it was last tried ('': it didn't). Derived from nothing: `verify`
-- asks the anchor.
CREATE TABLE anchor (
  name TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  time INTEGER NOT NULL,
  note BLOB,
  receipt BLOB NOT NULL,
  outside INTEGER NOT NULL,
  fault TEXT NOT NULL,
  contradicts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: who may append. `epoch` fences; `heard` (microseconds) is for takeover only.
CREATE TABLE lease (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  epoch INTEGER NOT NULL,
  holder TEXT NOT NULL,
  heard INTEGER NOT NULL
) STRICT;

-- Entries 256n .. 256n+255. Times are the least and greatest of claimed and received ones. Where
-- `sealed` is set, stems, salts and frames are in a segment: it says where, and their hashes.
CREATE TABLE block (
  n INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  min_time TEXT NOT NULL,
  max_time TEXT NOT NULL,
  doubtful BLOB,
  stems BLOB,
  salts BLOB,
  frame0 BLOB,
  frame1 BLOB,
  frame2 BLOB,
  frame3 BLOB,
  sealed BLOB,
  CHECK (sealed IS NOT NULL OR (stems IS NOT NULL AND salts IS NOT NULL AND frame0 IS NOT NULL))
) STRICT;

-- The entries first .. last are in the file `name` at `place` (a folder, relative to this file's, or
-- s3://bucket/prefix), which has so many bytes and this SHA-256. Segments follow each other from
-- entry 0 on; each has one run of the index, and no tiles of level 0.
CREATE TABLE segment (
  first INTEGER PRIMARY KEY,
  last INTEGER NOT NULL,
  place TEXT NOT NULL,
  name TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  min_time TEXT NOT NULL,
  max_time TEXT NOT NULL,
  sealed_at TEXT NOT NULL
) STRICT;

-- id = level << 48 | n: the hashes of one tile, as far as it is filled.
CREATE TABLE tile (id INTEGER PRIMARY KEY, hashes BLOB NOT NULL) STRICT;

-- A run of the index covers the entries first .. last.
CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  refs INTEGER NOT NULL,
  min_time TEXT NOT NULL,
  max_time TEXT NOT NULL,
  directory BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX run_first ON run (first);

-- id = run << 16 | number of the page.
CREATE TABLE page (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;

CREATE TABLE batch (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, time TEXT NOT NULL) STRICT;

-- Positions received of a source, for ever.
CREATE TABLE source (
  producer TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  ranges BLOB NOT NULL,
  last_time TEXT NOT NULL,
  latest TEXT NOT NULL,
  received_at TEXT NOT NULL,
  PRIMARY KEY (producer, epoch)
) STRICT, WITHOUT ROWID;

-- Positions first_seq, +1, … of a source stand at indexes first_index, +1, …
CREATE TABLE span (
  producer TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  first_index INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (producer, epoch, first_seq)
) STRICT, WITHOUT ROWID;

-- Other bytes at a position that was held already.
CREATE TABLE conflict (
  idx INTEGER PRIMARY KEY, producer TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL
) STRICT;

CREATE TABLE gap (
  idx INTEGER PRIMARY KEY,
  producer TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL
) STRICT;

-- Deliveries that were no event, with their bytes; idx is the entry that says so.
CREATE TABLE quarantine (
  idx INTEGER PRIMARY KEY,
  producer TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  bodies BLOB NOT NULL,
  reason TEXT NOT NULL
) STRICT;

-- Entries that somebody has to see, and the entry that says who has.
CREATE TABLE notice (
  idx INTEGER PRIMARY KEY,
  time TEXT NOT NULL,
  action TEXT NOT NULL,
  message TEXT NOT NULL,
  acknowledged INTEGER
) STRICT;
CREATE INDEX notice_open ON notice (idx) WHERE acknowledged IS NULL;
