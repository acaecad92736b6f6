-- name: known
select topic, cluster_id, topic_id from log_identity

-- name: learn
insert into log_identity (topic, cluster_id, topic_id)
select * from unnest($1::text[], $2::text[], $3::text[])
on conflict (topic) do nothing
