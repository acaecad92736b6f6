-- name: pending
select seq, identity, topic, key, value, header_names, header_values
from outbox order by seq limit $1

-- name: settle
delete from outbox where seq = any($1::bigint[])

-- name: topics
select distinct topic from outbox

-- name: settle_published
-- All that is owed is looked at, not only the oldest: commits don't come in the order of seq.
delete from outbox o using unnest($1::text[], $2::text[]) as p(topic, identity)
where o.topic = p.topic and o.identity = p.identity

-- name: owe
insert into outbox (identity, topic, key, value, header_names, header_values)
values ($1, $2, $3, $4, $5, $6)

-- name: take_due_timers
-- Deleted in the transaction that owes their events: a timer fires once.
delete from timers t using (
    select projection, user_id, timer from timers where due <= $1 order by due limit $2
) d
where (t.projection, t.user_id, t.timer) = (d.projection, d.user_id, d.timer)
returning t.projection, t.user_id, t.timer, t.due, t.payload

-- name: next_due
select min(due) from timers
