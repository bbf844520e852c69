-- name: create
INSERT INTO witness (only, vkey) VALUES (1, ?)
-- name: vkey
SELECT vkey FROM witness
-- name: add
INSERT INTO tlog (origin, vkey, size, root, heard) VALUES (?, ?, 0, ?, ?)
-- name: retire
UPDATE tlog SET retired = ? WHERE origin = ? AND retired IS NULL
-- name: rekey
UPDATE tlog SET vkey = ? WHERE origin = ? AND retired IS NULL
-- name: tlog
SELECT origin, vkey, size, root, checkpoint, heard, retired FROM tlog WHERE origin = ?
-- name: tlogs
SELECT origin, vkey, size, root, checkpoint, heard, retired FROM tlog ORDER BY origin
-- name: replace
UPDATE tlog SET size = :size, root = :root, checkpoint = :checkpoint, heard = :heard
WHERE origin = :origin AND size = :old_size AND root = :old_root AND retired IS NULL
-- name: refuse
INSERT INTO refused (origin, size, root, offered, known, proven, seen)
SELECT :origin, :size, :root, :offered, :known, :proven, :seen
WHERE :proven OR (SELECT count(*) FROM refused WHERE origin = :origin) < :most
ON CONFLICT (origin, size, root) DO UPDATE SET
  proven = 1, known = excluded.known, seen = excluded.seen, acknowledged = NULL
  WHERE excluded.proven AND NOT refused.proven
-- name: withdraw
DELETE FROM refused WHERE origin = ? AND size = ? AND root = ? AND NOT proven
-- name: refusals
SELECT origin, size, root, offered, known, proven, seen, acknowledged FROM refused
ORDER BY origin, seen, size
-- name: acknowledge
UPDATE refused SET acknowledged = ? WHERE origin = ? AND acknowledged IS NULL
