-- name: notifications
-- One page of what the person may see now, newest first. The page is cut before it is asked when
-- each was read first and which further events it has.
select n.notification, n.category, n.priority, n.type, n.title, n.message, n.count, n.totals,
    n.events || coalesce(further.events, '[]'::jsonb) as events,
    n.links, n.opened_at, n.updated_at, n.shown_at, reading.read_at
from (
    select * from notifications n
    where n.user_id = $1
        and (n.deliver_at is null or n.deliver_at <= $2)
        and n.channels ? 'inApp'
        and ($3::text is null or n.category = $3)
        and ($4::text is null or n.priority = $4)
        and ($5::boolean is null or $5 = (
            not exists (
                select from notification_reads r
                where r.user_id = n.user_id and r.notification = n.notification
                    and (r.seen >= n.count
                        or (r.seen is null and r.ingested_at >= n.last_ingested_at))
            )
            and not exists (
                select from notification_read_alls a
                where a.user_id = n.user_id and a.topic = n.topic and a.upto > n.last_offset
                    and (n.deliver_at is null or n.deliver_at <= a.read_at)
            )
            and not exists (
                select from notification_read_alls a
                where a.user_id = n.user_id and a.topic = n.topic and a.upto is null
                    and a.ingested_at >= n.last_ingested_at
                    and (n.deliver_at is null or n.deliver_at <= a.read_at)
            )
        ))
        and ($6::timestamptz is null or (n.shown_at, n.notification) < ($6, $7::uuid))
        and ($9::uuid is null or n.notification = $9)
    order by n.shown_at desc, n.notification desc
    limit $8
) n
left join lateral (
    select min(marks.read_at) as read_at from (
        select r.read_at from notification_reads r
        where r.user_id = n.user_id and r.notification = n.notification
            and (r.seen >= n.count or (r.seen is null and r.ingested_at >= n.last_ingested_at))
        union all
        select a.read_at from notification_read_alls a
        where a.user_id = n.user_id and a.topic = n.topic
            and (a.upto > n.last_offset or (a.upto is null and a.ingested_at >= n.last_ingested_at))
            and (n.deliver_at is null or n.deliver_at <= a.read_at)
    ) marks
) reading on true
left join lateral (
    select jsonb_agg(e.event order by e.ordinal) as events from notification_events e
    where n.count > jsonb_array_length(n.events)
        and e.user_id = n.user_id and e.notification = n.notification
) further on true
order by n.shown_at desc, n.notification desc

-- name: unread
-- How many the person may see now and has not read.
select count(*) from notifications n
where n.user_id = $1
    and (n.deliver_at is null or n.deliver_at <= $2)
    and n.channels ? 'inApp'
    and not exists (
        select from notification_reads r
        where r.user_id = n.user_id and r.notification = n.notification
            and (r.seen >= n.count or (r.seen is null and r.ingested_at >= n.last_ingested_at))
    )
    and not exists (
        select from notification_read_alls a
        where a.user_id = n.user_id and a.topic = n.topic and a.upto > n.last_offset
            and (n.deliver_at is null or n.deliver_at <= a.read_at)
    )
    and not exists (
        select from notification_read_alls a
        where a.user_id = n.user_id and a.topic = n.topic and a.upto is null
            and a.ingested_at >= n.last_ingested_at
            and (n.deliver_at is null or n.deliver_at <= a.read_at)
    )
