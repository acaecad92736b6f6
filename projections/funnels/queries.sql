-- name: newest
-- Of each funnel the newest command, whichever partition it stands in.
select distinct on (name) name, definition from funnel_definitions
where $1::text is null or name = $1
order by name, at desc, partition desc
