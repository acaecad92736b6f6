-- name: keep
-- What nobody has asked for in a week is let go of on the way.
with dropped as (delete from tail_cursors where kept_at < now() - interval '7 days')
insert into tail_cursors (kept_id, payload) values ($1, $2)

-- name: find
select payload from tail_cursors where kept_id = $1
