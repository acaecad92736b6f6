-- The same beside the engine's own tables, with the keys of rows that are a person's. An event that
-- is repeated is known by the engine's index, so the place in the log is key enough.
create table peer_accounts (
    user_id text not null,
    account_id text not null,
    balance numeric(18, 2) not null,
    currency text not null,
    updated_at timestamptz not null,
    last_event_id text not null,
    primary key (user_id, account_id)
);
create table peer_totals (
    user_id text not null,
    month date not null,
    category text not null,
    total numeric(18, 2) not null,
    entries bigint not null,
    primary key (user_id, month, category)
);
create table peer_transactions (
    user_id text not null,
    partition bigint not null,
    "offset" bigint not null,
    event_id text not null,
    account_id text not null,
    happened_at timestamptz not null,
    amount numeric(18, 2) not null,
    currency text not null,
    category text not null,
    merchant text not null,
    balance_after numeric(18, 2) not null,
    primary key (partition, "offset")
);
create view peer_checkpoints as
    select topic, partition, next_offset from checkpoints where projection = 'peer';
