-- Up to where the relay knows its own topics, so that a crash, a restored backup and a new database
-- publish nothing twice.

create table relay_positions (
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    primary key (topic, partition)
);
comment on table relay_positions is 'Before this offset everything that a relay published is settled; moved in the transaction that settles';

create table published_ahead (
    topic text not null,
    identity text not null,
    primary key (topic, identity)
);
comment on table published_ahead is 'What stands in the log though this database has not derived it yet (it was restored); settled without publishing when it is derived';
