-- What every projection needs: where it is, what it has seen, what it owes the log.

create table log_topics (
    no smallint generated always as identity primary key,
    name text not null unique
);
comment on table log_topics is 'Topics by a small number, to keep the index of first positions small';

create table checkpoints (
    projection text not null,
    topic text not null,
    partition integer not null,
    next_offset bigint not null default 0,
    epoch bigint not null default 0,
    flush uuid,
    primary key (projection, topic, partition)
);
comment on table checkpoints is 'The next offset of each projection on each partition; the truth about progress';
comment on column checkpoints.epoch is 'Fencing token: raised by whoever takes the partition';
comment on column checkpoints.flush is 'The ClickHouse flush that has been recorded and not yet marked done';

create table first_positions (
    key uuid not null primary key,
    topic smallint not null references log_topics,
    partition integer not null,
    "offset" bigint not null
);
comment on table first_positions is 'Where each (source, id) was first seen in the log; an event elsewhere is a duplicate';
comment on column first_positions.key is '128-bit BLAKE2b of source, NUL, id';

create table outbox (
    seq bigint generated always as identity primary key,
    identity text not null,
    topic text not null,
    key bytea,
    value bytea,
    header_names text[] not null,
    header_values bytea[] not null
);
comment on table outbox is 'Records that projections owe the log; the relay publishes them in order and deletes them';
comment on column outbox.identity is 'What tells the record apart in its topic: the event id, or where a dead letter came from';

create table dead_letters (
    projection text not null,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    reason text not null,
    event_key uuid,
    event_id text,
    user_id text,
    key bytea,
    value bytea,
    header_names text[] not null,
    header_values bytea[] not null,
    state text not null default 'open' check (state in ('open', 'resolved', 'discarded')),
    created_at timestamptz not null default now(),
    primary key (projection, topic, partition, "offset")
);
create index dead_letters_by_key on dead_letters (event_key, projection) where state = 'open';
comment on table dead_letters is 'Records that could not be applied, as they came, with who refused them and why';

create table timers (
    projection text not null,
    user_id text not null,
    timer text not null,
    due timestamptz not null,
    payload jsonb not null,
    primary key (projection, user_id, timer)
);
create index timers_by_due on timers (due);
comment on table timers is 'What a fold wants to be told later; the scheduler appends app.timer.fired when it is due';
