-- Rule triggers: rules and their versions, what they watch, what became of them.

create table rules (
    user_id text not null,
    rule_id text not null,
    version bigint not null,
    watch text not null,
    definition jsonb not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted boolean not null,
    primary key (user_id, rule_id)
);
create index rules_by_age on rules (user_id, created_at, rule_id) where not deleted;
comment on table rules is 'Rules as their owners see them: the newest version of each';

create table rule_versions (
    user_id text not null,
    watch text not null,
    rule_id text not null,
    version bigint not null,
    rule jsonb,
    "begin" jsonb not null,
    until jsonb not null,
    previous_version bigint,
    previous_watch text,
    primary key (user_id, watch, rule_id, version)
);
comment on table rule_versions is 'Every version of a rule by what it watches, with the positions between which it is in force';
comment on column rule_versions.rule is 'Null where nothing is watched: a draft, or the end of a deleted rule';
comment on column rule_versions.until is 'Where later versions begin; any of them ends this one';

create table rule_lines (
    symbol text not null,
    line numeric not null,
    user_id text not null,
    rule_id text not null,
    version bigint not null,
    waits_above boolean not null,
    conditions jsonb not null,
    "begin" jsonb not null,
    until jsonb not null,
    primary key (symbol, line, user_id, rule_id, version)
);
comment on table rule_lines is 'Lines of market rules: a tick reads those between the old price and the new';

create table rule_prices (
    symbol text not null primary key,
    price numeric not null,
    "time" timestamptz not null
);
comment on table rule_prices is 'The newest tick of each symbol by event time: the side of the lines it stands on';

create table rule_accounts (
    user_id text not null,
    platform text not null,
    account text not null,
    currency text,
    balances jsonb not null,
    primary key (user_id, platform, account)
);
create index rule_accounts_by_account on rule_accounts (account, user_id);
comment on table rule_accounts is 'Accounts and their balances by currency, as rules see them';

create table rule_time_zones (
    user_id text not null,
    "offset" bigint not null,
    timezone text not null,
    effective jsonb not null,
    ingested_at timestamptz not null,
    primary key (user_id, "offset")
);
comment on table rule_time_zones is 'The time zones that people chose, each from a position on';

create table rule_firings (
    user_id text not null,
    rule_id text not null,
    topic text not null,
    "time" timestamptz not null,
    execution uuid not null,
    primary key (user_id, rule_id, topic, "time", execution)
);
comment on table rule_firings is 'Executions that were not skipped: what cooldown and daily limit count';

create table rule_executions (
    user_id text not null,
    execution uuid not null,
    rule_id text not null,
    version bigint not null,
    event text not null,
    "time" timestamptz not null,
    outcome text not null check (outcome in ('triggered', 'pending', 'skipped')),
    reason text,
    actions jsonb not null,
    primary key (user_id, execution)
);
create index rule_executions_by_time on rule_executions (user_id, "time", execution);
create index rule_executions_by_rule on rule_executions (user_id, rule_id, "time", execution);
comment on table rule_executions is 'What became of each rule that matched an event: one row for each cause';
