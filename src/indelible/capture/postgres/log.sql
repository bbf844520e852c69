-- name: create_log
CREATE TABLE indelible.log (
  slot text PRIMARY KEY,
  position pg_lsn NOT NULL,
  time timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  compared xid8 NOT NULL DEFAULT '0',
  lost text
)
-- name: create_published
CREATE TABLE indelible.published (
  relation oid PRIMARY KEY,
  identity text NOT NULL,
  identity_index text,
  -- NULL: nothing is to be read of it yet.
  since bigint,
  is_counted boolean NOT NULL,
  subject text,
  subject_sql text
)
-- name: create_log_counts
CREATE TABLE indelible.log_counts (
  xid xid8 NOT NULL,
  name text NOT NULL,
  gone bigint NOT NULL,
  come bigint NOT NULL,
  is_emptied boolean NOT NULL
)
-- name: create_publication
CREATE PUBLICATION indelible
-- name: mend_publication
ALTER PUBLICATION indelible SET
  (publish = 'insert, update, delete, truncate', publish_via_partition_root = false)
-- name: publication
SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND NOT pubviaroot
FROM pg_catalog.pg_publication WHERE pubname = 'indelible'
-- name: create_record
CREATE OR REPLACE FUNCTION indelible.record(draft bytea, proof text) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $indelible$
BEGIN
  PERFORM pg_logical_emit_message(true, 'indelible.event',
    convert_to(encode(draft, 'base64') || ' ' || left(proof, 200), 'UTF8'));
END
$indelible$
-- name: server
SELECT current_setting('wal_level'), current_setting('server_encoding'),
  (SELECT rolsuper OR rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user),
  current_user::text,
  current_setting('max_replication_slots')::integer
    - (SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name <> %s)::integer,
  pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
-- name: cannot_emit
SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolname = ANY (%s)
  AND NOT pg_catalog.has_function_privilege(
    r.oid, 'pg_catalog.pg_logical_emit_message(boolean, text, bytea)', 'EXECUTE')
-- name: create_slot
SELECT lsn::text FROM pg_catalog.pg_create_logical_replication_slot(%s, 'pgoutput')
-- name: drop_slot
SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots
WHERE slot_name = %s AND database = pg_catalog.current_database()
-- name: put_log
INSERT INTO indelible.log (slot, position) VALUES (%s, %s)
ON CONFLICT (slot) DO UPDATE SET position = excluded.position,
  time = pg_catalog.clock_timestamp(), lost = NULL
-- name: put_published
INSERT INTO indelible.published
  (relation, identity, identity_index, since, is_counted, subject, subject_sql)
VALUES (%s, %s, %s, coalesce(pg_catalog.pg_sequence_last_value('indelible.outbox_id_seq'), 0),
  %s, %s, %s)
ON CONFLICT (relation) DO UPDATE SET since = excluded.since, is_counted = excluded.is_counted,
  subject = excluded.subject, subject_sql = excluded.subject_sql
-- name: forget_counts
DELETE FROM indelible.log_counts WHERE name = %s
-- name: begin_anew
WITH gone AS (DELETE FROM indelible.log_counts)
UPDATE indelible.published SET since = NULL WHERE is_counted
-- name: published
SELECT relation, identity, identity_index FROM indelible.published
-- name: forget_published
DELETE FROM indelible.published WHERE relation = ANY (%s)
-- name: has_log
SELECT pg_catalog.to_regclass('indelible.log') IS NOT NULL
-- name: lock
LOCK TABLE indelible.log IN EXCLUSIVE MODE
-- name: log
SELECT slot, (position - '0/0')::bigint, time::text, lost FROM indelible.log
-- name: here
-- The snapshot is older than the position: what had ended in it stands before that.
SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint,
  pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint,
  (pg_catalog.pg_current_wal_insert_lsn() - '0/0')::bigint,
  (pg_catalog.pg_current_wal_flush_lsn() - '0/0')::bigint
-- name: slot
SELECT wal_status, (confirmed_flush_lsn - '0/0')::bigint,
  (pg_catalog.pg_current_wal_insert_lsn() - restart_lsn)::bigint
FROM pg_catalog.pg_replication_slots
WHERE slot_name = %s AND database = pg_catalog.current_database() AND plugin = 'pgoutput'
-- name: flush
SELECT pg_catalog.pg_logical_emit_message(true, 'indelible.flush', '')
-- name: advance
SELECT pg_catalog.pg_replication_slot_advance(%s, '0/0'::pg_lsn + %s::numeric)
-- name: peek
SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes(
  %s, NULL, %s, 'proto_version', '1', 'publication_names', 'indelible', 'messages', 'true')
-- name: tables
SELECT c.relation, c.layout, p.is_counted, p.subject, p.subject_sql
FROM indelible.captured c JOIN indelible.published p USING (relation) WHERE p.since IS NOT NULL
-- name: write
COPY indelible.outbox (xid, time, backend, layout, op, depth, ctx, s0, s1, old, new, changed)
FROM STDIN
-- name: say
INSERT INTO indelible.outbox (layout, op, depth, old, new) VALUES (0, 6, 0, %s, %s)
-- name: put_counts
INSERT INTO indelible.log_counts (xid, name, gone, come, is_emptied)
VALUES (%s::text::xid8, %s, %s, %s, %s)
-- name: put_position
UPDATE indelible.log SET position = '0/0'::pg_lsn + %s::numeric, time = pg_catalog.clock_timestamp()
-- name: put_lost
UPDATE indelible.log SET lost = %s
-- name: is_comparable
SELECT EXISTS (SELECT FROM indelible.published WHERE is_counted) AND (
  EXISTS (SELECT FROM indelible.log_counts WHERE xid < %(until)s::text::xid8)
  OR EXISTS (SELECT FROM indelible.outbox WHERE op < 4 AND xid < %(until)s::text::xid8
    AND xid >= (SELECT compared FROM indelible.log)))
-- name: compare
-- What triggers and log saw of the transactions that ended since the last time.
WITH known AS (
  SELECT c.layout, l.layout::json ->> 'table' AS name, max(p.since) AS since
  FROM indelible.captured c
  JOIN indelible.published p USING (relation)
  JOIN indelible.layouts l ON l.number = c.layout
  WHERE p.is_counted GROUP BY 1, 2),
seen AS (
  SELECT o.xid, k.name, count(*) FILTER (WHERE o.op IN (2, 3)) AS gone,
    count(*) FILTER (WHERE o.op IN (1, 2)) AS come
  FROM indelible.outbox o JOIN known k USING (layout)
  WHERE o.op < 4 AND o.id > k.since AND o.xid < %(until)s::text::xid8
    AND o.xid >= (SELECT compared FROM indelible.log)
  GROUP BY 1, 2),
counted AS (
  DELETE FROM indelible.log_counts WHERE xid < %(until)s::text::xid8
  RETURNING xid, name, gone, come, is_emptied),
logged AS (
  SELECT xid, name, sum(gone)::bigint AS gone, sum(come)::bigint AS come,
    bool_or(is_emptied) AS is_emptied
  FROM counted GROUP BY 1, 2)
SELECT xid::text, name, coalesce(s.gone, 0), coalesce(s.come, 0), coalesce(l.gone, 0),
  coalesce(l.come, 0)
FROM seen s FULL JOIN logged l USING (xid, name)
WHERE coalesce(s.come, 0) <> coalesce(l.come, 0)
  OR (coalesce(s.gone, 0) <> coalesce(l.gone, 0) AND NOT coalesce(l.is_emptied, false))
ORDER BY xid, name
-- name: put_compared
UPDATE indelible.log SET compared = %s::text::xid8
