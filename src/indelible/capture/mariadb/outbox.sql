-- name: create_schema
CREATE DATABASE IF NOT EXISTS {schema} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- name: create_meta
CREATE TABLE IF NOT EXISTS {schema}.meta (name VARCHAR(64) PRIMARY KEY, value TEXT NOT NULL) ENGINE = InnoDB
-- name: create_layouts
CREATE TABLE IF NOT EXISTS {schema}.layouts (number INT PRIMARY KEY, layout MEDIUMTEXT NOT NULL) ENGINE = InnoDB
-- name: create_captured
CREATE TABLE IF NOT EXISTS {schema}.captured (
  name VARCHAR(64) PRIMARY KEY,
  layout INT NOT NULL,
  seen TEXT NOT NULL,
  baseline BIGINT
) ENGINE = InnoDB
-- name: create_begun
CREATE TABLE IF NOT EXISTS {schema}.begun (id BIGINT AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB
-- name: create_outbox
CREATE TABLE IF NOT EXISTS {schema}.outbox (
  id BIGINT AUTO_INCREMENT PRIMARY KEY,
  time BIGINT NOT NULL,
  ctx MEDIUMTEXT,
  layout INT NOT NULL,
  op TINYINT NOT NULL,
  s0 LONGTEXT,
  s1 LONGTEXT,
  old LONGTEXT,
  new LONGTEXT,
  changed TEXT,
  connection BIGINT UNSIGNED NOT NULL,
  client VARCHAR(512) NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC
-- name: drop_record
DROP PROCEDURE IF EXISTS {schema}.record
-- name: create_record
CREATE PROCEDURE {schema}.record (draft LONGTEXT CHARACTER SET ascii, proof TEXT CHARACTER SET utf8mb4)
SQL SECURITY DEFINER MODIFIES SQL DATA
BEGIN
  -- A transaction has its number before it takes an id of the outbox.
  INSERT INTO {schema}.begun () VALUES ();
  DELETE FROM {schema}.begun WHERE id = LAST_INSERT_ID();
  INSERT INTO {schema}.outbox (time, ctx, layout, op, old, new, connection, client)
  VALUES ({time}, {context}, 0, 9, draft, LEFT(proof, 200), CONNECTION_ID(), SESSION_USER());
END
-- name: routines
SELECT ROUTINE_NAME, ROUTINE_DEFINITION, SECURITY_TYPE FROM information_schema.ROUTINES
WHERE ROUTINE_SCHEMA = %s
-- name: is_installed
SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = 'meta'
-- name: meta
SELECT name, value FROM {schema}.meta
-- name: put_meta
INSERT INTO {schema}.meta VALUES ('format', %s), ('incarnation', %s), ('epoch', %s)
-- name: layouts
SELECT number, layout FROM {schema}.layouts
-- name: put_layout
REPLACE INTO {schema}.layouts VALUES (%s, %s)
-- name: captured
SELECT name, layout, seen, baseline FROM {schema}.captured
-- name: put_captured
REPLACE INTO {schema}.captured VALUES (%s, %s, %s, %s)
-- name: put_baseline
UPDATE {schema}.captured SET baseline = %s WHERE name = %s
-- name: forget_captured
DELETE FROM {schema}.captured WHERE name = %s
-- name: newest
SELECT COALESCE(AUTO_INCREMENT, 1) - 1 FROM information_schema.TABLES
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = 'outbox'
-- name: running
SELECT %s AS mark, trx_id, trx_mysql_thread_id, CAST(trx_started AS CHAR), trx_query
FROM information_schema.INNODB_TRX
-- name: monitor
SHOW ENGINE INNODB STATUS
-- name: client_of
SELECT USER, HOST, DB FROM information_schema.PROCESSLIST WHERE ID = %s
-- name: sessions_counted
SHOW GLOBAL STATUS WHERE VARIABLE_NAME IN ('Connections', 'Aborted_connects')
-- name: sessions
SELECT ID = CONNECTION_ID(), ID, USER, HOST, COMMAND LIKE 'Binlog Dump%', USER = 'unauthenticated user'
FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Daemon' AND USER <> 'system user'
-- name: programs
SELECT PROCESSLIST_ID, ATTR_VALUE FROM performance_schema.session_connect_attrs
WHERE ATTR_NAME = 'program_name'
-- name: sizes
SELECT id, COALESCE(LENGTH(old), 0) + COALESCE(LENGTH(new), 0) + COALESCE(LENGTH(ctx), 0)
FROM {schema}.outbox WHERE id >= %s ORDER BY id LIMIT %s
-- name: read
SELECT id, time, ctx, layout, op, s0, s1, old, new, changed, connection, connection,
  SUBSTRING_INDEX(client, '@', GREATEST(1, LENGTH(client) - LENGTH(REPLACE(client, '@', '')))),
  NULL, SUBSTRING_INDEX(client, '@', -1)
FROM {schema}.outbox WHERE id = %(since)s OR (id > %(since)s AND id <= %(last)s) ORDER BY id
-- name: any_behind
SELECT EXISTS (SELECT 1 FROM {schema}.outbox WHERE id > %(last)s AND id <= %(settled)s)
-- name: durable
INSERT INTO {schema}.begun () VALUES ()
-- name: forget_durable
DELETE FROM {schema}.begun
-- name: forget
DELETE FROM {schema}.outbox WHERE id < %s ORDER BY id LIMIT %s
-- name: waiting
SELECT COUNT(*) FROM {schema}.outbox WHERE id > %s
