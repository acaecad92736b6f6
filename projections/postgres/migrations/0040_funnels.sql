-- Definitions of funnels. Those that every installation has are in the code.

create table funnel_definitions (
    name text not null,
    partition bigint not null,
    log_offset bigint not null,
    at timestamptz not null,
    user_id text not null,
    definition jsonb,
    primary key (name, partition)
);
comment on table funnel_definitions is
    'The newest command of each partition of app.commands on each funnel; the newest of these counts';
comment on column funnel_definitions.at is 'When the log took the command';
comment on column funnel_definitions.user_id is 'Who gave it';
comment on column funnel_definitions.definition is 'The definition as JSON; null if it was removed';
