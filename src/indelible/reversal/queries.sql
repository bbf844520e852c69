-- What reversal asks an SQLite database about its foreign keys.

-- name: are_foreign_keys_enforced
SELECT foreign_keys FROM pragma_foreign_keys;

-- name: broken_foreign_keys
SELECT DISTINCT "table", parent FROM pragma_foreign_key_check ORDER BY 1, 2;
