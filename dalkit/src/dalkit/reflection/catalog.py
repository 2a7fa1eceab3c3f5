"""What PostgreSQL's catalog says about relations, columns, types, constraints and indexes.

Six statements, however many schemas and tables there are. Every name is qualified and every
expression comes out qualified, so that the answer is the same under any search_path.
"""

import asyncio
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from sqlalchemy import DDL, Executable, text
from sqlalchemy.ext.asyncio import AsyncConnection

from .relation import Relation, Rows

_RELATIONS = """
select c.oid, n.nspname::text as schema, c.relname::text as name,
       case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
                      when 'f' then 'foreign table' when 'p' then 'partitioned table'
                      else 'table' end as kind,
       d.description as comment,
       case when c.relispartition then pg_catalog.pg_partition_root(c.oid)::oid end as root
from pg_catalog.pg_namespace n
left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relpersistence <> 't'
     and c.relkind = any(array['r', 'p', 'f', 'v', 'm']::"char"[])
left join pg_catalog.pg_description d
     on d.objoid = c.oid and d.classoid = 'pg_catalog.pg_class'::regclass and d.objsubid = 0
where n.nspname = any(cast(:schemas as text[]))
order by n.nspname, c.relname
"""

_COLUMNS = """
select a.attrelid as relation, a.attnum as number, a.attname::text as name, a.atttypid as type,
       pg_catalog.format_type(a.atttypid, a.atttypmod) as format, a.attnotnull as not_null,
       case when a.atthasdef then pg_catalog.pg_get_expr(f.adbin, f.adrelid) end as "default",
       nullif(a.attgenerated, '')::text as generated, nullif(a.attidentity, '')::text as identity,
       case when a.attidentity <> '' then (
           select array[s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
                        s.seqcycle::int]
           from pg_catalog.pg_depend p
           join pg_catalog.pg_sequence s on s.seqrelid = p.objid
           where p.refobjid = a.attrelid and p.refobjsubid = a.attnum and p.deptype = 'i'
             and p.classid = 'pg_catalog.pg_class'::regclass
             and p.refclassid = 'pg_catalog.pg_class'::regclass
       ) end as sequence,
       case when a.attcollation <> t.typcollation then o.collname::text end as collation,
       nullif(q.nspname::text, 'pg_catalog') as collation_schema,
       d.description as comment
from pg_catalog.pg_attribute a
join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
left join pg_catalog.pg_collation o on o.oid = a.attcollation
left join pg_catalog.pg_namespace q on q.oid = o.collnamespace
left join pg_catalog.pg_description d
     on d.objoid = a.attrelid and d.classoid = 'pg_catalog.pg_class'::regclass
    and d.objsubid = a.attnum
where a.attrelid = any(cast(:oids as oid[])) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum
"""

#: These types, what their arrays consist of and what their domains are over.
_TYPES = """
with recursive used(oid) as (
    select unnest(cast(:oids as oid[]))
    union
    select x.oid
    from used u
    join pg_catalog.pg_type t on t.oid = u.oid
    left join pg_catalog.pg_type e on e.oid = t.typelem and e.typarray = t.oid
    cross join lateral (values (t.typbasetype), (e.oid)) as x(oid)
    where x.oid <> 0
)
select t.oid, t.typname::text as name, n.nspname::text as schema, t.typtype::text as kind,
       e.oid as element, t.typbasetype as base,
       pg_catalog.format_type(t.typbasetype, t.typtypmod) as base_format,
       t.typnotnull as not_null, t.typdefault as "default",
       case when t.typtype = 'd' and t.typcollation <> b.typcollation then o.collname::text
       end as collation,
       nullif(q.nspname::text, 'pg_catalog') as collation_schema,
       case when t.typtype = 'e' then array(
           select v.enumlabel::text from pg_catalog.pg_enum v where v.enumtypid = t.oid
           order by v.enumsortorder) end as labels,
       case when t.typtype = 'd' then array(
           select array[c.conname::text, pg_catalog.pg_get_expr(c.conbin, 0)]
           from pg_catalog.pg_constraint c where c.contypid = t.oid and c.contype = 'c'
           order by c.conname limit 1) end as checks
from used u
join pg_catalog.pg_type t on t.oid = u.oid
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_type e on e.oid = t.typelem and e.typarray = t.oid
left join pg_catalog.pg_type b on b.oid = t.typbasetype
left join pg_catalog.pg_collation o on o.oid = t.typcollation
left join pg_catalog.pg_namespace q on q.oid = o.collnamespace
"""

#: A foreign key to a partitioned table has a copy for each partition, which is left out.
_CONSTRAINTS = """
select c.conrelid as relation, c.conname::text as name, c.contype::text as kind,
       coalesce(c.conkey, '{}') as keys, c.confrelid as target,
       coalesce(c.confkey, '{}') as target_keys, c.condeferrable as deferrable,
       c.condeferred as deferred, c.confupdtype::text as on_update,
       c.confdeltype::text as on_delete, coalesce(c.confdelsetcols, '{}') as on_delete_keys,
       c.confmatchtype::text as match,
       case when c.contype = 'c' then pg_catalog.pg_get_expr(c.conbin, c.conrelid) end as condition
from pg_catalog.pg_constraint c
left join pg_catalog.pg_constraint p on p.oid = c.conparentid
where c.conrelid = any(cast(:oids as oid[]))
  and c.contype = any(array['p', 'u', 'f', 'c']::"char"[])
  and (p.oid is null or p.conrelid <> c.conrelid)
order by c.conrelid, c.conname
"""

#: indkey counts from 0 and has 0 where the key is an expression. The bits of indoption are
#: 1 for DESC and 2 for NULLS FIRST. `classes` are the operator classes that are no defaults.
_INDEXES = """
select x.indrelid as relation, x.indexrelid as oid, i.relname::text as name,
       x.indisunique as is_unique, x.indisprimary as is_primary,
       x.indisexclusion as is_exclusion, x.indisvalid as is_valid,
       x.indimmediate as is_immediate, x.indnullsnotdistinct as nulls_not_distinct,
       c.contype::text as constraint, m.amname::text as method,
       x.indkey::int2[] as keys, x.indnkeyatts as key_count,
       x.indoption::int2[] as options,
       array(select case when not o.opcdefault then o.opcname::text end
             from pg_catalog.unnest(x.indclass::oid[]) with ordinality as k(class, n)
             join pg_catalog.pg_opclass o on o.oid = k.class order by k.n) as classes,
       case when x.indexprs is not null then array(
           select case when x.indkey[k] = 0
                  then pg_catalog.pg_get_indexdef(x.indexrelid, k + 1, true) end
           from pg_catalog.generate_series(0, x.indnkeyatts - 1) as k order by k)
       end as expressions,
       pg_catalog.pg_get_expr(x.indpred, x.indrelid) as predicate,
       case when i.relispartition then pg_catalog.pg_partition_root(i.oid)::oid end as root
from pg_catalog.pg_index x
join pg_catalog.pg_class i on i.oid = x.indexrelid
join pg_catalog.pg_am m on m.oid = i.relam
left join pg_catalog.pg_constraint c on c.conindid = x.indexrelid and c.conrelid = x.indrelid
     and c.contype = any(array['p', 'u', 'x']::"char"[])
where x.indrelid = any(cast(:oids as oid[]))
order by x.indrelid, i.relname
"""

#: Executed as DDL, because that also makes SQLAlchemy's dialect forget, on every connection of the
#: engine, the statements and types that asyncpg prepared before: they may have changed.
_PREPARE: Executable = DDL(  # type: ignore[no-untyped-call]
    "SELECT set_config('search_path', '', true), set_config('jit', 'off', true)"
)


async def read_relations(
    conn: AsyncConnection, schemas: Sequence[str]
) -> dict[str, list[Relation]]:
    """The relations of each schema; a schema that does not exist is not in the answer."""
    await conn.execute(_PREPARE)
    found: dict[str, list[Relation]] = {}
    for row in await conn.execute(text(_RELATIONS), {"schemas": list(schemas)}):
        relations = found.setdefault(row.schema, [])
        if row.oid is not None:
            relations.append(Relation(*row))
    return found


async def read_catalog(
    conn: AsyncConnection, relations: Sequence[Relation], partitions: Sequence[Relation]
) -> Rows:
    """Read everything about these relations, and what errors may say about their partitions.

    Returns the types of their columns.
    """
    oids = [relation.oid for relation in relations]
    columns = await _rows(conn, _COLUMNS, oids)
    types = await _rows(conn, _TYPES, sorted({row.type for row in columns} - {None}))
    constraints = await _rows(conn, _CONSTRAINTS, oids)
    indexes = await _rows(conn, _INDEXES, oids + [relation.oid for relation in partitions])

    def hand_out() -> None:
        by_oid = {one.oid: one for one in (*relations, *partitions)}
        for part in partitions:
            by_oid[part.root or 0].partitions.append(part)
        by_relation = attrgetter("relation")  # the statements order their rows by it
        read = {"columns": columns, "constraints": constraints, "indexes": indexes}
        for name, rows in read.items():
            for oid, group in groupby(rows, by_relation):
                setattr(by_oid[oid], name, list(group))

    await asyncio.to_thread(hand_out)  # requests go on while a large schema is read again
    return types


async def _rows(conn: AsyncConnection, statement: str, oids: list[int]) -> Rows:
    return (await conn.execute(text(statement), {"oids": oids})).all()
