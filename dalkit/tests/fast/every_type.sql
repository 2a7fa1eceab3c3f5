CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'Happy');
CREATE DOMAIN short AS varchar(5) CHECK (VALUE <> 'no');
CREATE DOMAIN pair AS integer[];
CREATE TYPE point3 AS (x integer, y integer, z integer);
CREATE TYPE float_range AS RANGE (subtype = float8);
CREATE TABLE every_type (
    id integer PRIMARY KEY,
    b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision,
    n numeric, n2 numeric(12, 2), n0 numeric(5),
    t text, vc varchar, v9 varchar(9), c5 char(5), "name" name, bytes bytea, u uuid,
    d date, tm time, tm3 time(3), tmz timetz, ts timestamp, tz timestamptz, tz0 timestamptz(0),
    iv interval, iym interval year to month, ids interval day to second(2),
    j json, jb jsonb, mood mood, short short, ci citext,
    ip inet, net cidr, mac macaddr, mac8 macaddr8, bit5 bit(5), bits varbit, m money, o oid,
    r4 int4range, r8 int8range, rn numrange, rd daterange, rts tsrange, rtz tstzrange,
    m4 int4multirange, m8 int8multirange, mn nummultirange, md datemultirange,
    mts tsmultirange, mtz tstzmultirange,
    ab boolean[], ai integer[], an numeric(9, 1)[], at text[], au uuid[], ad date[],
    atz timestamptz[], aiv interval[], aby bytea[], aj jsonb[], amood mood[], av varchar(7)[],
    apair pair, nested integer[][], ar int4range[]
);
CREATE TABLE odd_type (
    id integer PRIMARY KEY DEFAULT 1,
    tv tsvector DEFAULT 'a:1 fat:2A cat:3', tq tsquery DEFAULT 'fat & !cat', x xml,
    p point DEFAULT '(1,2)', box box DEFAULT '(1,2),(3,4)', circle circle DEFAULT '<(1,2),3>',
    path path DEFAULT '[(1,2),(3,4)]', polygon polygon DEFAULT '((1,2),(3,4))', lsn pg_lsn DEFAULT '16/B374D848',
    point3 point3 DEFAULT '(1,,3)', fr float_range DEFAULT '[1.5,2)', hs hstore DEFAULT 'a=>1, b=>NULL',
    "char" "char" DEFAULT 'x', reg regclass DEFAULT 'every_type', ax xml[], aci citext[] DEFAULT '{A,b}',
    m money DEFAULT '-1234.5', am money[] DEFAULT '{1,NULL}', aip inet[] DEFAULT '{10.0.0.1/8}', amac macaddr[] DEFAULT '{08:00:2b:01:02:03}',
    afr float_range[] DEFAULT '{"[1.5,2)"}', at3 text[][][] DEFAULT ARRAY[[['a', NULL], ['c', 'd']]], empty integer[] DEFAULT '{}',
    inf timestamptz DEFAULT 'infinity', ninf date DEFAULT '-infinity', nan numeric DEFAULT 'NaN', pinf numeric DEFAULT 'infinity',
    big numeric DEFAULT 1e120, tiny numeric DEFAULT 1e-120, d24 timetz DEFAULT '24:00:00+14', iv interval DEFAULT '-1 year 5 days -03:04:05.6',
    er int4range DEFAULT 'empty', em datemultirange DEFAULT '{}', vb varbit DEFAULT '', aby bytea[] DEFAULT '{"\\x00ff"}', jn jsonb DEFAULT 'null', jt json DEFAULT '"x"'
);
CREATE TABLE owner (id integer PRIMARY KEY, email text UNIQUE, age integer NOT NULL DEFAULT 1 CHECK (age > 0));
CREATE TABLE pet (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id integer REFERENCES owner, later_id integer REFERENCES owner DEFERRABLE INITIALLY DEFERRED);
CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere.owner (id integer PRIMARY KEY, email text, age integer);
CREATE FUNCTION raise_state(state text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = state; END $$;
