-- What reversal needs to know of the tables of an SQLite database. Names come as they are written.

-- name: tables
SELECT name, wr FROM pragma_table_list
WHERE schema = 'main' AND type = 'table'
  AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE 'indelible\_%' ESCAPE '\'
ORDER BY name;

-- name: columns
SELECT name, pk, hidden FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid;

-- name: uniques
-- Indexes of plain columns over all rows; the primary key is known already.
SELECT list.name, info.name, info.cid
FROM pragma_index_list(?) AS list JOIN pragma_index_xinfo(list.name) AS info
WHERE list."unique" = 1 AND list.partial = 0 AND list.origin <> 'pk' AND info.key = 1
ORDER BY list.seq, info.seqno;

-- name: foreign_keys
SELECT id, "table", "from", "to", on_update FROM pragma_foreign_key_list(?) ORDER BY id, seq;

-- name: are_foreign_keys_enforced
SELECT foreign_keys FROM pragma_foreign_keys;

-- name: broken_foreign_keys
SELECT DISTINCT "table", parent FROM pragma_foreign_key_check ORDER BY 1, 2;
