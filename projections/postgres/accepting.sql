-- name: hold
-- One operator at a time; and whoever had a partition can't commit any more.
select pg_advisory_xact_lock(hashtextextended('streams accept log', 0))

-- name: fence
update checkpoints set epoch = epoch + 1

-- name: checkpoints
select projection, topic, partition, next_offset, flush from checkpoints

-- name: end_known
-- Beyond every offset of the topic that this database knows of.
select greatest(
    (select max(next_offset) from checkpoints where topic = $1),
    (select max(next_offset) from relay_positions where topic = $1),
    (select max("offset") + 1 from dead_letters where topic = $1),
    (select max(f."offset") + 1 from first_positions f join log_topics t on t.no = f.topic
     where t.name = $1),
    0)

-- name: depth
-- How far below zero the offsets of earlier logs of the topic reach.
select coalesce(sum(shift), 0)::bigint from log_retirements where topic = $1

-- name: retire
insert into log_retirements (topic, cluster_id, topic_id, shift)
values ($1, $2, $3, $4) returning no

-- name: identify
insert into log_identity (topic, cluster_id, topic_id) values ($1, $2, $3)
on conflict (topic) do update
set cluster_id = excluded.cluster_id, topic_id = excluded.topic_id, known_since = now()

-- name: list_unapplied
-- What was seen in the log and not applied by all is open for those that did not: should it come
-- again in the present log, they apply it, and only they.
insert into dead_letters
    (projection, topic, partition, "offset", reason, event_key, header_names, header_values)
select c.projection, c.topic, c.partition, f."offset",
    'not applied before its log was given up for another one', f.key, '{}', '{}'
from checkpoints c
join log_topics t on t.name = c.topic
join first_positions f
    on f.topic = t.no and f.partition = c.partition and f."offset" >= c.next_offset
where c.topic = $1
on conflict do nothing

-- name: lower_earlier
update earlier_positions set "offset" = "offset" - $2 where topic = $1

-- name: keep_positions
with gone as (
    delete from first_positions f using log_topics t
    where t.name = $1 and f.topic = t.no
    returning f.key, f.partition, f."offset"
)
insert into earlier_positions (key, topic, partition, "offset")
select key, $1, partition, "offset" - $2 from gone
on conflict (key) do nothing

-- name: begin_again
update checkpoints c set next_offset = b.next_offset, flush = null
from unnest($2::integer[], $3::bigint[]) as b(partition, next_offset)
where c.topic = $1 and c.partition = b.partition

-- name: drop_partitions
delete from checkpoints where topic = $1 and partition <> all($2::integer[])

-- name: skip_cut
update checkpoints c set next_offset = b.next_offset
from unnest($1::text[], $2::integer[], $3::bigint[]) as b(topic, partition, next_offset)
where c.topic = b.topic and c.partition = b.partition and c.next_offset < b.next_offset

-- name: abandon_flushes
with gone as (
    update clickhouse_flushes set state = 'done', done_at = now()
    where id = any($1::uuid[]) and state = 'open'
)
update checkpoints set flush = null where flush = any($1::uuid[])

-- name: forget_relayed
with gone as (delete from relay_positions where topic = $1)
delete from published_ahead where topic = $1

-- name: rebuilds
delete from rebuilds returning name

-- name: lower_effective
with preferring as (
    update preferences set effective = from_the_beginning(effective, $1)
), zones as (
    update rule_time_zones set effective = from_the_beginning(effective, $1)
), lines as (
    update rule_lines set "begin" = jsonb_set("begin", '{effective}',
        from_the_beginning("begin" -> 'effective', $1)), until = coalesce((
        select jsonb_agg(jsonb_set(one, '{effective}',
            from_the_beginning(one -> 'effective', $1)) order by no)
        from jsonb_array_elements(until) with ordinality as u (one, no)), '[]')
)
update rule_versions set "begin" = jsonb_set("begin", '{effective}',
    from_the_beginning("begin" -> 'effective', $1)), until = coalesce((
    select jsonb_agg(jsonb_set(one, '{effective}',
        from_the_beginning(one -> 'effective', $1)) order by no)
    from jsonb_array_elements(until) with ordinality as u (one, no)), '[]')

-- name: lower_dead_letters
update dead_letters set "offset" = "offset" - $2 where topic = $1

-- name: lower_notifications
update notifications set first_offset = first_offset - $2, last_offset = last_offset - $2
where topic = $1

-- name: lower_read_alls
update notification_read_alls set upto = upto - $2 where topic = $1

-- name: lower_read_commands
update notification_reads set "offset" = "offset" - $2 where $1 = 'app.commands'

-- name: lower_read_all_commands
update notification_read_alls set "offset" = "offset" - $2 where $1 = 'app.commands'

-- name: lower_preferences
update preferences set "offset" = "offset" - $2 where $1 = 'app.commands'

-- name: lower_time_zones
update rule_time_zones set "offset" = "offset" - $2 where $1 = 'app.commands'

-- name: lower_funnels
update funnel_definitions set log_offset = log_offset - $2 where $1 = 'app.commands'

-- name: lower_holdings
update notification_holding_moves set "offset" = "offset" - $2 where $1 = 'vyomo.ledger'

-- name: lower_accounts
update accounts set opened_offset = opened_offset - $2, facts = (
    select coalesce(jsonb_agg(jsonb_set(fact, '{log_offset}',
        to_jsonb((fact ->> 'log_offset')::bigint - $2)) order by no), '[]')
    from jsonb_array_elements(facts) with ordinality as f (fact, no))
where platform || '.ledger' = $1

-- name: lower_balances
update balances set since_offset = since_offset - $2 where platform || '.ledger' = $1

-- name: lower_entries
update position_entries set log_offset = log_offset - $2 where $1 = 'vyomo.ledger'

-- name: lower_positions
update positions set last_offset = last_offset - $2 where $1 = 'vyomo.ledger'

-- name: lower_prices
update prices set log_offset = log_offset - $2 where $1 = 'market.prices'

-- name: lower_fixings
update fixings set log_offset = log_offset - $2 where $1 = 'market.fx'

-- name: lower_fixing_days
update fixing_days set log_offset = log_offset - $2 where $1 = 'market.fx'
