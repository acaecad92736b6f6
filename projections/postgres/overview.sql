-- name: versions
select name, version, rebuilt_at, swapping from projections

-- name: rebuilds
-- Whether somebody is at it: a rebuild holds its lock for as long as its connection lives.
select r.name, r.version, r.began_at, exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
        and l.database = (select oid from pg_database where datname = current_database())
        and (l.classid::bigint << 32) | l.objid::bigint
            = hashtextextended('streams rebuild ' || r.name, 0)
) as running
from rebuilds r

-- name: positions
select projection, topic, partition, next_offset from checkpoints
order by projection, topic, partition

-- name: new_positions
select topic, partition, next_offset from {schema}.checkpoints where projection = $1

-- name: size
-- Rows as the last statistics have them, bytes with indexes.
select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint as rows,
    coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint as bytes
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relkind = 'r' and ($2::text[] is null or c.relname = any($2))
