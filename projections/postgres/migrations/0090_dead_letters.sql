-- What an operator has decided about a dead letter: to put it into the log again, or to let it be.

alter table dead_letters drop constraint dead_letters_state_check;
alter table dead_letters add constraint dead_letters_state_check
    check (state in ('open', 'retried', 'resolved', 'superseded', 'discarded'));
alter table dead_letters add column decided_at timestamptz;
alter table dead_letters add column decided_by text;
alter table dead_letters add column decided_why text;
comment on column dead_letters.state is
    'open; retried: its record goes into the log again; resolved: applied since; superseded: refused again, at its new place; discarded: never to be applied';
comment on column dead_letters.decided_at is 'When it was retried or discarded, by whom and why beside it';

drop index dead_letters_by_key;
create index dead_letters_by_key on dead_letters (event_key, projection)
    where state in ('open', 'retried');
create index dead_letters_by_place on dead_letters (topic, partition, "offset");
create index dead_letters_by_time on dead_letters (created_at) where state = 'open';
