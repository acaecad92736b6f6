-- Rebuilding a projection from the log while its tables go on serving.

alter table checkpoints add column handed_over_from bigint;
comment on column checkpoints.handed_over_from is
    'The epoch of the owner who may go on after a rebuild swapped the tables; null once anybody has';

create table projections (
    name text primary key,
    version integer not null,
    rebuilt_at timestamptz,
    swapping boolean not null default false,
    swaps bigint not null default 0
);
comment on table projections is 'Which version of a projection''s fold its tables are of';
comment on column projections.swapping is
    'Tables outside PostgreSQL are being swapped: nobody may write them, nor read several together';
comment on column projections.swaps is 'How often that was begun; a reader who sees it move reads again';

insert into projections (name, version) select distinct projection, 1 from checkpoints;

create table rebuilds (
    name text primary key,
    version integer not null,
    migrations text not null,
    began_at timestamptz not null default now(),
    swapped_in jsonb
);
comment on table rebuilds is 'Rebuilds under way, or stopped and to be continued; their tables are in the schema rebuild_NAME';
comment on column rebuilds.migrations is 'The last migration that the new tables were made after';
comment on column rebuilds.swapped_in is
    'Tables outside PostgreSQL: which are to serve, written before they are swapped';

create table fired_timers (
    projection text not null,
    user_id text not null,
    timer text not null,
    due timestamptz not null,
    fired_at timestamptz not null default now(),
    primary key (projection, user_id, timer, due)
);
create index fired_timers_by_age on fired_timers (fired_at);
comment on table fired_timers is
    'Timers of the last days that have fired: a rebuild that sets one again must not have it fire again';
