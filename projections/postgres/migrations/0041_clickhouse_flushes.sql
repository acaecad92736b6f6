-- What has been or is being sent to ClickHouse, which has no transactions of its own.

create table clickhouse_flushes (
    id uuid primary key,
    projection text not null,
    ranges jsonb not null,
    tables jsonb not null,
    letters integer not null,
    let_in jsonb not null default '[]',
    state text not null default 'open' check (state in ('open', 'done')),
    opened_at timestamptz not null default now(),
    done_at timestamptz
);
create index clickhouse_flushes_done on clickhouse_flushes (done_at) where state = 'done';
create index clickhouse_flushes_open on clickhouse_flushes (opened_at) where state = 'open';
comment on table clickhouse_flushes is
    'Ranges of the log whose rows are sent to ClickHouse together; open from before to after';
comment on column clickhouse_flushes.ranges is
    '[[topic, partition, start, end, epoch], ...]; the end is not included';
comment on column clickhouse_flushes.tables is 'Rows that each table gets: {table: count}';
comment on column clickhouse_flushes.letters is 'How many of its events become dead letters';
comment on column clickhouse_flushes.let_in is
    '[[topic, partition, offset], ...] of repeated events that take effect: a dead letter retried';
