-- name: checkpoint
select next_offset, epoch from checkpoints
where projection = $1 and topic = $2 and partition = $3

-- name: move_checkpoints
-- Compare and set, by position and by owner; how many were moved. When the transaction commits,
-- those hear of it who listen.
with moved as (
    update checkpoints c set next_offset = m.end_offset
    from unnest($1::text[], $2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[])
        as m(projection, topic, partition, start_offset, end_offset, epoch)
    where c.projection = m.projection and c.topic = m.topic and c.partition = m.partition
        and c.next_offset = m.start_offset and c.epoch = m.epoch and c.flush is null
    returning 1
), told as (
    select pg_notify($7::text, payload) as it from unnest($8::text[]) as payload
    union all
    select pg_notify(channel, '') from unnest($9::text[]) as channel
)
select (select count(*) from moved), (select count(it) from told)

-- name: refused
select event_key from dead_letters
where event_key = any($2::uuid[]) and projection = $1 and state in ('open', 'retried')

-- name: resolve
update dead_letters set state = 'resolved'
where event_key = any($2::uuid[]) and projection = $1 and state in ('open', 'retried')

-- name: write_dead_letter
-- The row and what is owed to the topic; nothing if this refusal is known already.
with fresh as (
    insert into dead_letters (projection, topic, partition, "offset", reason, event_key, event_id,
        user_id, key, value, header_names, header_values)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    on conflict (projection, topic, partition, "offset") do nothing
    returning key, value
)
insert into outbox (identity, topic, key, value, header_names, header_values)
select $13, $14, key, value, $15, $16 from fresh

-- name: supersede
-- A record that was retried is refused again, at its new place.
update dead_letters set state = 'superseded'
where projection = $1 and topic = $2 and partition = $3 and "offset" = $4
    and state in ('open', 'retried')

-- name: write_derived
insert into outbox (identity, topic, key, value, header_names, header_values)
select d.id, d.topic, d.key, d.value, array['content-type'], array[$5::bytea]
from unnest($1::text::text[], $2::text::text[], $3::bytea[], $4::bytea[])
    with ordinality as d(id, topic, key, value, place)
order by d.place

-- name: set_timers
insert into timers (projection, user_id, timer, due, payload)
select $1, t.user_id, t.timer, t.due, t.payload::jsonb
from unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[])
    as t(user_id, timer, due, payload)
on conflict (projection, user_id, timer) do update
set due = excluded.due, payload = excluded.payload

-- name: cancel_timers
delete from timers t
using unnest($2::text[], $3::text[]) as c(user_id, timer)
where t.projection = $1 and t.user_id = c.user_id and t.timer = c.timer
