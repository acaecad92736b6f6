-- Net worth: small rows of each person, user_id first; prices and fixings that all share.

create table accounts (
    user_id text not null,
    platform text not null,
    account text not null,
    kind text,
    currency text,
    name text,
    institution text,
    holds_cash boolean not null,
    opened_at timestamptz,
    opened_offset bigint,
    closed_at timestamptz,
    facts jsonb not null,
    primary key (user_id, platform, account)
);
create index accounts_by_name on accounts (account, user_id);
comment on table accounts is 'Accounts of people as known now; without opened_at their opening has not come yet';
comment on column accounts.opened_at is 'Event time of the opening';
comment on column accounts.facts is 'What each event said of the account, by event time: what was known at any past day';

create table balances (
    user_id text not null,
    platform text not null,
    account text not null,
    currency text not null,
    amount numeric not null,
    since timestamptz not null,
    since_offset bigint not null,
    primary key (user_id, platform, account, currency)
);
comment on table balances is 'All that moved on an account in one currency, opening balance included; of a trading account the cash, kept also where it holds none';
comment on column balances.since is 'Event time of the first movement';

create table balance_days (
    user_id text not null,
    day date not null,
    platform text not null,
    account text not null,
    currency text not null,
    amount numeric not null,
    primary key (user_id, day, platform, account, currency)
);
comment on table balance_days is 'What each day (UTC, by event time) moved; the sum up to a day is its balance';

create table position_entries (
    user_id text not null,
    account text not null,
    symbol text not null,
    time timestamptz not null,
    log_offset bigint not null,
    event_id text not null,
    what text not null check (what in ('trade', 'dividend', 'split')),
    currency text,
    instrument text,
    quantity numeric,
    price numeric,
    fee numeric,
    amount numeric,
    numerator bigint,
    denominator bigint,
    primary key (user_id, account, symbol, time, log_offset)
);
comment on table position_entries is 'Trades, dividends and splits: what positions are folded from, now and for any past day';
comment on column position_entries.quantity is 'Negative if sold';

create table positions (
    user_id text not null,
    account text not null,
    symbol text not null,
    last_time timestamptz not null,
    last_offset bigint not null,
    books jsonb not null,
    primary key (user_id, account, symbol)
);
comment on table positions is 'A symbol in an account, folded from its entries; the last one of them by event time is named';
comment on column positions.books is 'For each currency: quantity, cost by moving average, FIFO lots, flow, fees, dividends; exact numbers as text, 10/3 where no decimal holds them; realised = flow + cost';

create table prices (
    symbol text not null,
    day date not null,
    price numeric not null,
    currency text not null,
    time timestamptz not null,
    log_offset bigint not null,
    primary key (symbol, day)
);
comment on table prices is 'The last tick of each day (UTC, by event time); the row of the latest day is the latest price';

create table fixings (
    base text not null,
    quote text not null,
    rate numeric not null,
    time timestamptz not null,
    log_offset bigint not null,
    primary key (base, quote)
);
comment on table fixings is 'The latest fixing of each pair: one base is worth so much of quote';

create table fixing_days (
    base text not null,
    quote text not null,
    day date not null,
    rate numeric not null,
    time timestamptz not null,
    log_offset bigint not null,
    primary key (base, quote, day)
);
comment on table fixing_days is 'The last fixing of each pair on each day (UTC, by event time)';
