-- name: no_journal
PRAGMA journal_mode = OFF
-- name: create
CREATE TABLE item (day TEXT NOT NULL, item TEXT NOT NULL, PRIMARY KEY (day, item)) WITHOUT ROWID
-- name: begin
BEGIN
-- name: put
INSERT OR IGNORE INTO item (day, item) VALUES (?, ?)
-- name: items
SELECT day, item FROM item ORDER BY day, item
