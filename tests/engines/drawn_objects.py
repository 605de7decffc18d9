"""What tables are drawn of: per server, as data.

In each text {a} and {b} stand for the two columns, in either order. A database leaves
out what it does not accept, such as a CHECK that does not fit the type of its column.
"""

from typing import NamedTuple

import peewee

from db.fields import JSONField


class Objects(NamedTuple):
    """What the tables of one server are drawn of."""

    types: dict  # of the columns a and b, with values of each as SQL
    keys: tuple  # columns that are or may be the key; the first one is as declared
    parts: tuple  # that are added to the table
    statements: tuple  # about the table
    before: tuple = ()  # statements that create what types and keys need


COMMON_FIELDS = (
    peewee.IntegerField,
    peewee.BigIntegerField,
    peewee.BooleanField,
    lambda **options: peewee.CharField(20, **options),
    lambda **options: peewee.CharField(60, **options),
    lambda **options: peewee.FixedCharField(5, **options),
    peewee.FloatField,
    peewee.DoubleField,
    lambda **options: peewee.DecimalField(8, 3, **options),
    peewee.DateField,
    peewee.DateTimeField,
    peewee.TimeField,
    peewee.BlobField,
    peewee.TextField,
    peewee.UUIDField,
    JSONField,
)
_UUID = "'6ccd780c-baba-1026-9564-5b8c656024db'"
_COMMON_PARTS = (
    "CONSTRAINT own_check CHECK ({a} <> 'x')",
    "CONSTRAINT own_check CHECK ({a} > 0 OR {b} IS NULL)",
    "CONSTRAINT item_a CHECK (char_length({a}) < 300)",
    "CONSTRAINT own_reference FOREIGN KEY ({a}) REFERENCES par (number)",
    "CONSTRAINT once FOREIGN KEY ({b}) REFERENCES par (id)",
)

MARIADB = Objects(
    types={
        "int(11)": ("1", "2", "-3"),
        "int(10) unsigned": ("1", "2", "3000000000"),
        "bigint(20)": ("1", "9007199254740993"),
        "varchar(20)": ("'1'", "'2'", "'x'", "''"),
        "varchar(400)": ("'1'", "'2'"),
        "char(5)": ("'1'", "'a'"),
        "text": ("'1'", "'x'"),
        "enum('1','2','7')": ("'7'", "'2'"),
        "set('1','2')": ("'2'", "'1'"),
        "bit(1)": ("b'0'", "b'1'"),
        "tinyint(1)": ("0", "1"),
        "float": ("0.1", "2"),
        "double": ("0.1", "2"),
        "decimal(8,3)": ("0.1", "2"),
        "date": ("'2020-01-02'",),
        "datetime": ("'2020-01-02 00:00:00'", "'2020-01-02 10:11:12'"),
        "timestamp": ("'2020-01-02 00:00:00'", "'2020-01-02 10:11:12'"),
        "time": ("'10:11:12'",),
        "uuid": (_UUID,),
        "blob": ("'1'", "x'ff'"),
        "json": ("'{}'", "'1'"),
    },
    keys=(
        "id INT AUTO_INCREMENT PRIMARY KEY",
        "id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY",
        "id INT PRIMARY KEY",
        "id BIGINT AUTO_INCREMENT, KEY (id), PRIMARY KEY ({a}, {b})",
        "id INT",
        "other INT AUTO_INCREMENT PRIMARY KEY",
    ),
    parts=(
        *_COMMON_PARTS,
        "KEY own_key ({a}, {b})",
        "KEY item_a ({a})",
        "KEY item_a ({a}, {b}) IGNORED",
        "UNIQUE own_unique ({a}, {b})",
        "UNIQUE item_b ({b})",
        "KEY own_prefix ({a}(3))",
        "KEY item_b ({b} DESC)",
        "FULLTEXT own_words ({a})",
        "own_virtual INT AS (char_length({a})) VIRTUAL",
        "own_stored VARCHAR(20) AS (concat({a}, 'x')) STORED",
        "own_virtual INT AS ({a} + 1) VIRTUAL, ADD KEY own_generated (own_virtual)",
        "own_needed INT NOT NULL DEFAULT 5",
    ),
    statements=(
        "CREATE VIEW own_view AS SELECT a, b FROM item",
        "CREATE TRIGGER own_trigger BEFORE INSERT ON item FOR EACH ROW "
        "SET @seen = NEW.{a}",
        "CREATE TABLE kid (k INT, KEY (k), CONSTRAINT own FOREIGN KEY (k) "
        "REFERENCES item ({a}))",
        "CREATE TABLE kid (k INT, m INT, CONSTRAINT once FOREIGN KEY (k, m) "
        "REFERENCES item ({a}, {b}))",
        "ALTER TABLE item ALTER COLUMN {a} SET DEFAULT '1'",
        "ALTER TABLE item COMMENT 'kept', ROW_FORMAT=DYNAMIC",
    ),
    before=(
        "CREATE TABLE par (id INT AUTO_INCREMENT PRIMARY KEY, "
        "number VARCHAR(20) UNIQUE)",
        "INSERT INTO par (id, number) VALUES (1, '1'), (2, '2')",
    ),
)

MYSQL = Objects(
    types={
        **{type_: MARIADB.types[type_] for type_ in MARIADB.types if type_ != "uuid"},
        "varchar(20) collate utf8mb4_bin": ("'1'", "'b'"),
        "binary(16)": ("'1'",),
        "year": ("2020",),
        "point": ("ST_GeomFromText('POINT(1 2)')",),
    },
    keys=(
        *MARIADB.keys,
        "id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY",
        "id CHAR(36) DEFAULT (uuid()) PRIMARY KEY",
    ),
    parts=(
        # Of 0, compared with a column that becomes a date, MySQL makes a zero date in
        # the CHECK, which no session in its usual sql_mode can read.
        *(
            part.replace("{a} > 0", "length({a}) > 0")
            for part in MARIADB.parts
            if "IGNORED" not in part
        ),
        "KEY item_a ({a}, {b}) INVISIBLE",
        "CONSTRAINT own_check CHECK ({a} > 5) NOT ENFORCED",
        "CONSTRAINT once CHECK ({b} IS NOT NULL)",
        "KEY own_expression ((lower({a})))",
        "UNIQUE own_expression (({a} + 1), {b})",
        "KEY own_array ((CAST({a} AS UNSIGNED ARRAY)))",
        "own_invisible INT DEFAULT 1 INVISIBLE",
        "own_stored INT AS (CAST({a} AS SIGNED)) STORED",
        "own_default VARCHAR(40) DEFAULT (concat('a', 'b'))",
    ),
    statements=(
        *MARIADB.statements,
        "CREATE TABLE own_check (k INT, CONSTRAINT own_check CHECK (k > 1))",
        "CREATE TABLE kid (k INT, CONSTRAINT once CHECK (k > 1))",
        "CREATE TABLE kid (k INT, CONSTRAINT item_ibfk_1 CHECK (k > 1))",
        "ALTER TABLE item ALTER COLUMN {a} SET DEFAULT (1 + 1)",
        "ALTER TABLE item ALTER COLUMN {a} SET INVISIBLE",
        "ALTER TABLE item PARTITION BY HASH (id) PARTITIONS 2",
        "CREATE VIEW own_view AS SELECT max({a}) AS a FROM item GROUP BY {b}",
        "ANALYZE TABLE item UPDATE HISTOGRAM ON a, b WITH 4 BUCKETS",
    ),
    before=MARIADB.before,
)

POSTGRESQL = Objects(
    types={
        "integer": ("1", "2", "-3"),
        "smallint": ("1", "2"),
        "bigint": ("1", "9007199254740993"),
        "varchar(20)": ("'1'", "'2'", "'x'", "''"),
        "varchar(400)": ("'1'", "'2'"),
        'varchar(20) COLLATE "C"': ("'1'", "'b'"),
        "char(5)": ("'1'", "'a'"),
        "text": ("'1'", "'x'", "'2020-01-02'"),
        "boolean": ("true", "false"),
        "real": ("0.1", "2"),
        "double precision": ("0.1", "2"),
        "numeric(8,3)": ("0.1", "2"),
        "numeric": ("0.1", "2", "0.1234"),
        "date": ("'2020-01-02'",),
        "timestamp": ("'2020-01-02 00:00:00'", "'2020-01-02 10:11:12'"),
        "timestamptz": ("'2020-01-02 00:00:00+00'", "'2020-01-02 10:11:12+02'"),
        "time": ("'10:11:12'",),
        "uuid": (_UUID,),
        "bytea": ("'1'", "'\\xff'"),
        "json": ("'{}'", "'1'"),
        "jsonb": ("'{}'", "'1'"),
        "mood": ("'1'", "'2'", "'x'"),
        "positive": ("1", "2"),
        "word": ("'1'", "'x'"),
        "inet": ("'10.0.0.1'",),
        "integer[]": ("'{1}'",),
        "int4range": ("'[1,2)'",),
    },
    keys=(
        "id serial PRIMARY KEY",
        "id bigserial PRIMARY KEY",
        "id smallserial PRIMARY KEY",
        "id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
        "id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "id integer PRIMARY KEY",
        "id integer DEFAULT nextval('own_sequence') * 2 PRIMARY KEY",
        "id integer DEFAULT own_generator() PRIMARY KEY",
        "id serial PRIMARY KEY DEFERRABLE",
        "id serial, PRIMARY KEY (id) INCLUDE ({a})",
        "id serial, PRIMARY KEY ({a}, {b})",
        "id serial UNIQUE, PRIMARY KEY ({a})",
        "id integer",
        "id text PRIMARY KEY",
        "id uuid PRIMARY KEY DEFAULT gen_random_uuid()",
        "id integer GENERATED ALWAYS AS (1) STORED",
        "other serial PRIMARY KEY",
        "base_id integer) INHERITS (base",
    ),
    parts=(
        *_COMMON_PARTS,
        "CONSTRAINT own_check CHECK ({a} IS NOT NULL OR {b} > 1) NOT VALID",
        "CONSTRAINT own_check CHECK (length({a}) < 5) NO INHERIT",
        "CONSTRAINT own_check CHECK (({a})::text ~ '^[0-9a-z]*$')",
        "CONSTRAINT own_check CHECK (item IS NOT NULL)",
        "CONSTRAINT not_null_a CHECK ({b} IS NOT NULL)",
        "CONSTRAINT own_unique UNIQUE ({a}, {b})",
        "CONSTRAINT item_b UNIQUE ({b})",
        "CONSTRAINT own_unique UNIQUE ({a}) DEFERRABLE INITIALLY DEFERRED",
        "CONSTRAINT own_unique UNIQUE NULLS NOT DISTINCT ({a})",
        "CONSTRAINT own_unique UNIQUE (id, {a}) INCLUDE ({b})",
        "CONSTRAINT own_exclusion EXCLUDE ({a} WITH =)",
        "CONSTRAINT own_exclusion EXCLUDE USING gist ({a} WITH &&)",
        "CONSTRAINT own_exclusion EXCLUDE ({b} WITH =) WHERE ({a} > 1)",
        "CONSTRAINT own_reference FOREIGN KEY ({a}) REFERENCES par (id) NOT VALID",
        "CONSTRAINT own_reference FOREIGN KEY ({a}) REFERENCES par (id) "
        "DEFERRABLE INITIALLY DEFERRED",
        "CONSTRAINT own_reference FOREIGN KEY ({a}, {b}) REFERENCES pair (x, y)",
        "CONSTRAINT own_reference FOREIGN KEY ({a}, {b}) REFERENCES pair (x, y) "
        "MATCH FULL ON DELETE CASCADE",
        "CONSTRAINT own_reference FOREIGN KEY ({a}) REFERENCES item (id)",
        "own_stored integer GENERATED ALWAYS AS (length({a})) STORED",
        "own_stored integer GENERATED ALWAYS AS ({a} + 1) STORED UNIQUE",
        "own_number integer GENERATED ALWAYS AS IDENTITY",
        "own_needed integer NOT NULL DEFAULT 5",
        "own_domain positive DEFAULT 1",
    ),
    statements=(
        "CREATE INDEX own_key ON item ({a}, {b})",
        "CREATE INDEX item_a ON item ({b})",
        "CREATE INDEX item_b ON item ({b} DESC NULLS LAST)",
        "CREATE UNIQUE INDEX item_b ON item ({b}) WHERE {a} IS NOT NULL",
        "CREATE INDEX own_key ON item ({a}) WHERE {b} > 1",
        "CREATE INDEX own_key ON item ({a}) WHERE {b} <> 'x'",
        "CREATE INDEX own_key ON item (lower({a}))",
        "CREATE INDEX own_key ON item (({a} + 1), {b})",
        "CREATE UNIQUE INDEX own_key ON item ((({a})::text))",
        "CREATE INDEX own_key ON item ({a} text_pattern_ops)",
        "CREATE INDEX own_key ON item ({a} varchar_pattern_ops)",
        'CREATE INDEX own_key ON item ({a} COLLATE "C")',
        "CREATE INDEX own_key ON item USING hash ({a})",
        "CREATE INDEX own_key ON item USING gin ({a})",
        "CREATE INDEX own_key ON item USING gin ({a} jsonb_path_ops)",
        "CREATE INDEX own_key ON item USING gist ({a})",
        "CREATE INDEX own_key ON item USING brin ({a})",
        "CREATE INDEX own_key ON item ({b}) INCLUDE ({a})",
        "CREATE INDEX own_words ON item USING gin (to_tsvector('simple', {a}))",
        "CREATE UNIQUE INDEX own_key ON item (id, {a}); "
        "ALTER TABLE item CLUSTER ON own_key",
        "ALTER TABLE item ALTER {a} SET NOT NULL; "
        "CREATE UNIQUE INDEX item_a ON item ({a}); "
        "ALTER TABLE item REPLICA IDENTITY USING INDEX item_a",
        "CREATE VIEW own_view AS SELECT {a} FROM item",
        "CREATE VIEW own_view AS SELECT count(*) FROM item",
        "CREATE VIEW own_view AS SELECT item FROM item",
        "CREATE VIEW own_view AS SELECT id FROM item GROUP BY id HAVING max({a}) > '1'",
        "CREATE MATERIALIZED VIEW own_view AS SELECT {a}, {b} FROM item",
        "CREATE FUNCTION own_function(item) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION own_function() RETURNS bigint LANGUAGE sql "
        "BEGIN ATOMIC SELECT count({a}) FROM item; END",
        "CREATE FUNCTION own_function() RETURNS SETOF item LANGUAGE sql "
        "AS 'SELECT * FROM item'",
        "CREATE TABLE holder (held item)",
        "CREATE TABLE holder (held item[])",
        "CREATE TYPE held AS (held item); CREATE TABLE holder (held held)",
        "CREATE DOMAIN held AS item CHECK (((VALUE).{a}) IS NOT NULL)",
        "CREATE TABLE typed (LIKE item INCLUDING ALL)",
        "CREATE TRIGGER own_trigger BEFORE UPDATE OF {a} ON item FOR EACH ROW "
        "EXECUTE FUNCTION own_trigger()",
        "CREATE TRIGGER own_trigger BEFORE INSERT ON item FOR EACH ROW "
        "WHEN (NEW.{a} IS NOT NULL) EXECUTE FUNCTION own_trigger()",
        "CREATE CONSTRAINT TRIGGER own_trigger AFTER INSERT ON item DEFERRABLE "
        "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION own_trigger()",
        "CREATE RULE own_rule AS ON DELETE TO item DO ALSO NOTHING",
        "CREATE RULE own_rule AS ON UPDATE TO item WHERE OLD.{a} > NEW.{a} "
        "DO INSTEAD NOTHING",
        "CREATE RULE own_rule AS ON INSERT TO item DO ALSO "
        "INSERT INTO par (number) VALUES (NEW.{a}::text)",
        "CREATE POLICY own_policy ON item USING ({a} IS NOT NULL)",
        "CREATE POLICY own_policy ON item USING (id > 0); "
        "ALTER TABLE item ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE STATISTICS own_statistics ON {a}, {b} FROM item",
        "CREATE STATISTICS own_statistics ON ({a}::text), {b} FROM item",
        "CREATE STATISTICS own_statistics ON (length({a})) FROM item",
        "CREATE TABLE kid (k integer, CONSTRAINT own FOREIGN KEY (k) "
        "REFERENCES item ({a}))",
        "CREATE TABLE kid (k integer, m integer, CONSTRAINT once FOREIGN KEY (k, m) "
        "REFERENCES item ({a}, {b}))",
        "CREATE TABLE kid (k integer REFERENCES item (id))",
        "CREATE TABLE heir () INHERITS (item)",
        "CREATE TABLE heir (own integer) INHERITS (item); "
        "CREATE VIEW own_view AS SELECT {a} FROM heir",
        "ALTER TABLE item ALTER COLUMN {a} SET DEFAULT '1'",
        "ALTER TABLE item ALTER COLUMN {a} SET DEFAULT nextval('own_sequence')",
        "ALTER TABLE item ALTER COLUMN {a} SET DEFAULT nextval('own_sequence') + 1",
        "ALTER TABLE item ALTER COLUMN {a} SET DEFAULT now()",
        "ALTER TABLE item ALTER COLUMN {a} SET DEFAULT upper('x')",
        "ALTER SEQUENCE own_sequence OWNED BY item.{a}",
        "ALTER TABLE item ALTER COLUMN {a} SET STATISTICS 500",
        "ALTER TABLE item ALTER COLUMN {a} SET (n_distinct = 5)",
        "ALTER TABLE item ALTER COLUMN {a} SET STORAGE EXTERNAL",
        "ALTER TABLE item ALTER COLUMN {a} SET COMPRESSION pglz",
        "ALTER TABLE item ADD gone integer; ALTER TABLE item DROP gone",
        "COMMENT ON COLUMN item.{a} IS 'kept'; GRANT SELECT ({a}) ON item TO PUBLIC",
        "CREATE TABLE item_a (id integer)",
        "CREATE SEQUENCE item_b",
        "CREATE INDEX item_a ON par (number)",
        "CREATE TABLE item_pkey (id integer)",
        "CREATE TABLE once (id integer)",
        "CREATE TYPE once AS ENUM ()",
        "CREATE VIEW item_a_b AS SELECT 1",
        "ALTER TABLE item SET UNLOGGED",
        "ALTER TABLE item SET (fillfactor = 50)",
    ),
    before=(
        "CREATE TABLE par (id serial PRIMARY KEY, number varchar(20) UNIQUE)",
        "INSERT INTO par (id, number) VALUES (1, '1'), (2, '2')",
        "CREATE TABLE pair (x integer, y integer, PRIMARY KEY (x, y))",
        "INSERT INTO pair VALUES (1, 1), (1, 2), (2, 1), (2, 2)",
        "CREATE TABLE base (base_id integer)",
        "CREATE SEQUENCE own_sequence",
        "CREATE FUNCTION own_generator() RETURNS integer LANGUAGE sql VOLATILE "
        "AS $$ SELECT nextval('own_sequence')::integer $$",
        "CREATE FUNCTION own_trigger() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN RETURN NEW; END $$",
        "CREATE TYPE mood AS ENUM ('1', '2', 'x')",
        "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
        "CREATE DOMAIN word AS text",
    ),
)

OBJECTS = {"mysql": MARIADB, "postgresql": POSTGRESQL, "mysql97": MYSQL}
