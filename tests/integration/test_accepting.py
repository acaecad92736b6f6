"""Giving up a log for another one: no offset of the old one can be taken for one of the new."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import replace

from projections.batch import DeadLetter, Partition
from projections.log_identity import Acceptance, Span, TopicIdentity
from projections.postgres import queries
from projections.postgres.accepting import holding
from projections.postgres.index import PostgresIndex
from projections.postgres.pool import acquire
from schemas.envelope import Event
from schemas.position import Position
from schemas.topics import TOPICS
from tests.builders import T0, events_of, posted
from tests.judging import judged

LEDGER, TRADES, COMMANDS = "bfc.ledger", "vyomo.ledger", "app.commands"
RETIRED = (COMMANDS, LEDGER, TRADES)

#: Columns that hold offsets, by what they are called; and those that say what no log says.
OFFSETS = re.compile(r"offset$|^upto$|^effective$|^begin$|^until$|^facts$")
OTHERWISE = {
    ("checkpoints", "next_offset"): "set to the beginning",
    ("relay_positions", "next_offset"): "forgotten",
    ("first_positions", "offset"): "moved to earlier_positions",
    ("notification_holdings", "until"): "a moment, not an offset",
    ("log_retirements", "shift"): "what was done",
}


async def test_every_column_of_offsets_is_thought_of(pool: Any) -> None:
    statements = " ".join(queries.load("projections.postgres", "accepting.sql").values())
    async with acquire(pool) as connection:
        found = await connection.fetch(
            "select table_name, column_name from information_schema.columns"
            " where table_schema = 'public'"
        )
    columns = {tuple(row) for row in found if OFFSETS.search(row["column_name"])}
    lowered = {
        (table, column)
        for table, changes in re.findall(r"update (\w+) set (.*?)(?=update |$)", statements, re.S)
        for column in re.findall(r'"?(\w+)"? = ', changes)
    }
    assert columns - lowered - OTHERWISE.keys() == set()


async def give_up(pool: Any) -> None:
    spans = {Partition(topic, number): Span(0, 0) for topic in RETIRED for number in range(6)}
    identity = TopicIdentity("cluster", uuid4().hex)
    async with holding(pool) as held:
        shifts = {topic: (await held.number(topic, identity))[1] for topic in RETIRED}
        accepted = Acceptance(RETIRED, {}, ())
        await held.accept(accepted, shifts, dict.fromkeys(RETIRED, identity), spans)


async def fill(pool: Any, round: int) -> None:
    """The same offsets in every log."""
    async with acquire(pool) as connection:
        for topic in RETIRED:
            await connection.execute(
                "insert into checkpoints (projection, topic, partition, next_offset)"
                " values ('net_worth', $1, 0, 3) on conflict (projection, topic, partition)"
                " do update set next_offset = 3",
                topic,
            )
        for offset in range(3):
            await connection.execute(
                "insert into position_entries (user_id, account, symbol, time, log_offset,"
                " event_id, what) values ('usr_1', 'a', 'S', $1, $2, $3, 'trade')",
                T0,
                offset,
                f"{round}-{offset}",
            )
            await connection.execute(
                "insert into preferences values ('usr_1', $1, $2, $3, $4)",
                offset,
                json.dumps({"round": round, "offset": offset}),
                json.dumps({f"{LEDGER}:0": 7, "market.prices:1": 9}),
                T0 + timedelta(seconds=round),
            )
        begin = json.dumps({"effective": {f"{LEDGER}:0": 7}, "ingested_at": "x"})
        await connection.execute(
            "insert into rule_versions values ('usr_1', 'w', 'r', $1, null, $2, $3, null, null)",
            round,
            begin,
            f"[{begin}]",
        )


async def test_old_offsets_lie_before_all_new_ones_in_their_order(pool: Any) -> None:
    for round in range(3):
        await fill(pool, round)
        await give_up(pool)
    await fill(pool, 3)
    async with acquire(pool) as connection:
        entries = await connection.fetch(
            "select log_offset, event_id from position_entries order by log_offset"
        )
        said = await connection.fetch(
            'select "offset", preferences, effective from preferences order by "offset"'
        )
        rules = await connection.fetch('select version, "begin", until from rule_versions')
        stands = await connection.fetch("select next_offset from checkpoints")
    wanted = [f"{round}-{offset}" for round in range(4) for offset in range(3)]
    assert [row["event_id"] for row in entries] == wanted
    assert [row["log_offset"] for row in entries if row["log_offset"] >= 0] == [0, 1, 2]
    assert [json.loads(row["preferences"])["round"] for row in said] == sorted([*range(4)] * 3)
    for row in said:
        old = row["offset"] < 0
        wanted_effective = {f"{LEDGER}:0": 0 if old else 7, "market.prices:1": 9}
        assert json.loads(row["effective"]) == wanted_effective
    for row in rules:
        offset = 7 if row["version"] == 3 else 0
        for begin in (json.loads(row["begin"]), *json.loads(row["until"])):
            assert begin == {"effective": {f"{LEDGER}:0": offset}, "ingested_at": "x"}
    assert [row["next_offset"] for row in stands] == [3, 3, 3]


async def test_an_event_counts_again_only_where_it_was_not_applied(pool: Any) -> None:
    """The first of two was applied before its log was lost; the second had only been seen."""
    events = events_of([posted(), posted()])
    number = events[0].position.partition
    index = await PostgresIndex.open(pool, list(TOPICS))
    unreadable = DeadLetter("*", Position(LEDGER, number, 2), "not JSON", None)
    assert await judged(index, events, [unreadable]) == set()
    async with acquire(pool) as connection:
        await connection.execute(
            "insert into checkpoints (projection, topic, partition, next_offset)"
            " values ('net_worth', $1, $2, 1)",
            LEDGER,
            number,
        )
    await give_up(pool)

    again = [event_of_again(event, offset) for offset, event in enumerate(reversed(events))]
    assert await judged(index, again, [unreadable]) == {0, 1}
    assert await judged(index, again) == {0, 1}
    # For tables made from the present log alone, here is where they stand first.
    alone = await PostgresIndex.open(pool, list(TOPICS), present_log=True)
    assert await judged(alone, again) == set()
    async with acquire(pool) as connection:
        rows = await connection.fetch(
            'select projection, event_key, "offset" from dead_letters order by "offset"'
        )
    # A bad record of the new log at an offset that an old one had is kept, too.
    assert [(row["projection"], row["event_key"]) for row in rows] == [
        ("net_worth", UUID(bytes=events[1].key_bytes)),
        ("*", None),
        ("*", None),
    ]


def event_of_again(event: Event, offset: int) -> Event:
    """The same fact at another place."""
    return replace(event, position=event.position._replace(offset=offset))
