-- name: pending
-- The oldest that is owed, and whether the log has it already.
select seq, identity, topic, key, value, header_names, header_values,
    exists (
        select from published_ahead p where (p.topic, p.identity) = (o.topic, o.identity)
    ) as ahead
from outbox o order by seq limit $1

-- name: settle
-- What was published ahead is remembered until it is owed, and then forgotten.
with settled as (
    delete from outbox where seq = any($1::bigint[]) returning topic, identity
), forgotten as (
    delete from published_ahead p using settled s
    where (p.topic, p.identity) = (s.topic, s.identity)
)
insert into relay_positions (topic, partition, next_offset)
select * from unnest($2::text[], $3::integer[], $4::bigint[])
on conflict (topic, partition) do update set next_offset = excluded.next_offset

-- name: move_positions
insert into relay_positions (topic, partition, next_offset)
select * from unnest($1::text[], $2::integer[], $3::bigint[])
on conflict (topic, partition) do update set next_offset = excluded.next_offset

-- name: positions
select topic, partition, next_offset from relay_positions

-- name: settle_found
-- All that is owed is looked at, not only the oldest: commits don't come in the order of seq.
with found as (
    select distinct topic, identity from unnest($1::text[], $2::text[]) as f(topic, identity)
), settled as (
    delete from outbox o using found f
    where (o.topic, o.identity) = (f.topic, f.identity)
    returning o.topic, o.identity
), remembered as (
    insert into published_ahead (topic, identity)
    select topic, identity from found f
    where not exists (
        select from settled s where (s.topic, s.identity) = (f.topic, f.identity)
    )
    on conflict do nothing
)
select count(*) from settled

-- name: take_due_timers
-- Deleted in the transaction that owes their events: a timer fires once. Remembered for as long
-- as somebody may not have read that event yet, so that a rebuild does not set it again.
with taken as (
    delete from timers t using (
        select projection, user_id, timer from timers where due <= $1 order by due limit $2
    ) d
    where (t.projection, t.user_id, t.timer) = (d.projection, d.user_id, d.timer)
    returning t.projection, t.user_id, t.timer, t.due, t.payload
), remembered as (
    insert into fired_timers (projection, user_id, timer, due)
    select projection, user_id, timer, due from taken
    on conflict (projection, user_id, timer, due) do update set fired_at = now()
), forgotten as (
    delete from fired_timers where fired_at < now() - interval '7 days'
)
select projection, user_id, timer, due, payload from taken

-- name: next_due
select min(due) from timers
