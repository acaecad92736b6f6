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
-- Compare and set: only who owned the partition when the tables were swapped, and nobody since.
update checkpoints c set handed_over_from = null
from unnest($2::text[], $3::integer[], $4::bigint[]) as h(topic, partition, epoch)
where c.projection = $1 and c.topic = h.topic and c.partition = h.partition
    and c.handed_over_from = h.epoch
returning c.topic, c.partition, c.next_offset, c.epoch
