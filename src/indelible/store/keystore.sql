-- name: schema
CREATE TABLE master (one INTEGER PRIMARY KEY CHECK (one = 1), public BLOB NOT NULL) STRICT;
CREATE TABLE subjects (
    token TEXT PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL,
    public BLOB NOT NULL, wrapped BLOB NOT NULL, UNIQUE (kind, id)
) STRICT;
CREATE TABLE erased (token TEXT PRIMARY KEY, nonce TEXT NOT NULL, time TEXT NOT NULL) STRICT;
-- name: put_master
INSERT OR REPLACE INTO master (one, public) VALUES (1, ?)
-- name: master
SELECT public FROM master
-- name: put_subject
INSERT INTO subjects (token, kind, id, public, wrapped) VALUES (?, ?, ?, ?, ?)
-- name: subject
SELECT token, public FROM subjects WHERE kind = ? AND id = ?
-- name: name
SELECT kind, id FROM subjects WHERE token = ?
-- name: wrapped
SELECT wrapped FROM subjects WHERE token = ?
-- name: all_wrapped
SELECT token, wrapped FROM subjects
-- name: rewrap
UPDATE subjects SET wrapped = ? WHERE token = ?
-- name: erase
DELETE FROM subjects WHERE token = ?
-- name: put_erased
INSERT INTO erased (token, nonce, time) VALUES (?, ?, ?)
-- name: erased
SELECT token, nonce, time FROM erased ORDER BY time, token
-- name: count
SELECT count(*) FROM subjects
-- name: tokens
SELECT token FROM subjects
