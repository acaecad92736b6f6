-- name: lock
-- Held for as long as the connection lives: of two rebuilds of one projection the second gives up.
select pg_try_advisory_lock(hashtextextended('streams rebuild ' || $1, 0))

-- name: last_migration
select max(name) from migrations

-- name: under_way
select version, migrations, swapped_in from rebuilds where name = $1

-- name: record
insert into rebuilds (name, version, migrations) values ($1, $2, $3)
on conflict (name) do update
set version = excluded.version, migrations = excluded.migrations, began_at = now(),
    swapped_in = null

-- name: forget
delete from rebuilds where name = $1

-- name: like_it
-- What makes a table in the schema $1 like the one in public, in this order: indexes and
-- constraints keep their names, so that later migrations find them.
select statement from (
    select 1 as place, format(
        'create table %I.%I (like public.%I including all excluding indexes)', $1::text, $2::text,
        $2::text) as statement
    union all
    select 2, case
        when k.conname is null then replace(
            pg_get_indexdef(i.indexrelid), format(' ON public.%I ', $2::text),
            format(' ON %I.%I ', $1::text, $2::text))
        else format(
            'alter table %I.%I add constraint %I %s', $1::text, $2::text, k.conname,
            pg_get_constraintdef(k.oid))
        end
    from pg_index i
    left join pg_constraint k on k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x')
    where i.indrelid = format('public.%I', $2::text)::regclass
    union all
    select 3, format('comment on table %I.%I is %L', $1::text, $2::text, description)
    from pg_description
    where objoid = format('public.%I', $2::text)::regclass and objsubid = 0
        and classoid = 'pg_class'::regclass
    union all
    select 3, format(
        'grant %s on %I.%I to %s', a.privilege_type, $1::text, $2::text,
        case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end)
    from pg_class c, aclexplode(c.relacl) a
    where c.oid = format('public.%I', $2::text)::regclass and a.grantee <> c.relowner
) s order by place

-- name: core
-- What every projection needs, apart from the serving projections': the search path of a rebuild
-- begins with its schema, so that the store finds these first. Nothing that it derives is owed
-- to the log, and what an operator has discarded stays so.
create table {schema}.checkpoints (like public.checkpoints including all);
create table {schema}.timers (like public.timers including all);
create table {schema}.dead_letters (like public.dead_letters including all);
create table {schema}.outbox (like public.outbox including all);
create table {schema}.clickhouse_flushes (like public.clickhouse_flushes including all);
create function {schema}.owe_nothing() returns trigger language plpgsql
    as 'begin return null; end';
create trigger owe_nothing before insert on {schema}.outbox
    for each row execute function {schema}.owe_nothing();
create function {schema}.as_decided() returns trigger language plpgsql as $$
begin
    if exists (
        select from public.dead_letters d
        where (d.projection, d.topic, d.partition, d."offset", d.state)
            = (new.projection, new.topic, new.partition, new."offset", 'discarded')
    ) then
        new.state = 'discarded';
    end if;
    return new;
end $$;
create trigger as_decided before insert on {schema}.dead_letters
    for each row execute function {schema}.as_decided();

-- name: mark_swapping
-- Seen by everybody before the first table is swapped, and still there if nobody comes to say that
-- the last one was.
with marked as (
    update rebuilds set swapped_in = $3::jsonb where name = $1
)
insert into projections (name, version, swapping, swaps) values ($1, $2, true, 1)
on conflict (name) do update set swapping = true, swaps = projections.swaps + 1

-- name: positions
select topic, partition, next_offset from {schema}.checkpoints where projection = $1

-- name: hold
-- The first statement of every commit is an update of these.
select topic, partition, next_offset, flush from public.checkpoints
where projection = $1 order by topic, partition for update

-- name: differences
-- Partitions where new and serving tables do not stand at the same offset.
select s.topic, s.partition, s.next_offset, n.next_offset as new_offset
from public.checkpoints s
left join {schema}.checkpoints n using (projection, topic, partition)
where s.projection = $1 and s.topic = any($2::text[])
    and s.next_offset is distinct from n.next_offset

-- name: drop_timers
delete from public.timers where projection = $1

-- name: new_timers
-- Those that wait in the new tables, but for those that have fired: that they did may not have
-- been folded yet.
insert into public.timers (projection, user_id, timer, due, payload)
select projection, user_id, timer, due, payload from {schema}.timers n
where n.projection = $1 and not exists (
    select from public.fired_timers f
    where (f.projection, f.user_id, f.timer, f.due) = (n.projection, n.user_id, n.timer, n.due)
)

-- name: drop_dead_letters
-- Those that the new tables have not: their events have been applied.
delete from public.dead_letters s where s.projection = $1 and not exists (
    select from {schema}.dead_letters n
    where (n.projection, n.topic, n.partition, n."offset")
        = (s.projection, s.topic, s.partition, s."offset")
)

-- name: fresh_dead_letters
select n.* from {schema}.dead_letters n where n.projection = $1 and not exists (
    select from public.dead_letters s
    where (n.projection, n.topic, n.partition, n."offset")
        = (s.projection, s.topic, s.partition, s."offset")
)
order by n.topic, n.partition, n."offset"

-- name: settle_dead_letters
-- Whether it was applied since is known by the new tables; what an operator decided is not.
update public.dead_letters s
set reason = n.reason,
    state = case when n.state = 'open' and s.state <> 'resolved' then s.state else n.state end
from {schema}.dead_letters n
where s.projection = $1 and (n.projection, n.topic, n.partition, n."offset")
    = (s.projection, s.topic, s.partition, s."offset")

-- name: hand_over
-- Whoever has the partitions is fenced, and may take them again if nobody has done so since.
update public.checkpoints
set epoch = epoch + 1, handed_over_from = coalesce(handed_over_from, epoch)
where projection = $1

-- name: new_checkpoints
insert into public.checkpoints (projection, topic, partition, next_offset)
select projection, topic, partition, next_offset from {schema}.checkpoints
where projection = $1 and topic = any($2::text[])
on conflict (projection, topic, partition) do nothing

-- name: drop_checkpoints
delete from public.checkpoints where projection = $1 and topic <> all($2::text[])

-- name: is_of_version
insert into projections (name, version, rebuilt_at) values ($1, $2, now())
on conflict (name) do update
set version = excluded.version, rebuilt_at = excluded.rebuilt_at, swapping = false
