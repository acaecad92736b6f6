-- name: refused
select event_key from dead_letters
where event_key = any($2::uuid[]) and projection = $1 and state in ('open', 'retried')

-- name: resolve
update dead_letters set state = 'resolved'
where event_key = any($2::uuid[]) and projection = $1 and state in ('open', 'retried')

-- name: record
-- No row comes back if it is recorded already: an answer to the first attempt was lost.
insert into clickhouse_flushes (id, projection, ranges, tables, letters, let_in)
values ($1, $2, $3::jsonb, $4::jsonb, $5, $6::jsonb)
on conflict (id) do nothing
returning id

-- name: tie
-- Compare and set: the checkpoint stands at the range's start, is ours, and is tied to no flush;
-- and the tables are not being swapped, also if whoever swaps them has died over it.
update checkpoints c set flush = $1
from unnest($3::text[], $4::integer[], $5::bigint[], $6::bigint[])
    as m(topic, partition, start_offset, epoch)
where c.projection = $2 and c.topic = m.topic and c.partition = m.partition
    and c.next_offset = m.start_offset and c.epoch = m.epoch and c.flush is null
    and not exists (select from projections p where p.name = $2 and p.swapping)
returning c.topic, c.partition

-- name: hold
-- Whoever repairs or closes a flush takes turns here.
select id, projection, ranges, tables, letters, let_in, state from clickhouse_flushes
where id = $1 for update

-- name: done
update clickhouse_flushes set state = 'done', done_at = now() where id = $1 and state = 'open'

-- name: untie
update checkpoints c set next_offset = m.end_offset, flush = null
from unnest($2::text[], $3::integer[], $4::bigint[]) as m(topic, partition, end_offset)
where c.flush = $1 and c.topic = m.topic and c.partition = m.partition

-- name: forget
-- Done flushes serve only whoever looks into the past. Workers that meet here pass each other by.
delete from clickhouse_flushes where id in (
    select id from clickhouse_flushes where state = 'done' and done_at < now() - $1::interval
    order by done_at limit 100 for update skip locked
)
