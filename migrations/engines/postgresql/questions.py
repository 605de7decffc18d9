"""What is asked of the catalogue besides the tables: whose a name is, who uses what, and who holds a lock."""

TAKEN = """
SELECT relname FROM pg_class WHERE relname = ANY (%s::text[]) AND relnamespace = coalesce(
    (SELECT relnamespace FROM pg_class WHERE oid = to_regclass(quote_ident(%s))),
    quote_ident(current_schema())::regnamespace) ORDER BY 1"""
LOOKALIKES = """
SELECT relname FROM pg_class WHERE lower(relname) = %s AND relname <> %s AND pg_table_is_visible(oid) ORDER BY 1"""
# An index, and what goes wrong without it: a published table takes no UPDATE any more.
INDEX = """
SELECT oid::regclass::text, CASE WHEN indisreplident THEN 'the REPLICA IDENTITY' ELSE
           (SELECT 'the foreign key of ' || min(f.conrelid::regclass::text) FROM pg_constraint f
            WHERE f.contype = 'f' AND f.conindid = indexrelid) END
FROM pg_index JOIN pg_class ON oid = indexrelid
WHERE indrelid = to_regclass(quote_ident(%s)) AND relname = %s"""
PRIMARY_KEY = """
SELECT k.conname, (SELECT min(f.conrelid::regclass::text) FROM pg_constraint f
                   WHERE f.contype = 'f' AND f.conindid = k.conindid)
FROM pg_constraint k WHERE k.conrelid = to_regclass(quote_ident(%s)) AND k.contype = 'p'"""
GENERATED = """
SELECT attgenerated::text FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) AND attname = %s"""
SEQUENCE = "SELECT s FROM pg_get_serial_sequence(%s, %s) AS s WHERE s IS NOT NULL"
UNVALIDATED_NOT_NULL = """
SELECT k.conname FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
WHERE k.conrelid = to_regclass(quote_ident(%s)) AND k.contype = 'n' AND NOT k.convalidated AND a.attname = %s"""
# A column of PostgreSQL 18, which to_jsonb may lack.
NOT_ENFORCED = """
SELECT conname FROM pg_constraint k WHERE conrelid = to_regclass(quote_ident(%s)) AND conname = %s
  AND to_jsonb(k) ->> 'conenforced' = 'false'"""
# What goes along, or is made anew, are a table's own things and those of the tables that are built with it.
_USERS = """
SELECT DISTINCT regexp_replace(pg_describe_object(d.classid, d.objid, d.objsubid),
                               '^(rule "?_RETURN"? on (materialized )?|default value for )', '')
FROM pg_depend d LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
     LEFT JOIN pg_class c ON c.oid = k.conrelid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(quote_ident(%s)) AND d.deptype = 'n'
  AND (c.relname = ANY (%s::text[]) AND pg_table_is_visible(c.oid)) IS NOT TRUE"""
USERS = f"""{_USERS}
  AND d.refobjsubid = (SELECT attnum FROM pg_attribute WHERE attrelid = d.refobjid AND attname = %s) ORDER BY 1"""
DEPENDENTS = f"""{_USERS}
  AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = d.classid AND o.objid = d.objid
                  AND o.refclassid = d.refclassid AND o.refobjid = d.refobjid AND o.deptype IN ('a', 'i')) ORDER BY 1"""
# Of a partitioned table nobody keeps an estimate, but of its partitions; the planner's would heed row-level security.
ESTIMATE = """
SELECT sum(greatest(reltuples, 0))::bigint FROM pg_class WHERE oid = to_regclass(quote_ident(%s)) AND relkind = 'r'
   OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass(quote_ident(%s))) WHERE isleaf)"""
HOLDERS = """
SELECT DISTINCT coalesce(c.relname, 'the lock of another run') || ' is held by '
           || coalesce('process ' || l.pid, 'a prepared transaction, see pg_prepared_xacts')
FROM pg_locks l JOIN pg_database d ON d.oid = l.database LEFT JOIN pg_class c ON c.oid = l.relation
WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND d.datname = current_database() AND (
    c.relname = ANY (%s::text[]) AND pg_table_is_visible(c.oid) OR l.locktype = 'advisory' AND l.objid = %s)
ORDER BY 1 LIMIT 5"""
AUTOVACUUM = """
SELECT extract(epoch FROM current_setting('deadlock_timeout')::interval)::float
FROM pg_locks l JOIN pg_database d ON d.oid = l.database JOIN pg_class c ON c.oid = l.relation
     JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND a.usesysid IS NULL AND d.datname = current_database()
  AND c.relname = ANY (%s::text[]) AND pg_table_is_visible(c.oid)"""
BUILDING = """
SELECT phase, greatest(blocks_done, tuples_done), greatest(blocks_total, tuples_total)
FROM pg_stat_progress_create_index p JOIN pg_class c ON c.oid = p.relid
WHERE datname = current_database() AND relname = ANY (%s::text[]) AND pg_table_is_visible(relid)"""
