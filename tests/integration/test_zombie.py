"""A worker that was stopped for longer than the group waits, and goes on: it must write nothing.

Every row that changes is noted by PostgreSQL itself with whose session did it, so nothing that a
zombie writes can go unseen.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg
import pytest

from compose.local.service import Child
from compose.processes import Worker
from schemas.envelope import Draft
from tests.worker_world import LEDGER, USER, World, await_true, paid, worker_world

#: Workers start several times, each with waits of the group's session.
pytestmark = pytest.mark.timeout(900)

ZOMBIE = "zombie"

#: What is noted of every change, and of a checkpoint also what it was and is.
NOTES = f"""
create role {ZOMBIE} superuser login;
create table notes (
    no bigint generated always as identity primary key,
    who text not null default session_user,
    xact xid8 not null default pg_current_xact_id(),
    of_table text not null,
    place text,
    raised boolean not null default false,
    moved boolean not null default false
);
create function note() returns trigger language plpgsql as $$
begin
    insert into notes (of_table) values (tg_table_name);
    return null;
end $$;
create function note_checkpoint() returns trigger language plpgsql as $$
begin
    insert into notes (of_table, place, raised, moved) values (
        'checkpoints', new.projection || '|' || new.topic || '|' || new.partition,
        tg_op = 'INSERT' or new.epoch > old.epoch,
        tg_op = 'UPDATE' and (new.next_offset, new.flush) is distinct from
            (old.next_offset, old.flush));
    return null;
end $$;
create trigger note after insert or update on checkpoints
    for each row execute function note_checkpoint();
"""

#: Whoever reads an event first notes where it stands: a fact of the log, the same from anybody.
#: Which topics and which log there are is one, too.
FACTS_OF_THE_LOG = ("first_positions", "log_topics", "log_identity")

NOT_NOTED = ("notes", "checkpoints", "migrations", *FACTS_OF_THE_LOG)


@dataclass
class NamedWorker(Worker):
    """A worker with a database user of its own."""

    user: str = ""

    def __post_init__(self) -> None:
        address = self.env["STREAMS_POSTGRES"]
        host = address.partition("@")[2]
        self.env = {**self.env, "STREAMS_POSTGRES": f"postgresql://{self.user}@{host}"}


@pytest.fixture
def world() -> Iterator[World]:
    with worker_world(kafka=True) as made:
        made.execute(NOTES)
        for (name,) in made.fetch(
            "select table_name from information_schema.tables where table_schema = 'public'"
            " and table_type = 'BASE TABLE' and table_name <> all($1)",
            list(NOT_NOTED),
        ):
            made.execute(
                f'create trigger note after insert or update or delete on "{name}"'
                " for each row execute function note()"
            )
        yield made


@pytest.mark.kafka
@pytest.mark.parametrize("frozen", ["in a commit", "before a commit", "at rest"])
async def test_a_zombie_writes_nothing_and_comes_back_as_a_member(
    world: World, frozen: str
) -> None:
    zombie = start(world, ZOMBIE)
    world.send([paid(n) for n in range(20)])
    world.caught_up(zombie)
    in_hand = paid(50)
    if frozen == "in a commit":
        await freeze(world, zombie, in_hand, _CHECKPOINT, "update checkpoints")
        idle = "select 1 from pg_stat_activity where usename = $1 and state = 'idle in transaction'"
        await_true(lambda: bool(world.fetch(idle, ZOMBIE)), "it was not stopped in a transaction")
    elif frozen == "before a commit":
        # A person that it does not know yet: what it has in hand waits for their rows.
        in_hand = paid(50, user="usr_new")
        lock = "lock table balances in access exclusive mode"
        await freeze(world, zombie, in_hand, lock, "balances")
    else:
        os.kill(zombie.pid, signal.SIGSTOP)
        world.send([in_hand])
    mine = int(in_hand.user_id == USER)
    try:
        world.send([paid(n) for n in range(100, 200)])
        other = start(world, "other")
        world.caught_up(other)
        assert world.balance() == f"{(20 + mine + 100) * 10}.00"
        noted = world.fetch("select max(no) as no from notes")[0]["no"]
        # There is something to take when it wakes.
        world.send([paid(n) for n in range(200, 300)])
    finally:
        os.kill(zombie.pid, signal.SIGCONT)

    await_true(lambda: raised_by(world, ZOMBIE, noted) > 0, "the zombie does not come back")
    world.send([paid(n, user=f"usr_{n}") for n in range(300, 400)])
    await_true(lambda: moved_by(world, ZOMBIE, noted) > 0, "the zombie does not work again")
    world.caught_up(other)
    assert not zombie.has_ended() and not other.has_ended()
    assert world.balance() == f"{(20 + mine + 200) * 10}.00"
    assert strangers_moves(world) == []
    assert writes_without_a_move(world, noted) == []
    count = 20 + 1 + 300
    assert world.clickhouse(
        "select count(), uniqExact(id) from events where topic = 'bfc.ledger'"
    ) == [(count, count)]
    assert world.clickhouse("select count() from transactions") == [(count,)]


def start(world: World, user: str) -> Child:
    if user != ZOMBIE:
        world.execute(f"create role {user} superuser login")
    worker = NamedWorker(world.folder, world.env, name=user, arguments=("--no-relay",), user=user)
    return world.run(worker)


#: What the first statement of a commit waits for.
_CHECKPOINT = (
    f"select 1 from checkpoints where projection = 'net_worth' and topic = '{LEDGER}' for update"
)


async def freeze(world: World, zombie: Child, in_hand: Draft, lock: str, statement: str) -> None:
    """Stop it while the server carries out this statement, which finds what it needs locked."""
    blocker = await asyncpg.connect(world.stack.postgres)
    try:
        block = blocker.transaction()
        await block.start()
        await blocker.execute(lock)
        world.send([in_hand])
        waits = (
            "select 1 from pg_stat_activity where usename = $1 and wait_event_type = 'Lock'"
            " and query like '%' || $2::text || '%'"
        )
        await_true(
            lambda: bool(world.fetch(waits, ZOMBIE, statement)), "no statement finds the lock"
        )
        os.kill(zombie.pid, signal.SIGSTOP)
        await block.rollback()
    finally:
        await blocker.close()


def raised_by(world: World, who: str, after: int) -> int:
    sql = "select count(*) from notes where raised and who = $1 and no > $2"
    return int(world.fetch(sql, who, after)[0][0])


def moved_by(world: World, who: str, after: int) -> int:
    sql = "select count(*) from notes where moved and who = $1 and no > $2"
    return int(world.fetch(sql, who, after)[0][0])


def strangers_moves(world: World) -> list[tuple[str, str, str]]:
    """Moves of checkpoints by somebody who was not the last to take them."""
    owners: dict[str, str] = {}
    found = []
    for note in world.fetch("select * from notes where of_table = 'checkpoints' order by no"):
        if note["raised"]:
            owners[note["place"]] = note["who"]
        if note["moved"] and owners.get(note["place"]) != note["who"]:
            found.append((note["who"], note["place"], owners.get(note["place"], "")))
    return found


def writes_without_a_move(world: World, after: int) -> list[tuple[str, str]]:
    """Tables written by the zombie in a transaction that moved no checkpoint."""
    rows = world.fetch(
        "select distinct who, of_table from notes n where no > $1 and who = $2"
        " and of_table <> 'checkpoints' and not exists ("
        " select from notes m where m.xact = n.xact and m.moved)",
        after,
        ZOMBIE,
    )
    return [tuple(row) for row in rows]
