"""The queries that the engine asks of PostgreSQL's catalog.

An unqualified name of a table is looked up as SQL itself does it, by the search path:
`to_regclass(quote_ident(name))`. Parameters are written `%s`.
"""

# -- tables

# Any number of tables in one query. Peewee's introspection reports neither that an
# index is INVALID nor that a constraint is NOT VALID, and takes a query per table and
# kind.
#
# Each list is an array of JSON arrays, whose parts have names in `catalog.py`.
# pg_get_expr locks the table whose expression it writes, and waits for that lock. So
# the settings of a run are passed with the query (parameters 1 and 2); outside of a
# transaction they end with it.
# A domain is compared as the type that it is made of.
# Since PostgreSQL 18, NOT NULL is a constraint of type `n`, and can be NOT VALID.
# pg_index.indnullsnotdistinct is a column of PostgreSQL 15; to_jsonb works without it.
# 100 is the collation "default", which a column has if none is named.
# A foreign key to a partitioned table has a copy for each partition, whose
# `conparentid` is a foreign key of the same table; the copies are left out.
TABLES = """
SELECT
    c.relname,
    concat(
        CASE
            WHEN c.relpersistence = 't' THEN 'temporary '
            WHEN c.relkind = 'p' THEN 'partitioned '
        END,
        (pg_identify_object('pg_class'::regclass, c.oid, 0)).type),
    CASE
        WHEN c.relispartition THEN 'partition'
        WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
        THEN 'child'
    END,
    (SELECT array_position(current_schemas(true), nspname)
     FROM pg_namespace n WHERE n.oid = c.relnamespace),
    ARRAY(
        SELECT json_build_array(
            a.attname,
            format_type(
                coalesce(y.typbasetype, a.atttypid),
                coalesce(y.typtypmod, a.atttypmod)),
            NOT a.attnotnull OR EXISTS (
                SELECT FROM pg_constraint k
                WHERE k.conrelid = c.oid AND k.contype = 'n'
                  AND k.conkey[1] = a.attnum AND NOT k.convalidated),
            pg_get_expr(d.adbin, d.adrelid),
            a.attidentity <> '',
            a.attgenerated <> '',
            CASE
                WHEN a.attcollation NOT IN (0, 100) THEN a.attcollation::regcollation
            END)::text
        FROM pg_attribute a
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_type y ON y.oid = a.atttypid AND y.typtype = 'd'
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum),
    ARRAY(
        SELECT json_build_array(
            i.relname,
            ARRAY(
                SELECT concat(
                    coalesce(a.attname, '(expression)'),
                    CASE
                        WHEN n.of NOT IN (0, a.attcollation)
                        THEN ' COLLATE ' || n.of::regcollation
                    END,
                    CASE WHEN NOT o.opcdefault THEN ' ' || o.opcname END,
                    CASE WHEN NOT x.indimmediate THEN ' DEFERRABLE' END,
                    CASE
                        WHEN NOT a.attnotnull
                             AND to_jsonb(x) ->> 'indnullsnotdistinct' = 'true'
                        THEN ' NULLS NOT DISTINCT'
                    END,
                    CASE WHEN m.amname <> 'btree' THEN ' USING ' || m.amname END,
                    CASE WHEN n.option & 1 = 1 THEN ' DESC' END)
                FROM unnest(x.indkey, x.indcollation, x.indclass, x.indoption)
                     WITH ORDINALITY AS n (key, of, class, option, i)
                JOIN pg_opclass o ON o.oid = n.class
                LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = n.key
                ORDER BY n.i),
            x.indisunique,
            x.indpred IS NOT NULL,
            x.indisvalid AND x.indisready,
            EXISTS (
                SELECT FROM pg_constraint k
                WHERE k.conrelid = c.oid AND k.conindid = i.oid AND k.contype = 'u'),
            x.indisprimary)::text
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_am m ON m.oid = i.relam
        WHERE x.indrelid = c.oid
        ORDER BY i.relname),
    ARRAY(
        SELECT json_build_array(
            ARRAY(
                SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY AS n (key, i)
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = n.key
                ORDER BY n.i),
            CASE
                WHEN pg_table_is_visible(p.oid) THEN p.relname::text
                ELSE p.oid::regclass::text
            END,
            ARRAY(
                SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY AS n (key, i)
                JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum = n.key
                ORDER BY n.i),
            k.confdeltype,
            k.confupdtype,
            k.conname,
            k.convalidated)::text
        FROM pg_constraint k
        JOIN pg_class p ON p.oid = k.confrelid
        WHERE k.conrelid = c.oid AND NOT EXISTS (
            SELECT FROM pg_constraint o
            WHERE o.oid = k.conparentid AND o.conrelid = c.oid)
        ORDER BY k.conname),
    ARRAY(
        SELECT json_build_array(
            k.conname, pg_get_expr(k.conbin, k.conrelid), k.convalidated)::text
        FROM pg_constraint k
        WHERE k.conrelid = c.oid AND k.contype = 'c'
        ORDER BY k.conname)
FROM (
    SELECT count(set_config(name, value, true))
    FROM unnest(%s::text[], %s::text[]) AS t (name, value)
    WHERE current_setting(name, true) IS NOT NULL) AS settings
CROSS JOIN unnest(%s::text[]) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))"""

# The numbers of the transactions that wrote the catalog rows which TABLES reads; no two
# transactions of a server share a number. It does not change if a collation, an
# operator class or a function is renamed.
FINGERPRINT = """
SELECT
    pg_postmaster_start_time()::text,
    t.name,
    c.oid,
    c.xmin::text,
    (SELECT array_position(current_schemas(true), nspname)
     FROM pg_namespace n WHERE n.oid = c.relnamespace),
    (SELECT string_agg(
         concat(
             a.xmin,
             CASE WHEN a.atttypid >= 16384 THEN format_type(a.atttypid, NULL) END),
         ',')
     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
    (SELECT string_agg(d.xmin::text, ',') FROM pg_attrdef d WHERE d.adrelid = c.oid),
    (SELECT string_agg(concat(x.xmin, '/', i.xmin), ',')
     FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
     WHERE x.indrelid = c.oid),
    (SELECT string_agg(
         concat(k.xmin, CASE WHEN k.contype = 'f' THEN k.confrelid::regclass END), ',')
     FROM pg_constraint k WHERE k.conrelid = c.oid)
FROM unnest(%s::text[]) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))"""

# Another run may have created the table itself in the meantime.
CASE_VARIANTS = """
SELECT relname FROM pg_class
WHERE lower(relname) = %s AND relname <> %s AND pg_table_is_visible(oid)
ORDER BY 1"""

# Of a partitioned table it is the sum of its partitions, as autovacuum never sets its
# own estimate. EXPLAIN would estimate the rows that row-level security leaves visible.
ESTIMATED_ROWS = """
SELECT sum(greatest(reltuples, 0))::bigint FROM pg_class
WHERE oid = to_regclass(quote_ident(%s)) AND relkind = 'r'
   OR oid IN (
       SELECT relid FROM pg_partition_tree(to_regclass(quote_ident(%s)))
       WHERE isleaf)"""

# Which of some names are taken in the schema of a table; or, if that is NULL, in the
# one in which tables are created.
TAKEN_NAMES = """
SELECT relname FROM pg_class
WHERE relname = ANY (%s::text[]) AND relnamespace = coalesce(
    (SELECT relnamespace FROM pg_class WHERE oid = to_regclass(quote_ident(%s))),
    quote_ident(current_schema())::regnamespace)
ORDER BY 1"""

# A type that a new table cannot share its name with; the type of an array gives way.
TYPE_WITH_NAME = """
SELECT format_type(oid, NULL) FROM pg_type
WHERE typname = %s AND typnamespace = quote_ident(current_schema())::regnamespace
  AND typcategory <> 'A'"""
# The definition of a table's constraint.
CONSTRAINT = """
SELECT pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = to_regclass(quote_ident(%s)) AND conname = %s"""

# -- what depends on a table or a column

# Without what belongs to the table (pg_depend.deptype 'a' and 'i'), and without the
# constraints of the managed tables, which are dropped or recreated with it.
_DEPENDENTS = """
SELECT DISTINCT regexp_replace(
    pg_describe_object(d.classid, d.objid, d.objsubid),
    '^(rule "?_RETURN"? on (materialized )?|default value for )', '')
FROM pg_depend d
LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
LEFT JOIN pg_class c ON c.oid = k.conrelid
WHERE d.refclassid = 'pg_class'::regclass
  AND d.refobjid = to_regclass(quote_ident(%s))
  AND d.deptype = 'n'
  AND (c.relname = ANY (%s::text[]) AND pg_table_is_visible(c.oid)) IS NOT TRUE"""
DEPENDENTS_OF_COLUMN = f"""{_DEPENDENTS}
  AND d.refobjsubid = (
      SELECT attnum FROM pg_attribute WHERE attrelid = d.refobjid AND attname = %s)
ORDER BY 1"""
DEPENDENTS_OF_TABLE = f"""{_DEPENDENTS}
  AND NOT EXISTS (
      SELECT FROM pg_depend o
      WHERE o.classid = d.classid AND o.objid = d.objid
        AND o.refclassid = d.refclassid AND o.refobjid = d.refobjid
        AND o.deptype IN ('a', 'i'))
ORDER BY 1"""

# -- details that only a change needs

# An index by its qualified name, and what would break without it: a published table
# without its REPLICA IDENTITY accepts no UPDATE and DELETE any more.
INDEX = """
SELECT
    oid::regclass::text,
    CASE
        WHEN indisreplident THEN 'the REPLICA IDENTITY'
        ELSE (
            SELECT 'the foreign key of ' || min(f.conrelid::regclass::text)
            FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = indexrelid)
    END
FROM pg_index JOIN pg_class ON oid = indexrelid
WHERE indrelid = to_regclass(quote_ident(%s)) AND relname = %s"""
# The name of a table's primary key, and a table with a foreign key that needs it.
PRIMARY_KEY = """
SELECT
    k.conname,
    (SELECT min(f.conrelid::regclass::text) FROM pg_constraint f
     WHERE f.contype = 'f' AND f.conindid = k.conindid)
FROM pg_constraint k
WHERE k.conrelid = to_regclass(quote_ident(%s)) AND k.contype = 'p'"""
# The domain of a column, if it or one that it is made of restricts its values or gives
# them a DEFAULT.
DOMAIN = """
WITH RECURSIVE t (oid, base) AS (
    SELECT atttypid, atttypid FROM pg_attribute
    WHERE attrelid = to_regclass(quote_ident(%s)) AND attname = %s
    UNION ALL
    SELECT t.oid, typbasetype FROM t JOIN pg_type y ON y.oid = t.base
    WHERE typtype = 'd')
SELECT format_type(t.oid, NULL) FROM t JOIN pg_type y ON y.oid = t.base
WHERE typtype = 'd' AND (
    typnotnull OR typdefault IS NOT NULL
    OR EXISTS (SELECT FROM pg_constraint WHERE contypid = y.oid))
LIMIT 1"""
KIND_OF_GENERATED_COLUMN = """
SELECT attgenerated::text FROM pg_attribute
WHERE attrelid = to_regclass(quote_ident(%s)) AND attname = %s"""
SEQUENCE = "SELECT s FROM pg_get_serial_sequence(%s, %s) AS s WHERE s IS NOT NULL"
UNVALIDATED_NOT_NULL = """
SELECT k.conname FROM pg_constraint k
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
WHERE k.conrelid = to_regclass(quote_ident(%s)) AND k.contype = 'n'
  AND NOT k.convalidated AND a.attname = %s"""
# conenforced is a column of PostgreSQL 18; to_jsonb works without it, too.
NOT_ENFORCED = """
SELECT conname FROM pg_constraint k
WHERE conrelid = to_regclass(quote_ident(%s)) AND conname = %s
  AND to_jsonb(k) ->> 'conenforced' = 'false'"""

# -- who does what at this moment

LOCK_HOLDERS = """
SELECT DISTINCT
    coalesce(c.relname, 'the lock of another run') || ' is held by '
    || coalesce('process ' || l.pid, 'a prepared transaction, see pg_prepared_xacts')
FROM pg_locks l
JOIN pg_database d ON d.oid = l.database
LEFT JOIN pg_class c ON c.oid = l.relation
WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND d.datname = current_database()
  AND (c.relname = ANY (%s::text[]) AND pg_table_is_visible(c.oid)
       OR l.locktype = 'advisory' AND l.objid = %s)
ORDER BY 1 LIMIT 5"""
# For each lock that an autovacuum holds on some tables: deadlock_timeout in seconds.
AUTOVACUUM_LOCKS = """
SELECT extract(epoch FROM current_setting('deadlock_timeout')::interval)::float
FROM pg_locks l
JOIN pg_database d ON d.oid = l.database
JOIN pg_class c ON c.oid = l.relation
JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND a.usesysid IS NULL AND d.datname = current_database()
  AND c.relname = ANY (%s::text[]) AND pg_table_is_visible(c.oid)"""
INDEXES_BEING_BUILT = """
SELECT phase, greatest(blocks_done, tuples_done), greatest(blocks_total, tuples_total)
FROM pg_stat_progress_create_index p
JOIN pg_class c ON c.oid = p.relid
WHERE datname = current_database() AND relname = ANY (%s::text[])
  AND pg_table_is_visible(relid)"""

# -- the smoke test

# The columns of a table, each with its type, the CHECK constraints of its domain, and
# texts that may be values: the labels of an enum, "(,,)" for a row type, and always an
# aclitem of this user. A domain is followed to the types that it is made of.
COLUMN_TYPES = """
WITH RECURSIVE t (name, text, oid) AS (
    SELECT attname, format_type(atttypid, atttypmod), atttypid FROM pg_attribute
    WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT name, text, typbasetype FROM t JOIN pg_type y ON y.oid = t.oid
    WHERE typtype = 'd')
SELECT
    t.name,
    t.text,
    ARRAY(
        SELECT pg_get_constraintdef(c.oid)
        FROM t d JOIN pg_constraint c ON c.contypid = d.oid
        WHERE d.name = t.name),
    ARRAY(
        SELECT enumlabel::text FROM t d JOIN pg_enum ON enumtypid = d.oid
        WHERE d.name = t.name
        ORDER BY enumsortorder)
    || ARRAY(
        SELECT '(' || repeat(',', relnatts - 1) || ')' FROM pg_class
        WHERE oid = max(typrelid))
    || format('=r/%%I', current_user)
FROM t JOIN pg_type y ON y.oid = t.oid
GROUP BY t.name, t.text"""
TABLES_WITH_ROW_SECURITY = """
SELECT name FROM unnest(%s::text[]) AS t (name)
WHERE row_security_active(to_regclass(quote_ident(name)))"""
# Tables of more than 64 KiB that refer to a table by columns without an index.
TABLES_SCANNED_ON_DELETE = """
SELECT DISTINCT k.conrelid::regclass::text FROM pg_constraint k
WHERE k.contype = 'f' AND k.confrelid = to_regclass(quote_ident(%s))
  AND pg_relation_size(k.conrelid) > 65536
  AND NOT EXISTS (
      SELECT FROM pg_index x
      WHERE x.indrelid = k.conrelid AND x.indisvalid AND x.indpred IS NULL
        AND x.indkey[0] = ANY (k.conkey))"""
