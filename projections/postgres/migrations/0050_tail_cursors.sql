-- Cursors of the live tail that are too long for a close frame, under a short name.

create table tail_cursors (
    kept_id bytea not null primary key,
    payload bytea not null,
    kept_at timestamptz not null default now()
);
create index tail_cursors_by_age on tail_cursors (kept_at);
comment on table tail_cursors is 'Where readers of the tail stood who were closed for being slow and follow more partitions than a close frame can name';
