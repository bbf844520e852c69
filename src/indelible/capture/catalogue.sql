-- What reads need to know of a database's tables. Names come as blobs, so that no text_factory
-- of the application touches them.

-- name: objects
SELECT type, CAST(name AS BLOB), CAST(sql AS BLOB)
FROM main.sqlite_schema
WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
ORDER BY name;

-- name: columns
SELECT CAST(o.name AS BLOB), CAST(c.name AS BLOB), CAST(upper(c.type) AS BLOB), c.pk
FROM main.sqlite_schema AS o JOIN pragma_table_xinfo(o.name, 'main') AS c
WHERE o.type = 'table' AND c.hidden <> 1 AND o.sql NOT LIKE 'CREATE VIRTUAL %'
ORDER BY o.name, c.cid;

-- name: without_rowid
SELECT CAST(name AS BLOB) FROM pragma_table_list WHERE schema = 'main' AND wr = 1;

-- name: indexed_keys
-- A key with an index of its own isn't the rowid (INTEGER PRIMARY KEY DESC).
SELECT CAST(o.name AS BLOB)
FROM main.sqlite_schema AS o JOIN pragma_index_list(o.name, 'main') AS i
WHERE o.type = 'table' AND i.origin = 'pk' AND o.sql NOT LIKE 'CREATE VIRTUAL %';

-- name: temporary
SELECT CAST(name AS BLOB) FROM temp.sqlite_schema WHERE type IN ('table', 'view');

-- name: databases
SELECT CAST(name AS BLOB) FROM pragma_database_list WHERE name NOT IN ('main', 'temp');

-- name: functions
SELECT CAST(name AS BLOB), CAST(type AS BLOB) FROM pragma_function_list WHERE builtin = 0;

-- name: encoding
SELECT CAST(encoding AS BLOB) FROM pragma_encoding;
