-- name: rules
-- A page of a person's rules, newest first, after the one at ($2, $3).
select rule_id, version, definition, created_at, updated_at
from rules
where user_id = $1 and not deleted
    and ($2::timestamptz is null or (created_at, rule_id) < ($2, $3))
order by created_at desc, rule_id desc
limit $4

-- name: rule
select rule_id, version, definition, created_at, updated_at
from rules
where user_id = $1 and rule_id = $2 and not deleted

-- name: executions
-- A page of a person's executions, newest first by event time, after the one at ($4, $5).
select execution, rule_id, version, event, "time", outcome, reason, actions
from rule_executions
where user_id = $1
    and ($2::text is null or rule_id = $2)
    and ($3::text is null or outcome = $3)
    and ($4::timestamptz is null or ("time", execution) < ($4, $5))
order by "time" desc, execution desc
limit $6

-- name: owners
-- Those of the given accounts that somebody else is known to have and the person is not.
select account
from rule_accounts
where account = any($2::text[])
group by account
having not bool_or(user_id = $1)
