-- name: preferences
-- What the person said last.
select preferences from preferences where user_id = $1 order by "offset" desc limit 1
