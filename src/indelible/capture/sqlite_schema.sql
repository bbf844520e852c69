-- What the schema of a database is read with. Names come as blobs, so that no text_factory of the
-- application touches them. `main` is said everywhere, so that a temporary or attached table of
-- the same name is never meant.

-- name: objects
SELECT type, CAST(name AS BLOB), CAST(tbl_name AS BLOB), CAST(sql AS BLOB), rowid
FROM main.sqlite_schema
WHERE type IN ('view', 'index', 'trigger') AND sql IS NOT NULL
ORDER BY rowid;

-- name: tables
SELECT CAST(name AS BLOB), type, wr FROM pragma_table_list
WHERE schema = 'main' AND type <> 'view' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
ORDER BY name;

-- name: columns
SELECT CAST(o.name AS BLOB), CAST(c.name AS BLOB), CAST(c.type AS BLOB), c."notnull",
  CAST(c.dflt_value AS BLOB), c.pk, c.hidden
FROM main.sqlite_schema AS o JOIN pragma_table_xinfo(o.name, 'main') AS c
WHERE o.type = 'table' AND c.hidden <> 1 AND o.sql NOT LIKE 'CREATE VIRTUAL %'
  AND o.name NOT LIKE 'indelible\_%' ESCAPE '\'
ORDER BY o.name, c.cid;

-- name: unique_indexes
SELECT CAST(o.name AS BLOB), CAST(i.name AS BLOB), i.origin, t.cid, CAST(t.name AS BLOB),
  CAST(t.coll AS BLOB)
FROM main.sqlite_schema AS o JOIN pragma_index_list(o.name, 'main') AS i
  JOIN pragma_index_xinfo(i.name, 'main') AS t
WHERE o.type = 'table' AND o.sql NOT LIKE 'CREATE VIRTUAL %'
  AND o.name NOT LIKE 'indelible\_%' ESCAPE '\' AND i."unique" = 1 AND t.key = 1
ORDER BY o.name, i.seq DESC, t.seqno;

-- name: foreign_keys
SELECT CAST(o.name AS BLOB), f.id, CAST(f."table" AS BLOB), CAST(f."from" AS BLOB),
  CAST(f."to" AS BLOB), f.on_update, f.on_delete
FROM main.sqlite_schema AS o JOIN pragma_foreign_key_list(o.name, 'main') AS f
WHERE o.type = 'table' AND o.sql NOT LIKE 'CREATE VIRTUAL %'
  AND o.name NOT LIKE 'indelible\_%' ESCAPE '\'
ORDER BY o.name, f.id, f.seq;

-- name: temporary
SELECT CAST(name AS BLOB) FROM temp.sqlite_schema WHERE type IN ('table', 'view');

-- name: databases
SELECT CAST(name AS BLOB) FROM pragma_database_list WHERE name NOT IN ('main', 'temp');

-- name: functions
SELECT CAST(name AS BLOB), CAST(type AS BLOB) FROM pragma_function_list WHERE builtin = 0;

-- name: encoding
SELECT CAST(encoding AS BLOB) FROM pragma_encoding;
