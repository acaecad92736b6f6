-- Which log the checkpoints are of, and what is left of logs that were there before.

create table log_identity (
    topic text not null primary key,
    cluster_id text not null,
    topic_id text not null,
    known_since timestamptz not null default now()
);
comment on table log_identity is 'The log that the checkpoints are of: another cluster or topic of the same name is another log';
comment on column log_identity.topic_id is 'As Kafka''s own tools write it; empty if the broker does not tell';

create table log_retirements (
    no integer generated always as identity primary key,
    topic text not null,
    cluster_id text not null,
    topic_id text not null,
    shift bigint not null,
    retired_at timestamptz not null default now()
);
create index log_retirements_by_topic on log_retirements (topic);
comment on table log_retirements is 'Logs that were given up for another one under their name';
comment on column log_retirements.no is 'The column log of ClickHouse tables names it';
comment on column log_retirements.shift is 'By so much the offsets of that log, and of those before it, were lowered: all lie below zero, in their order';

create table earlier_positions (
    key uuid not null primary key,
    topic text not null,
    partition integer not null,
    "offset" bigint not null
);
comment on table earlier_positions is 'Where events stood first in logs that were given up; seen again, they take no effect in the read models that kept them';
comment on column earlier_positions."offset" is 'Below zero: before the beginning of the present log';

create function from_the_beginning(effective jsonb, of_topic text) returns jsonb
language sql immutable as $$
    select coalesce(
        jsonb_object_agg(
            place, case when regexp_replace(place, ':\d+$', '') = of_topic then '0' else said end),
        '{}')
    from jsonb_each(effective) as e (place, said)
$$;
comment on function from_the_beginning is 'An effective whose offsets in a topic were of a log that was given up: it applies to all of the present one';

comment on column preferences.effective is
    'topic:partition -> the first offset it applies to, if what stands there was appended after the command; where none is named, to all that was';
