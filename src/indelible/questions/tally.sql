-- Where a tally spills to: a temporary file of its own, never a trail. `first` and `last` are a time
-- followed by an index and a place of 20 digits each, so that they compare as text.

-- name: create
CREATE TABLE tally (
  key TEXT PRIMARY KEY,
  first TEXT NOT NULL,
  last TEXT NOT NULL,
  reads INTEGER NOT NULL,
  changes INTEGER NOT NULL,
  why TEXT
) WITHOUT ROWID;

-- name: merge
INSERT INTO tally (key, first, last, reads, changes, why) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
  first = min(first, excluded.first),
  last = max(last, excluded.last),
  reads = reads + excluded.reads,
  changes = changes + excluded.changes,
  why = coalesce(why, excluded.why);

-- name: lines
SELECT key, first, last, reads, changes, why FROM tally ORDER BY first;
