-- name: epochs
select topic, partition, epoch from checkpoints
where projection = $1 and (topic, partition) in (
    select p.topic, p.partition from unnest($2::text[], $3::integer[]) as p(topic, partition)
)

-- name: take
-- Raise the fencing token: whoever had the partition can't commit any more. Only from the epoch
-- that was seen before: a request that takes effect when its sender has given it up, and another
-- has taken the partition since, changes nothing.
insert into checkpoints (projection, topic, partition, next_offset, epoch)
select $1, p.topic, p.partition, 0, p.epoch + 1
from unnest($2::text[], $3::integer[], $4::bigint[]) as p(topic, partition, epoch)
on conflict (projection, topic, partition) do update
set epoch = excluded.epoch, handed_over_from = null
where checkpoints.epoch = excluded.epoch - 1
returning topic, partition, next_offset, epoch, flush

-- name: version
-- Which version the tables are of. Tables that nobody has used yet are of the version that comes
-- first.
with fresh as (
    insert into projections (name, version) values ($1, $2)
    on conflict (name) do nothing
    returning version, swapping
)
select version, swapping from fresh
union all
select version, swapping from projections where name = $1
limit 1

-- name: swaps
select swaps, swapping from projections where name = $1

-- name: regain
-- Only for who owned the partition when the tables were swapped, if nobody has taken it since: the
-- epochs from then on are nobody else's. Asked again, because an answer was lost, it says the same.
select c.topic, c.partition, c.next_offset, c.epoch
from checkpoints c
join unnest($2::text[], $3::integer[], $4::bigint[]) as h(topic, partition, epoch)
    on c.topic = h.topic and c.partition = h.partition
where c.projection = $1 and c.handed_over_from <= h.epoch and h.epoch < c.epoch
