"""The queries that the engine asks of PostgreSQL's catalog.

An unqualified name of a table is looked up as SQL itself does it, by the search path:
`to_regclass(quote_ident(name))`. Parameters are written `%s`.
"""

# -- tables

# Any number of tables in one query. Peewee's introspection reports neither that an
# index is INVALID nor that a constraint is NOT VALID, and takes a query per table and
# kind.
#
# Each list is an array of JSON objects, which `catalog.py` reads by name.
# pg_get_expr locks the table whose expression it writes, and waits for that lock. So
# the settings of a run (parameters 1 and 2: names, values) are set by the subquery
# `settings`, until the transaction ends. The SELECT list, where pg_get_expr is, is
# computed for a row of the join, so after that subquery.
# A domain is compared as the type that it is made of.
# Since PostgreSQL 18, NOT NULL is a constraint of type `n`, and can be NOT VALID.
# pg_index.indnullsnotdistinct is a column of PostgreSQL 15; to_jsonb works without it.
# 100 is the collation "default", which a column has if none is named.
# The lowest bit of a part of pg_index.indoption is DESC. indclass has none for a column
# that an index INCLUDEs, so the JOIN with pg_opclass leaves that out.
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
        SELECT json_build_object(
            'name', a.attname,
            'type', format_type(
                coalesce(domain.typbasetype, a.atttypid),
                coalesce(domain.typtypmod, a.atttypmod)),
            'null', NOT a.attnotnull OR EXISTS (
                SELECT FROM pg_constraint k
                WHERE k.conrelid = c.oid AND k.contype = 'n'
                  AND k.conkey[1] = a.attnum AND NOT k.convalidated),
            'default', pg_get_expr(d.adbin, d.adrelid),
            'is_identity', a.attidentity <> '',
            'generated', a.attgenerated <> '',
            'collation', CASE
                WHEN a.attcollation NOT IN (0, 100) THEN a.attcollation::regcollation
            END)::text
        FROM pg_attribute a
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_type domain ON domain.oid = a.atttypid AND domain.typtype = 'd'
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum),
    ARRAY(
        SELECT json_build_object(
            'name', i.relname,
            'columns', ARRAY(
                SELECT concat(
                    coalesce(
                        a.attname,
                        '(' || pg_get_indexdef(i.oid, part.position::int, true)
                        || ')'),
                    CASE
                        WHEN part.collation_oid NOT IN (0, a.attcollation)
                        THEN ' COLLATE ' || part.collation_oid::regcollation
                    END,
                    CASE WHEN NOT opclass.opcdefault THEN ' ' || opclass.opcname END,
                    CASE WHEN NOT x.indimmediate THEN ' DEFERRABLE' END,
                    CASE
                        WHEN to_jsonb(x) ->> 'indnullsnotdistinct' = 'true'
                        THEN ' NULLS NOT DISTINCT'
                    END,
                    CASE
                        WHEN method.amname <> 'btree' THEN ' USING ' || method.amname
                    END,
                    CASE WHEN part.option & 1 = 1 THEN ' DESC' END)
                FROM unnest(x.indkey, x.indcollation, x.indclass, x.indoption)
                     WITH ORDINALITY
                     AS part (attnum, collation_oid, opclass_oid, option, position)
                JOIN pg_opclass opclass ON opclass.oid = part.opclass_oid
                LEFT JOIN pg_attribute a
                     ON a.attrelid = c.oid AND a.attnum = part.attnum
                ORDER BY part.position),
            'unique', x.indisunique,
            'condition', pg_get_expr(x.indpred, x.indrelid),
            'definition', CASE
                WHEN x.indpred IS NOT NULL OR x.indexprs IS NOT NULL
                     OR method.amname <> 'btree' OR x.indnatts <> x.indnkeyatts
                     OR to_jsonb(x) ->> 'indnullsnotdistinct' = 'true'
                     OR EXISTS (
                         SELECT FROM unnest(
                             x.indkey, x.indcollation, x.indclass, x.indoption)
                             AS part (attnum, collation_oid, opclass_oid, option)
                         JOIN pg_opclass opclass ON opclass.oid = part.opclass_oid
                         LEFT JOIN pg_attribute a
                              ON a.attrelid = c.oid AND a.attnum = part.attnum
                         WHERE part.option <> 0 OR NOT opclass.opcdefault
                            OR part.collation_oid NOT IN (0, a.attcollation))
                THEN pg_get_indexdef(i.oid)
            END,
            'valid', x.indisvalid AND x.indisready,
            'is_constraint', EXISTS (
                SELECT FROM pg_constraint k
                WHERE k.conrelid = c.oid AND k.conindid = i.oid AND k.contype = 'u'),
            'primary', x.indisprimary)::text
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_am method ON method.oid = i.relam
        WHERE x.indrelid = c.oid
        ORDER BY i.relname),
    ARRAY(
        SELECT json_build_object(
            'columns', ARRAY(
                SELECT a.attname
                FROM unnest(k.conkey) WITH ORDINALITY AS part (attnum, position)
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = part.attnum
                ORDER BY part.position),
            'parent', CASE
                WHEN pg_table_is_visible(parent.oid) THEN parent.relname::text
                ELSE parent.oid::regclass::text
            END,
            'parent_columns', ARRAY(
                SELECT a.attname
                FROM unnest(k.confkey) WITH ORDINALITY AS part (attnum, position)
                JOIN pg_attribute a
                     ON a.attrelid = parent.oid AND a.attnum = part.attnum
                ORDER BY part.position),
            'on_delete', k.confdeltype,
            'on_update', k.confupdtype,
            'name', k.conname,
            'deferrable', concat(
                CASE WHEN k.condeferrable THEN 'DEFERRABLE' END,
                CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' END),
            'valid', k.convalidated)::text
        FROM pg_constraint k
        JOIN pg_class parent ON parent.oid = k.confrelid
        WHERE k.conrelid = c.oid AND NOT EXISTS (
            SELECT FROM pg_constraint copied
            WHERE copied.oid = k.conparentid AND copied.conrelid = c.oid)
        ORDER BY k.conname),
    ARRAY(
        SELECT json_build_object(
            'name', k.conname,
            'condition', pg_get_expr(k.conbin, k.conrelid),
            'valid', k.convalidated)::text
        FROM pg_constraint k
        WHERE k.conrelid = c.oid AND k.contype = 'c'
        ORDER BY k.conname)
FROM (
    SELECT count(set_config(name, value, true))
    FROM unnest(%s::text[], %s::text[]) AS t (name, value)
    WHERE current_setting(name, true) IS NOT NULL) AS settings
CROSS JOIN unnest(%s::text[]) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))"""

# The schema in which the search path finds each of some tables.
SCHEMAS_OF_TABLES = """
SELECT t.name, n.nspname
FROM unnest(%s::text[]) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name))
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_'"""

# The sequences that may give a column `a` of a table `c` its values, each as `q`: its
# own, and those in its DEFAULT, if that is nextval() and nothing else.
_SEQUENCE_OF_COLUMN = """
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN LATERAL (
    SELECT d.objid, NULL::pg_node_tree FROM pg_depend d
    WHERE a.attidentity <> '' AND d.classid = 'pg_class'::regclass
      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
      AND d.refobjsubid = a.attnum AND d.deptype = 'i'
    UNION ALL
    SELECT d.refobjid, e.adbin FROM pg_attrdef e
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid
    WHERE e.adrelid = c.oid AND e.adnum = a.attnum
      AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid
    ) AS source (oid, expression) ON true
JOIN pg_sequence q ON q.seqrelid = source.oid"""
_IS_NEXTVAL = """coalesce(
        pg_get_expr(source.expression, c.oid)
            ~ '^[(]*nextval[(]''[^'']*''::regclass[)][)]*(::[a-z ]+)?[)]*$',
        true)"""
# The columns whose next value exists already, or is lower than one that does: each with
# its table. The highest value is looked up in an index. It is asked for by
# query_to_xml, as only so a query can be put together by a query: where the user lacks
# a right, or there is no index, nothing is asked. The settings of a run are set as in
# TABLES.
IDS_BEHIND = f"""
SELECT c.relname, a.attname
FROM (
    SELECT count(set_config(name, value, true))
    FROM unnest(%s::text[], %s::text[]) AS t (name, value)
    WHERE current_setting(name, true) IS NOT NULL) AS settings (number)
CROSS JOIN unnest(%s::text[]) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(t.name)) AND c.relkind = 'r'
{_SEQUENCE_OF_COLUMN}
WHERE q.seqincrement > 0 AND CASE
    WHEN settings.number >= 0  -- they are made before anything is locked
         AND {_IS_NEXTVAL}
         -- A text may have numbers for its DEFAULT, too.
         AND (SELECT coalesce(nullif(typbasetype, 0), oid) FROM pg_type
              WHERE oid = a.atttypid)
             = ANY ('{{smallint,integer,bigint,numeric}}'::regtype[])
         AND has_column_privilege(c.oid, a.attnum, 'SELECT')
         AND has_sequence_privilege(q.seqrelid, 'SELECT')
         AND EXISTS (
             SELECT FROM pg_index x
             WHERE x.indrelid = c.oid AND x.indkey[0] = a.attnum
               AND x.indisvalid AND x.indpred IS NULL)
    THEN query_to_xml(
        format(
            'SELECT true AS behind FROM %%s, (SELECT max(%%I) FROM %%s) AS t (highest) '
            'WHERE highest < %%s AND '
            'highest >= CASE WHEN is_called THEN last_value + %%s ELSE last_value END',
            q.seqrelid::regclass, a.attname, c.oid::regclass, q.seqmax,
            q.seqincrement),
        false, true, '')::text LIKE '%%behind%%'
    END"""
# The sequence that a column takes its values from, and its increment.
SEQUENCE_OF_IDS = f"""
SELECT q.seqrelid::regclass::text, q.seqincrement
FROM pg_class c
{_SEQUENCE_OF_COLUMN}
WHERE c.oid = to_regclass(quote_ident(%s)) AND a.attname = %s AND {_IS_NEXTVAL}"""

# Another run may have created the table itself in the meantime.
CASE_VARIANTS = """
SELECT relname FROM pg_class
WHERE lower(relname) = lower(%s) AND relname <> %s AND pg_table_is_visible(oid)
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

# A type whose name a new table cannot have. PostgreSQL renames an array type if needed.
TYPE_WITH_NAME = """
SELECT format_type(oid, NULL) FROM pg_type
WHERE typname = %s AND typnamespace = quote_ident(current_schema())::regnamespace
  AND typcategory <> 'A'"""
# The definition of a table's constraint.
CONSTRAINT = """
SELECT pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = to_regclass(quote_ident(%s)) AND conname = %s"""

# The EXCLUDE constraints of a table, and the keys WITHOUT OVERLAPS of PostgreSQL 18:
# what of two rows each compares, and how.
EXCLUSIONS = """
SELECT
    k.conname,
    ARRAY(
        SELECT concat(
            coalesce(
                quote_ident(a.attname),
                '(' || pg_get_indexdef(k.conindid, part.position::int, true) || ')'),
            CASE
                WHEN part.collation_oid NOT IN (0, a.attcollation)
                THEN ' COLLATE ' || part.collation_oid::regcollation
            END)
        FROM unnest(x.indkey, x.indcollation, k.conexclop) WITH ORDINALITY
             AS part (attnum, collation_oid, operator_oid, position)
        LEFT JOIN pg_attribute a
             ON a.attrelid = k.conrelid AND a.attnum = part.attnum
        WHERE part.operator_oid IS NOT NULL
        ORDER BY part.position),
    ARRAY(
        SELECT CASE
            WHEN n.nspname = 'pg_catalog' AND o.oprname = '=' THEN '='
            ELSE format('OPERATOR(%%I.%%s)', n.nspname, o.oprname)
        END
        FROM unnest(k.conexclop) WITH ORDINALITY AS part (operator_oid, position)
        JOIN pg_operator o ON o.oid = part.operator_oid
        JOIN pg_namespace n ON n.oid = o.oprnamespace
        ORDER BY part.position),
    pg_get_expr(x.indpred, x.indrelid)
FROM pg_constraint k
JOIN pg_index x ON x.indexrelid = k.conindid
WHERE k.conrelid = to_regclass(quote_ident(%s)) AND k.conexclop IS NOT NULL
ORDER BY k.conname"""

# Of a type: the one that it is made of if it is a domain, and whether it is built in.
# 16384 is the first number of what is not.
DETAILS_OF_TYPE = """
SELECT
    CASE WHEN typtype = 'd' THEN format_type(typbasetype, typtypmod) END,
    oid < 16384
FROM pg_type WHERE oid = to_regtype(%s)"""

# -- what depends on a table or a column

# What is dropped together with an object: what pg_depend has as a part of it ('i', 'P',
# 'S'), or as of no use without it ('a'). DROP refuses if anything else depends on one
# of these ('n'). The constraints of the managed tables are left out, as they are
# dropped or recreated with it.
_OBJECT_WITH_PARTS = """
WITH RECURSIVE part (classid, objid) AS (
    {object}
    UNION
    SELECT d.classid, d.objid
    FROM part
    JOIN pg_depend d ON d.refclassid = part.classid AND d.refobjid = part.objid
    WHERE d.deptype IN ('a', 'i', 'P', 'S'))"""
_DESCRIBED = """
SELECT DISTINCT regexp_replace(
    pg_describe_object(d.classid, d.objid, d.objsubid),
    '^(rule "?_RETURN"? on (materialized )?|default value for )', '')
FROM {source}
LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
LEFT JOIN pg_class c ON c.oid = k.conrelid
WHERE d.deptype = 'n'
  AND (c.relname = ANY (%s::text[]) AND pg_table_is_visible(c.oid)) IS NOT TRUE"""
_DEPENDENTS_OF_PARTS = _DESCRIBED.format(
    source="""part
JOIN pg_depend d ON d.refclassid = part.classid AND d.refobjid = part.objid"""
)
_IS_NO_PART = """
  AND NOT EXISTS (
      SELECT FROM part AS p WHERE p.classid = d.classid AND p.objid = d.objid)
ORDER BY 1"""
_TABLE = "SELECT 'pg_class'::regclass::oid, to_regclass(quote_ident(%s))::oid"
_PRIMARY_KEY = """SELECT 'pg_constraint'::regclass::oid, oid FROM pg_constraint
    WHERE conrelid = to_regclass(quote_ident(%s)) AND contype = 'p'"""
DEPENDENTS_OF_TABLE = (
    _OBJECT_WITH_PARTS.format(object=_TABLE) + _DEPENDENTS_OF_PARTS + _IS_NO_PART
)
DEPENDENTS_OF_PRIMARY_KEY = (
    _OBJECT_WITH_PARTS.format(object=_PRIMARY_KEY) + _DEPENDENTS_OF_PARTS + _IS_NO_PART
)
# A table, and those that inherit from it: a change of its columns is one of theirs.
_WITH_HEIRS = """
    WITH RECURSIVE heir (oid) AS (
        SELECT to_regclass(quote_ident(%s))::oid
        UNION
        SELECT inhrelid FROM heir JOIN pg_inherits ON inhparent = heir.oid)
    SELECT oid FROM heir"""
DEPENDENTS_OF_COLUMN = f"""{_DESCRIBED.format(source="pg_depend d")}
  AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid IN ({_WITH_HEIRS})
  AND d.refobjsubid = (
      SELECT attnum FROM pg_attribute WHERE attrelid = d.refobjid AND attname = %s)
ORDER BY 1"""
# The columns of a table except some of them, as they are described.
OTHER_COLUMNS = """
SELECT pg_describe_object('pg_class'::regclass, attrelid, attnum) FROM pg_attribute
WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0
  AND attname <> ALL (%s::text[])"""
# Functions whose text has a word, or two of them: a text does not follow a rename.
FUNCTIONS_THAT_NAME = """
SELECT p.oid::regprocedure::text FROM pg_proc p
WHERE p.prosrc ~* %s AND p.pronamespace <> 'pg_catalog'::regnamespace
  AND p.pronamespace <> 'information_schema'::regnamespace
ORDER BY 1"""
FUNCTIONS_THAT_NAME_BOTH = FUNCTIONS_THAT_NAME.replace(
    "p.prosrc ~* %s", "p.prosrc ~* %s AND p.prosrc ~* %s"
)
# The triggers of a table whose functions have a word in their texts.
TRIGGERS_THAT_NAME = """
SELECT g.tgname, p.oid::regprocedure::text
FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
WHERE g.tgrelid = to_regclass(quote_ident(%s)) AND NOT g.tgisinternal
  AND p.prosrc ~* %s
ORDER BY 1"""
# The columns that hold rows of a table as values: its row type, or an array, a domain
# or another row type that is made of it. A table whose rows are written again must have
# none. A search in pg_attribute would read all of it: no index begins with a type.
USES_OF_ROW_TYPE = f"""
WITH RECURSIVE t (oid) AS (
    SELECT reltype FROM pg_class WHERE oid IN ({_WITH_HEIRS})
    UNION
    SELECT coalesce(c.reltype, d.objid)
    FROM t
    JOIN pg_depend d
    ON d.refclassid = 'pg_type'::regclass AND d.refobjid = t.oid
    LEFT JOIN pg_class c
    ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
        AND c.relkind NOT IN ('r', 'm', 'p')
    WHERE d.classid = 'pg_type'::regclass OR c.oid IS NOT NULL)
SELECT pg_describe_object('pg_class'::regclass, c.oid, d.objsubid)
FROM t
JOIN pg_depend d
ON d.refclassid = 'pg_type'::regclass AND d.refobjid = t.oid
    AND d.classid = 'pg_class'::regclass AND d.objsubid > 0
JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'm', 'p')
ORDER BY 1"""

# -- details that only a change needs

# An index by its qualified name, and what would break without it: a published table
# without its REPLICA IDENTITY accepts no UPDATE and DELETE any more.
INDEX = """
WITH dropped AS (
    SELECT to_regclass(quote_ident(t)) AS conrelid, name
    FROM unnest(%s::text[], %s::text[]) AS d (t, name))
SELECT
    oid::regclass::text,
    CASE
        WHEN indisreplident THEN 'the REPLICA IDENTITY'
        ELSE (
            SELECT 'the foreign key of ' || min(f.conrelid::regclass::text)
            FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = indexrelid
            AND (f.conrelid, f.conname) NOT IN (SELECT conrelid, name FROM dropped))
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
# What of a constraint a model does not say: its definition, when it is checked, and its
# comment.
CONSTRAINT_DETAILS = """
SELECT
    pg_get_constraintdef(oid),
    concat(
        CASE WHEN condeferrable THEN ' DEFERRABLE' END,
        CASE WHEN condeferred THEN ' INITIALLY DEFERRED' END),
    obj_description(oid, 'pg_constraint')
FROM pg_constraint WHERE conrelid = to_regclass(quote_ident(%s)) AND conname = %s"""
# What of an index a model does not say: its storage parameters and tablespace, as
# CREATE INDEX has them, and its comment.
INDEX_DETAILS = """
SELECT
    concat(
        ' WITH (' || array_to_string(i.reloptions, ', ') || ')',
        ' TABLESPACE ' || quote_ident(s.spcname)),
    obj_description(i.oid, 'pg_class')
FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
LEFT JOIN pg_tablespace s ON s.oid = i.reltablespace
WHERE x.indrelid = to_regclass(quote_ident(%s)) AND i.relname = %s"""
# The clauses that say how a column is stored, if that was set for it. attcompression is
# a column of PostgreSQL 14; to_jsonb works without it.
STORAGE = """
SELECT clause
FROM pg_attribute a
JOIN pg_type y ON y.oid = a.atttypid
CROSS JOIN LATERAL (VALUES
    (CASE WHEN a.attstorage <> y.typstorage THEN 'SET STORAGE ' || CASE attstorage
        WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN'
        ELSE 'EXTENDED' END END),
    (CASE to_jsonb(a) ->> 'attcompression'
        WHEN 'p' THEN 'SET COMPRESSION pglz'
        WHEN 'l' THEN 'SET COMPRESSION lz4' END)
    ) AS clauses (clause)
WHERE a.attrelid = to_regclass(quote_ident(%s)) AND a.attname = %s
  AND clause IS NOT NULL"""
# Statements that set again what ALTER TYPE forgets of a column: the targets of extended
# statistics and of indexes on expressions.
STATISTICS_TARGETS = """
WITH dependent AS (
    SELECT DISTINCT d.classid, d.objid
    FROM pg_depend d
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.refclassid = 'pg_class'::regclass
      AND d.refobjid = to_regclass(quote_ident(%s)) AND a.attname = %s)
SELECT format(
    'ALTER STATISTICS %%I.%%I SET STATISTICS %%s', n.nspname, s.stxname, target)
FROM dependent
JOIN pg_statistic_ext s ON s.oid = objid
JOIN pg_namespace n ON n.oid = s.stxnamespace
CROSS JOIN LATERAL (SELECT (to_jsonb(s) ->> 'stxstattarget')::integer) AS t (target)
WHERE classid = 'pg_statistic_ext'::regclass AND target >= 0
UNION ALL
SELECT format(
    'ALTER INDEX %%s ALTER COLUMN %%s SET STATISTICS %%s',
    i.attrelid::regclass, i.attnum, i.attstattarget)
FROM dependent
JOIN pg_attribute i ON i.attrelid = objid
WHERE classid = 'pg_class'::regclass AND i.attstattarget >= 0
  AND EXISTS (SELECT FROM pg_index WHERE indexrelid = i.attrelid)
ORDER BY 1"""
KIND_OF_GENERATED_COLUMN = """
SELECT attgenerated::text FROM pg_attribute
WHERE attrelid = to_regclass(quote_ident(%s)) AND attname = %s"""
# Of two tables, the second one if the first one may not refer to it: what is permanent
# refers only to what is permanent. The first one may not exist yet.
LESS_PERMANENT = """
SELECT parent.oid::regclass::text FROM pg_class parent
LEFT JOIN pg_class child ON child.oid = to_regclass(quote_ident(%s))
WHERE parent.oid = to_regclass(quote_ident(%s)) AND parent.relpersistence <> 'p'
  AND coalesce(child.relpersistence, 'p') = 'p'"""
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

# -- the rehearsal

# Statements that make empty copies of some tables (parameter 1), as temporary ones: the
# tables, their unique keys and indexes under their own names, which of those is their
# REPLICA IDENTITY, and the foreign keys of those that change (parameter 2). A foreign
# key to a table that the search path hides has a CHECK in its place, which has its
# name.
# pg_get_indexdef always writes the schema of the table.
COPIES_OF_TABLES = """
WITH t AS (
    SELECT
        c.oid,
        c.relname,
        format('%%I.%%I', n.nspname, c.relname) AS source,
        format('pg_temp.%%I', c.relname) AS copy
    FROM unnest(%s::text[]) AS names (name)
    JOIN pg_class c ON c.oid = to_regclass(quote_ident(names.name))
    JOIN pg_namespace n ON n.oid = c.relnamespace)
SELECT sql FROM (
    SELECT
        1,
        relname,
        format('CREATE TABLE %%s (LIKE %%s INCLUDING ALL EXCLUDING INDEXES)',
               copy, source)
    FROM t
    UNION ALL
    SELECT
        2,
        k.conname,
        format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s',
               copy, k.conname, pg_get_constraintdef(k.oid))
    FROM t JOIN pg_constraint k ON k.conrelid = t.oid
    WHERE k.contype IN ('p', 'u', 'x')
    UNION ALL
    SELECT
        3,
        i.relname,
        replace(
            replace(pg_get_indexdef(i.oid), ' ON ONLY ', ' ON '),
            format(' ON %%s USING ', source), format(' ON %%s USING ', copy))
    FROM t
    JOIN pg_index x ON x.indrelid = t.oid
    JOIN pg_class i ON i.oid = x.indexrelid
    WHERE NOT EXISTS (
        SELECT FROM pg_constraint k WHERE k.conrelid = t.oid AND k.conindid = i.oid)
    UNION ALL
    SELECT
        4,
        k.conname,
        format(
            'ALTER TABLE %%s ADD CONSTRAINT %%I %%s', copy, k.conname,
            CASE
                WHEN EXISTS (SELECT FROM t AS p WHERE p.oid = k.confrelid)
                THEN pg_get_constraintdef(k.oid)
                ELSE 'CHECK (true)'
            END)
    FROM t JOIN pg_constraint k ON k.conrelid = t.oid
    WHERE k.contype = 'f' AND t.relname = ANY (%s::text[]) AND NOT EXISTS (
        SELECT FROM pg_constraint o
        WHERE o.oid = k.conparentid AND o.conrelid = t.oid)
    UNION ALL
    SELECT
        5,
        i.relname,
        format('ALTER TABLE %%s REPLICA IDENTITY USING INDEX %%I', copy, i.relname)
    FROM t
    JOIN pg_index x ON x.indrelid = t.oid
    JOIN pg_class i ON i.oid = x.indexrelid
    WHERE x.indisreplident
    ) AS statement (step, name, sql)
ORDER BY step, name"""
# The one index of the temporary table of a name, as CREATE INDEX would have it.
INDEX_OF_COPY = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = concat('pg_temp.', quote_ident(%s))::regclass"""
# Later in the transaction, unqualified names are those of temporary tables.
PUT_TEMPORARY_TABLES_FIRST = """
SELECT set_config(
    'search_path',
    concat_ws(', ', 'pg_temp', nullif(current_setting('search_path'), '')),
    true)"""
# The constraints and indexes that a column takes part in, except the primary key, each
# with the statement that drops it from the copy of the table.
DROPS_FOR_COLUMN = """
WITH found AS (
    SELECT DISTINCT d.classid, d.objid, d.refobjid FROM pg_depend d
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.refclassid = 'pg_class'::regclass
      AND d.refobjid = to_regclass(quote_ident(%s)) AND a.attname = %s)
SELECT
    format('constraint %%I', conname),
    format('ALTER TABLE %%s DROP CONSTRAINT %%I', refobjid::regclass, conname)
FROM found JOIN pg_constraint k ON k.oid = objid
WHERE classid = 'pg_constraint'::regclass AND contype <> 'p' AND conrelid = refobjid
UNION ALL
SELECT format('index %%I', relname), format('DROP INDEX %%s', objid::regclass)
FROM found JOIN pg_class i ON i.oid = objid
WHERE classid = 'pg_class'::regclass AND relkind = 'i'
ORDER BY 1"""

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
