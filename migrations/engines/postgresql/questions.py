"""What is asked of the catalogue besides the tables: whose a name is, who uses what, and who holds a lock."""

from __future__ import annotations

_HERE = """(SELECT coalesce((SELECT relnamespace FROM pg_class WHERE oid = to_regclass(quote_ident(%s))),
                            (SELECT oid FROM pg_namespace WHERE nspname = current_schema())))"""
TAKEN = f"SELECT relname FROM pg_class WHERE relname = ANY (%s::text[]) AND relnamespace = {_HERE} ORDER BY 1"
LOOKALIKES = f"""
SELECT relname FROM pg_class WHERE lower(relname) = %s AND relname <> %s AND relnamespace = {_HERE} ORDER BY 1"""
INDEX = """
SELECT i.oid::regclass::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
WHERE x.indrelid = to_regclass(quote_ident(%s)) AND i.relname = %s"""
GENERATED = """
SELECT attgenerated::text FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) AND attname = %s"""
UNVALIDATED_NOT_NULL = """
SELECT k.conname FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
WHERE k.conrelid = to_regclass(quote_ident(%s)) AND k.contype = 'n' AND NOT k.convalidated AND a.attname = %s"""
# A column of PostgreSQL 18, which to_jsonb may lack.
NOT_ENFORCED = """
SELECT conname FROM pg_constraint k WHERE conrelid = to_regclass(quote_ident(%s)) AND conname = %s
  AND to_jsonb(k) ->> 'conenforced' = 'false'"""
DEFERRABLE = """
SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(quote_ident(%s)) AND contype = 'f' AND condeferrable"""
SEQUENCE = "SELECT s FROM pg_get_serial_sequence(%s, %s) AS s WHERE s IS NOT NULL"
PRIMARY_KEY = """
SELECT k.conname, (SELECT min(f.conrelid::regclass::text) FROM pg_constraint f
                   WHERE f.contype = 'f' AND f.conindid = k.conindid)
FROM pg_constraint k WHERE k.conrelid = to_regclass(quote_ident(%s)) AND k.contype = 'p'"""
USERS = """
SELECT DISTINCT CASE WHEN r.oid IS NOT NULL THEN 'view ' || r.ev_class::regclass
                     WHEN g.oid IS NOT NULL THEN 'column ' || u.attname
                     ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END
FROM pg_depend d
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_attrdef g ON d.classid = 'pg_attrdef'::regclass AND g.oid = d.objid AND g.adnum <> a.attnum
LEFT JOIN pg_attribute u ON u.attrelid = g.adrelid AND u.attnum = g.adnum
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(quote_ident(%s)) AND a.attname = %s
  AND (g.oid IS NOT NULL OR d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass,
                                          'pg_proc'::regclass, 'pg_publication_rel'::regclass))
ORDER BY 1"""
REFERRING = """
SELECT DISTINCT k.conrelid::regclass::text FROM pg_constraint k
JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)
WHERE k.contype = 'f' AND k.confrelid = to_regclass(quote_ident(%s)) AND a.attname = %s
  AND k.conrelid <> ALL (SELECT coalesce(to_regclass(quote_ident(name)), 0) FROM unnest(%s::text[]) AS t (name))
ORDER BY 1"""
DEPENDENTS = """
SELECT 'view ' || r.ev_class::regclass FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND r.ev_class <> d.refobjid
  AND d.refobjid = to_regclass(quote_ident(%s))
UNION
SELECT 'table ' || c.oid::regclass FROM pg_class c
WHERE c.oid IN (SELECT conrelid FROM pg_constraint WHERE contype = 'f' AND confrelid = to_regclass(quote_ident(%s))
                UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(quote_ident(%s)))
  AND c.oid <> ALL (SELECT coalesce(to_regclass(quote_ident(name)), 0) FROM unnest(%s::text[]) AS t (name))
ORDER BY 1"""
# Of a partitioned table nobody keeps an estimate, but of its partitions.
ESTIMATE = """
SELECT sum(greatest(reltuples, 0)) FROM pg_class WHERE oid = to_regclass(quote_ident(%s)) AND relkind = 'r'
   OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass(quote_ident(%s))) WHERE isleaf)"""
HOLDERS = """
SELECT DISTINCT coalesce(c.relname, 'the lock of another run') || ' is held by process ' || l.pid
FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation
WHERE l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.relation IN (SELECT to_regclass(quote_ident(name)) FROM unnest(%s::text[]) AS t (name))
       OR l.locktype = 'advisory' AND l.objid = %s)
ORDER BY 1 LIMIT 5"""
BUILDING = """
SELECT phase, greatest(blocks_done, tuples_done), greatest(blocks_total, tuples_total)
FROM pg_stat_progress_create_index WHERE datname = current_database()
  AND relid IN (SELECT to_regclass(quote_ident(name)) FROM unnest(%s::text[]) AS t (name))"""
