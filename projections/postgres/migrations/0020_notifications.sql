-- Notifications, what people have read of them, and what people prefer.

create table notifications (
    user_id text not null,
    slot bigint not null,
    notification uuid not null,
    gathering text not null,
    category text not null,
    priority text not null,
    type text not null,
    title text not null,
    message text not null,
    count bigint not null,
    parts jsonb not null,
    totals jsonb not null,
    events jsonb not null,
    links jsonb not null,
    channels jsonb not null,
    opened_at timestamptz not null,
    updated_at timestamptz not null,
    deliver_at timestamptz,
    shown_at timestamptz not null,
    window_start timestamptz,
    topic text not null,
    first_offset bigint not null,
    last_offset bigint not null,
    last_ingested_at timestamptz not null,
    primary key (user_id, slot, notification)
);
create index notifications_newest on notifications (user_id, shown_at desc, notification desc);
create index notifications_by_id on notifications (user_id, notification);
comment on table notifications is 'One row per notification; it grows with every event that joins it';
comment on column notifications.slot is 'Where the fold looks for what an event may join: 5 s slots of groups, 48 h slots of digests, below zero for none';
comment on column notifications.gathering is 'single, group (5 s), hourly or daily';
comment on column notifications.parts is 'Counts and exact sums by kind and currency';
comment on column notifications.totals is 'One total per currency, rounded to the minor unit, as shown';
comment on column notifications.events is 'The ids of its first hundred events; further ones are in notification_events';
comment on column notifications.deliver_at is 'Held until then (digest, quiet hours); null if it was never held';
comment on column notifications.shown_at is 'What the list is ordered by: deliver_at, else opened_at; never changes';

create table notification_events (
    user_id text not null,
    notification uuid not null,
    ordinal bigint not null,
    event text not null,
    primary key (user_id, notification, ordinal)
);
comment on table notification_events is 'Ids of the events of large notifications, from the hundred-and-first on';

create table notification_reads (
    user_id text not null,
    notification uuid not null,
    "offset" bigint not null,
    seen bigint,
    read_at timestamptz not null,
    ingested_at timestamptz not null,
    primary key (user_id, notification, "offset")
);
comment on table notification_reads is 'Commands that marked one notification as read, when it had so many events';

create table notification_read_alls (
    user_id text not null,
    topic text not null,
    "offset" bigint not null,
    upto bigint,
    read_at timestamptz not null,
    ingested_at timestamptz not null,
    primary key (user_id, topic, "offset")
);
create index notification_read_alls_upto on notification_read_alls (user_id, topic, upto);
comment on table notification_read_alls is 'Commands that marked everything from a topic below offset upto as read';

create table notification_deliveries (
    user_id text not null,
    days bigint not null,
    notification uuid not null,
    count bigint not null,
    primary key (user_id, days, notification)
);
comment on table notification_deliveries is 'With how many events a held notification has been handed over';

create table notification_holdings (
    user_id text not null,
    account text not null,
    symbol text not null,
    quantity numeric not null,
    until timestamptz not null,
    primary key (user_id, account, symbol)
);
comment on table notification_holdings is 'What the trades add up to, to tell whether a reported position differs';

create table notification_holding_moves (
    user_id text not null,
    account text not null,
    symbol text not null,
    at timestamptz not null,
    "offset" bigint not null,
    change numeric not null,
    numerator bigint not null,
    denominator bigint not null,
    primary key (user_id, account, symbol, at, "offset")
);
comment on table notification_holding_moves is 'Trades and splits in the order of their times, for reports and trades that come late';

create table preferences (
    user_id text not null,
    "offset" bigint not null,
    preferences jsonb not null,
    effective jsonb not null,
    ingested_at timestamptz not null,
    primary key (user_id, "offset")
);
comment on table preferences is 'Every version of a person''s preferences, by the offset of its command; the last one is what holds now';
comment on column preferences.effective is 'topic:partition -> the first offset it applies to; else the records'' timestamps decide';
