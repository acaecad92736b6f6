-- What every contestant fills; the checkpoints are moved in the transaction of what they count.
create table peer_accounts (
    account_id text primary key,
    balance numeric(18, 2) not null,
    currency text not null,
    updated_at timestamptz not null,
    last_event_id uuid not null
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
    event_id uuid primary key,
    user_id text not null,
    account_id text not null,
    happened_at timestamptz not null,
    amount numeric(18, 2) not null,
    currency text not null,
    category text not null,
    merchant text not null,
    balance_after numeric(18, 2) not null
);
create table peer_checkpoints (
    topic text not null,
    partition int not null,
    next_offset bigint not null,
    primary key (topic, partition)
);
