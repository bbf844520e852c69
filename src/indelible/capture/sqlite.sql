-- Fixed statements on the application's database. `main` is said everywhere, so that a temporary
-- or attached table of the same name is never meant.

-- name: create_meta
CREATE TABLE indelible_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- name: create_outbox
-- Columns without a type have no affinity: a value stays what it is. AUTOINCREMENT: a number is
-- never given twice, also when the rows that had the highest ones are gone.
CREATE TABLE indelible_outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time, ctx, layout, op, s0, s1, o0, n0
);

-- name: create_notes
-- What triggers remember between BEFORE and AFTER: rows that may be replaced, writes under way and
-- their rows, subjects of rows whose parent is being deleted (`sqlite_notes`).
CREATE TABLE indelible_notes (
  id INTEGER PRIMARY KEY, layout, kind, done, goes, comes, s0, o0, n0
);

-- name: put_meta
INSERT INTO main.indelible_meta (key, value) VALUES (?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: get_meta
SELECT key, value FROM main.indelible_meta;

-- name: forget_meta
DELETE FROM main.indelible_meta WHERE key = ?;

-- name: read_outbox
SELECT * FROM main.indelible_outbox WHERE id > ? ORDER BY id LIMIT ?;

-- name: outbox_state
SELECT (SELECT value FROM main.indelible_meta WHERE key = 'incarnation'),
       (SELECT value FROM main.indelible_meta WHERE key = 'epoch'),
       coalesce((SELECT seq FROM main.sqlite_sequence WHERE name = 'indelible_outbox'), 0),
       (SELECT min(id) FROM main.indelible_outbox),
       (SELECT max(id) FROM main.indelible_outbox);

-- name: leaves_sequence
-- The word may also stand in a comment or a name: then nothing is said that could be wrong.
SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence')
  AND NOT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE sql LIKE '%AUTOINCREMENT%');

-- name: waiting
SELECT count(*) FROM main.indelible_outbox WHERE id > ?;
