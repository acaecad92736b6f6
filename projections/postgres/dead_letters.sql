-- name: chosen
-- No query of its own: it stands in the others for {chosen}.
($1::text[] is null or d.projection = any($1))
and ($2::text[] is null or d.topic = any($2))
and ($3::text is null or position(lower($3) in lower(d.reason)) > 0)
and ($4::text is null or d.user_id = $4 or d.key = convert_to($4, 'UTF8'))
and ($5::text[] is null or d.state = any($5))
and ($6::timestamptz is null or d.created_at >= $6)
and ($7::timestamptz is null or d.created_at < $7)
and ($8::text[] is null or (d.topic, d.partition, d."offset") in (
    select * from unnest($8::text[], $9::integer[], $10::bigint[])))
and ($11::boolean is null or (d.event_key is null or d.value is not null) = $11)

-- name: find
-- Oldest first, in the order of the log within a partition.
select d.projection, d.topic, d.partition, d."offset", d.reason, d.event_id, d.user_id, d.key,
    d.value, d.header_names, d.header_values, d.state, d.created_at, d.decided_at, d.decided_by,
    d.decided_why
from dead_letters d where {chosen}
order by d.created_at, d.topic, d.partition, d."offset", d.projection
limit $12

-- name: count
select count(*) as letters, count(distinct (d.topic, d.partition, d."offset")) as records
from dead_letters d where {chosen}

-- name: count_by
select {by} as what, count(*) as letters from dead_letters d where {chosen}
group by 1 order by 2 desc, 1

-- name: hold
-- The open ones that are meant, the first in the order of the log; two who decide at once take
-- turns here, and the second then finds the state changed.
select d.projection, d.topic, d.partition, d."offset", d.key, d.value, d.header_names,
    d.header_values
from dead_letters d where d.state = 'open' and {chosen}
order by d.topic, d.partition, d."offset", d.projection
limit $12
for update

-- name: decide
-- Compare and set: only what is still open.
update dead_letters d
set state = $1, decided_at = now(), decided_by = $2, decided_why = $3
from unnest($4::text[], $5::text[], $6::integer[], $7::bigint[])
    as c(projection, topic, partition, "offset")
where d.state = 'open' and (d.projection, d.topic, d.partition, d."offset")
    = (c.projection, c.topic, c.partition, c."offset")

-- name: companions
-- Who else refused what stands at these places.
select d.projection, d.topic, d.partition, d."offset"
from dead_letters d
join unnest($1::text[], $2::integer[], $3::bigint[]) as c(topic, partition, "offset")
    on (d.topic, d.partition, d."offset") = (c.topic, c.partition, c."offset")
where d.state = 'open'
order by d.topic, d.partition, d."offset", d.projection
for update of d

-- name: owe
insert into outbox (identity, topic, key, value, header_names, header_values)
values ($1, $2, $3, $4, $5, $6)
