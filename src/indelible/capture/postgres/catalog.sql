-- name: relations
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relispartition, c.relpersistence,
  pg_catalog.pg_get_userbyid(c.relowner),
  pg_catalog.pg_has_role(c.relowner, 'USAGE'),
  EXISTS (SELECT FROM pg_catalog.pg_depend d
          WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'),
  EXISTS (SELECT FROM pg_catalog.pg_subscription_rel s WHERE s.srrelid = c.oid),
  c.relreplident::text,
  (SELECT i.relname FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
   WHERE x.indrelid = c.oid AND x.indisreplident),
  EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indisprimary),
  EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p
          ON p.oid = r.prpubid AND p.pubname = 'indelible' WHERE r.prrelid = c.oid),
  -- Row filters and column lists came with PostgreSQL 15.
  (SELECT r.xmin || ':' || p.xmin FROM pg_catalog.pg_publication_rel r
   JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid AND p.pubname = 'indelible'
     AND p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND NOT p.pubviaroot
   WHERE r.prrelid = c.oid AND pg_catalog.to_jsonb(r) ->> 'prqual' IS NULL
     AND pg_catalog.to_jsonb(r) ->> 'prattrs' IS NULL)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'indelible', 'pg_toast')
ORDER BY c.oid
-- name: columns
SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.attnotnull, a.attgenerated <> '',
  pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
-- name: types
SELECT t.oid, n.nspname, t.typname, t.typtype, t.typbasetype, t.typelem, coalesce(e.typarray, 0)
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem
-- name: keys
SELECT i.indrelid, i.indkey::text, i.indisprimary, i.indisreplident
FROM pg_catalog.pg_index i
WHERE i.indrelid = ANY (%s) AND i.indisvalid AND i.indpred IS NULL
  AND (i.indisprimary OR i.indisreplident)
-- name: inherits
SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits
-- name: foreign_keys
SELECT conrelid, confrelid, conkey, confkey, confupdtype, confdeltype, condeferrable
FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conparentid = 0
-- name: triggers
SELECT t.tgrelid, t.oid, t.tgname, t.tgtype, t.tgenabled, t.tgfoid, t.xmin::text,
  n.nspname = 'indelible'
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE NOT t.tgisinternal
-- name: functions
SELECT p.oid, p.proname, p.prosrc, p.prosecdef, coalesce(p.proconfig, '{}'), p.xmin::text,
  pg_catalog.pg_has_role(p.proowner, 'USAGE'),
  NOT EXISTS (SELECT FROM pg_catalog.aclexplode(
                coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
              WHERE a.grantee <> p.proowner)
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'indelible'
-- name: open_to
SELECT DISTINCT c.relname, coalesce(r.rolname, 'PUBLIC')
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE n.nspname = 'indelible' AND a.grantee <> c.relowner
  AND (a.privilege_type <> ALL (%s) OR a.grantee = 0
    OR r.rolname = ANY (%s))
ORDER BY 1, 2
-- name: masters
SELECT r.rolname FROM pg_catalog.pg_roles r
WHERE r.rolname = ANY (%s)
  AND (r.rolsuper OR pg_catalog.pg_has_role(r.oid, (
    SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'indelible'), 'MEMBER')
    OR EXISTS (SELECT FROM indelible.captured t
      JOIN pg_catalog.pg_class c ON c.oid = t.relation
      WHERE pg_catalog.pg_has_role(r.oid, c.relowner, 'MEMBER')))
ORDER BY 1
-- name: fingerprint
SELECT pg_catalog.md5(pg_catalog.string_agg(f.part, ' ' ORDER BY f.part)) FROM (
  SELECT 't' || t.oid || ':' || t.xmin AS part FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal
  UNION ALL
  SELECT 'r' || c.oid || ':' || c.xmin FROM pg_catalog.pg_class c
  WHERE c.relkind IN ('r', 'p') AND c.relnamespace NOT IN (
    SELECT oid FROM pg_catalog.pg_namespace
    WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast') OR nspname LIKE 'pg\_temp%'
      OR nspname LIKE 'pg\_toast%')
  UNION ALL
  SELECT 'p' || p.oid || ':' || p.xmin FROM pg_catalog.pg_proc p
  WHERE p.pronamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'indelible')
  UNION ALL
  SELECT 'u' || r.oid || ':' || r.xmin FROM pg_catalog.pg_publication_rel r
  UNION ALL
  SELECT 'b' || p.oid || ':' || p.xmin FROM pg_catalog.pg_publication p
  UNION ALL
  SELECT 'i' || i.inhrelid || ':' || i.inhparent || ':' || i.xmin FROM pg_catalog.pg_inherits i
  UNION ALL
  SELECT 'a' || a.attrelid || ':' || a.attnum || ':' || a.xmin FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  WHERE a.attnum > 0 AND c.relkind IN ('r', 'p') AND a.attrelid >= 16384
  UNION ALL
  SELECT 'c' || c.oid || ':' || c.xmin FROM pg_catalog.pg_constraint c WHERE c.conrelid >= 16384
) f
-- name: views
SELECT c.oid, n.nspname, c.relname, ARRAY(
  SELECT DISTINCT d.refobjid::int8 FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> c.oid
  WHERE r.ev_class = c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'indelible')
ORDER BY c.oid
-- name: definitions
SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid), r.xmin::text,
  ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'
WHERE c.relkind = 'v' AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'indelible')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.mode = 'AccessExclusiveLock'
    AND (l.relation = c.oid OR l.relation IN (SELECT d.refobjid FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid)))
-- name: filtered
SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relrowsecurity
-- name: system_relations
SELECT c.relname FROM pg_catalog.pg_class c
WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v')
-- name: callable
SELECT p.proname, pg_catalog.array_agg(DISTINCT p.prokind::text), pg_catalog.bool_or(p.proretset),
  pg_catalog.bool_or(n.nspname <> 'pg_catalog'),
  pg_catalog.bool_and(n.nspname = 'pg_catalog' OR p.provolatile = 'i'),
  pg_catalog.bool_or(p.provolatile = 'v')
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
GROUP BY p.proname
-- name: session
SELECT pg_catalog.current_schemas(true)::pg_catalog.text[], current_user::pg_catalog.text, ARRAY(
  SELECT c.relname::pg_catalog.text FROM pg_catalog.pg_class c
  WHERE c.relnamespace = pg_catalog.pg_my_temp_schema())
