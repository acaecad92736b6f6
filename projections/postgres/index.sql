-- name: number_topics
insert into log_topics (name) select unnest($1::text[]) on conflict (name) do nothing

-- name: has_earlier
-- Whether events of logs that were given up are remembered.
select exists (select from earlier_positions)

-- name: record_first_positions
-- Returns the keys that nobody had recorded before, and whether a log had them that was given up
-- for this one.
insert into first_positions (key, topic, partition, "offset")
select * from unnest(
    $1::text::uuid[], $2::text::smallint[], $3::text::integer[], $4::text::bigint[]
)
on conflict (key) do nothing
returning key, exists (
    select from earlier_positions e where e.key = first_positions.key
) as earlier

-- name: stand_elsewhere
-- Those keys whose first position is another one. A statement of its own after that one: what
-- somebody else recorded while it waited for them is seen by a later snapshot only.
select g.key from unnest(
    $1::text::uuid[], $2::text::smallint[], $3::text::integer[], $4::text::bigint[]
) as g(key, topic, partition, "offset")
where not exists (
    select from first_positions f
    where f.key = g.key
        and (f.topic, f.partition, f."offset") = (g.topic, g.partition, g."offset")
) or $5::boolean and exists (select from earlier_positions e where e.key = g.key)

-- name: resolve_unread
-- What nobody could read was put into the log again, and now it is an event.
update dead_letters d set state = 'resolved'
from unnest($1::text[], $2::integer[], $3::bigint[]) as r(topic, partition, "offset")
where d.projection = '*' and d.state in ('open', 'retried')
    and (d.topic, d.partition, d."offset") = (r.topic, r.partition, r."offset")
