-- name: create_schema
CREATE SCHEMA indelible
-- name: create_meta
CREATE TABLE indelible.meta (key text PRIMARY KEY, value text NOT NULL)
-- name: create_layouts
CREATE TABLE indelible.layouts (number integer PRIMARY KEY, layout text NOT NULL)
-- name: create_captured
CREATE TABLE indelible.captured (
  relation oid PRIMARY KEY,
  name text NOT NULL,
  root oid NOT NULL,
  layout integer NOT NULL REFERENCES indelible.layouts,
  seen text NOT NULL,
  baseline bigint
)
-- name: create_outbox
CREATE TABLE indelible.outbox (
  -- In this order they are evaluated: a transaction has its number before it takes an id, and a
  -- backend that is held up between time and id dates one row too early instead of all others.
  xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
  time timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  backend integer NOT NULL DEFAULT pg_catalog.pg_backend_pid(),
  layout integer NOT NULL,
  op smallint NOT NULL,
  depth smallint NOT NULL,
  ctx text,
  s0 text,
  s1 text,
  old text,
  new text,
  changed text,
  database_role text,
  application text,
  address text,
  nest bigint,
  left_old text,
  left_new text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000)
-- name: create_nests
CREATE INDEX outbox_nests ON indelible.outbox (nest, xid, layout, id) WHERE nest IS NOT NULL
-- name: create_stray
CREATE FUNCTION indelible.stray(relation oid) RETURNS void LANGUAGE sql
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO indelible.outbox (layout, op, depth, new, database_role)
  VALUES (0, 8, 0, relation::regclass::text, session_user);
END
-- name: create_altered
CREATE FUNCTION indelible.altered(relation oid, names text[], OUT image text, OUT gone text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT 'ROW(' || coalesce(string_agg(
      CASE WHEN a.attname IS NULL THEN 'NULL' ELSE 't.' || quote_ident(wanted.name) END, ', '
      ORDER BY wanted.place), '') || ')::text',
    '!' || coalesce(string_agg(wanted.place::text, ',' ORDER BY wanted.place)
      FILTER (WHERE a.attname IS NULL), '')
  FROM unnest(names) WITH ORDINALITY AS wanted (name, place)
  LEFT JOIN pg_attribute a ON a.attrelid = relation AND a.attname = wanted.name
    AND a.attnum > 0 AND NOT a.attisdropped;
END
-- name: create_record
CREATE OR REPLACE FUNCTION indelible.record(draft bytea, proof text) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $indelible$
BEGIN
  INSERT INTO indelible.outbox (layout, op, depth, ctx, old, new, database_role)
  VALUES (0, 9, 0, left(nullif(current_setting('indelible.ctx', true), ''), 65536),
    encode(draft, 'base64'), left(proof, 200), session_user);
END
$indelible$
-- name: state
SELECT
  (SELECT value FROM indelible.meta WHERE key = 'incarnation'),
  (SELECT value FROM indelible.meta WHERE key = 'epoch'),
  (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM indelible.outbox_id_seq),
  pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint
-- name: last_begun
SELECT pg_catalog.pg_current_xact_id()::text::bigint
-- name: all_ended_below
SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint
-- name: read
WITH sized AS (
  SELECT id, sum(
    coalesce(octet_length(old), 0) + coalesce(octet_length(new), 0) + coalesce(octet_length(ctx), 0)
    + 100) OVER (ORDER BY id) AS size, row_number() OVER (ORDER BY id) AS place
  FROM (
    SELECT id, old, new, ctx FROM indelible.outbox
    WHERE id = %(since)s OR (id > %(since)s AND id <= %(settled)s)
    ORDER BY id LIMIT %(limit)s) AS o)
SELECT o.id, (extract(epoch FROM o.time) * 1000000)::bigint, o.ctx, o.layout, o.op::integer, o.s0,
  o.s1, o.old, o.new, o.changed, o.xid::text::bigint, o.backend, o.database_role, o.application, o.address
FROM sized JOIN indelible.outbox o USING (id)
WHERE sized.size <= %(max_bytes)s OR sized.place <= 2
ORDER BY o.id
-- name: nests
-- From each to the next: the index isn't read whole, as one nest may be most of it.
WITH RECURSIVE found AS (
  (SELECT nest, xid, layout FROM indelible.outbox WHERE nest < %(until)s
   ORDER BY nest, xid, layout LIMIT 1)
  UNION ALL
  SELECT next.nest, next.xid, next.layout FROM found CROSS JOIN LATERAL (
    SELECT o.nest, o.xid, o.layout FROM indelible.outbox o
    WHERE (o.nest, o.xid, o.layout) > (found.nest, found.xid, found.layout)
      AND o.nest < %(until)s
    ORDER BY o.nest, o.xid, o.layout LIMIT 1) AS next)
SELECT xid::text::bigint, layout, nest, until FROM (
  SELECT found.*, (
    SELECT max(o.id) FROM indelible.outbox o
    WHERE o.nest = found.nest AND o.xid = found.xid AND o.layout = found.layout) AS until
  FROM found) AS nests
WHERE until >= %(since)s
-- name: nested
SELECT id, depth, old, new, changed, left_old, left_new, nest IS NOT NULL
FROM indelible.outbox
WHERE id > %(since)s AND id <= %(until)s AND xid = %(xid)s::text::xid8 AND layout = %(layout)s
  AND (nest = %(begun)s OR nest IS NULL)
ORDER BY id LIMIT %(limit)s
-- name: read_these
SELECT o.id, (extract(epoch FROM o.time) * 1000000)::bigint, o.ctx, o.layout, o.op::integer, o.s0,
  o.s1, o.old, o.new, o.changed, o.xid::text::bigint, o.backend, o.database_role, o.application, o.address
FROM indelible.outbox o WHERE o.id = ANY (%s)
-- name: any_behind
SELECT EXISTS (SELECT FROM indelible.outbox WHERE id > %(last)s AND id <= %(settled)s)
-- name: layouts
SELECT number, layout FROM indelible.layouts
-- name: forget
-- What is nested in each other is read together, so it stays together.
DELETE FROM indelible.outbox WHERE id IN (
  SELECT id FROM indelible.outbox
  WHERE (%(ended)s::text IS NULL OR xid < %(ended)s::text::xid8) AND id < least(%(below)s, (
    SELECT min(nest) + 1 FROM indelible.outbox WHERE nest < %(below)s AND id >= %(below)s))
  ORDER BY id LIMIT %(limit)s)
-- name: waiting
SELECT count(*) FROM indelible.outbox WHERE id > %s
-- name: holding
SELECT l.transactionid::text, l.pid, a.usename, a.application_name, a.datname, p.gid,
  pg_catalog.date_trunc('second', coalesce(p.prepared, a.xact_start))::text
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = l.transactionid
WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock'
ORDER BY pg_catalog.age(l.transactionid) DESC LIMIT 1
-- name: sessions_counted
SELECT d.sessions, pg_catalog.concat(d.stats_reset)
FROM pg_catalog.pg_stat_database d WHERE d.datname = pg_catalog.current_database()
-- name: sessions
-- A standby has no database. Of roles whose statistics aren't ours to read, there is no more than
-- process, role, program and database.
SELECT a.pid = pg_catalog.pg_backend_pid(), pg_catalog.concat(a.pid, ' ', a.backend_start),
  coalesce(a.usename, pg_catalog.concat('oid ', a.usesysid)), a.application_name,
  CASE WHEN a.client_addr IS NOT NULL THEN pg_catalog.host(a.client_addr)
    WHEN a.backend_start IS NOT NULL THEN 'local' END,
  (extract(epoch FROM a.backend_start) * 1000000)::bigint, r.pid IS NOT NULL,
  -- A session reports that it is there when its first transaction has ended.
  CASE WHEN coalesce(a.backend_type, 'client backend') = 'client backend' AND r.pid IS NULL
    THEN a.xact_start IS NULL OR a.xact_start - a.backend_start > '1 second' END
FROM pg_catalog.pg_stat_activity a LEFT JOIN pg_catalog.pg_stat_replication r ON r.pid = a.pid
WHERE a.usesysid IS NOT NULL
  AND (a.datname = pg_catalog.current_database() OR (a.datname IS NULL AND r.pid IS NOT NULL))
  AND coalesce(a.backend_type, '') <> ALL ('{parallel worker,logical replication worker,logical replication apply worker,logical replication tablesync worker,logical replication parallel worker}')
-- name: meta
SELECT key, value FROM indelible.meta
-- name: captured
SELECT relation, name, root, layout, seen, baseline FROM indelible.captured
-- name: put_meta
INSERT INTO indelible.meta (key, value) VALUES (%s, %s)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
-- name: put_layout
INSERT INTO indelible.layouts (number, layout) VALUES (%s, %s)
-- name: put_captured
INSERT INTO indelible.captured (relation, name, root, layout, seen, baseline)
VALUES (%s, %s, %s, %s, %s, NULL)
ON CONFLICT (relation) DO UPDATE SET name = excluded.name, root = excluded.root,
  layout = excluded.layout, seen = excluded.seen, baseline = NULL
-- name: put_baseline
UPDATE indelible.captured SET baseline = %s WHERE root = %s
-- name: forget_captured
DELETE FROM indelible.captured WHERE relation = ANY (%s)
-- name: seen
SELECT t.tgname || ':' || t.xmin FROM pg_catalog.pg_trigger t
WHERE t.tgrelid = %s AND NOT t.tgisinternal AND t.tgfoid IN (
  SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname = 'indelible')
UNION ALL
SELECT p.proname || ':' || p.xmin
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'indelible' AND p.proname = %s
UNION ALL
SELECT 'published:' || r.xmin || ':' || p.xmin
FROM pg_catalog.pg_publication_rel r
JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid AND p.pubname = 'indelible'
WHERE r.prrelid = %s
-- name: functions_open_to
SELECT p.oid::regprocedure::text, r.rolname
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(
  coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE n.nspname = 'indelible' AND p.proname = ANY (%s) AND a.grantee <> p.proowner
