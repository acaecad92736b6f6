"""Load, witnesses and verdict on a system that nobody harms, and what they say of planted harm."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import clickhouse_connect
import msgspec
import pytest

from compose.local import tokens
from schemas.envelope import Event
from tests.e2e.system import System, read_log, whole_system
from tests.faults import planted
from tests.faults.load import BankingLoad
from tests.faults.parts import Broken, Target, Witness
from tests.faults.progress import Progress
from tests.faults.told import Told, told_by
from tests.faults.verdict import differences
from tests.faults.verdict_tables import expected_letters, identities
from tests.faults.verdict_topics import topic_differences
from tests.faults.witness_money import MoneyWitness
from tests.faults.witness_reads import ReadsWitness
from tests.faults.witness_tail import TailWitness
from tests.faults.witnesses import witnesses_of

pytestmark = pytest.mark.timeout(600)

SEED = 7
RATE = 150.0

#: Seconds of load.
LOAD_SECONDS = 12.0


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    folder = Path(tempfile.mkdtemp(prefix="streams-verdict-"))
    try:
        with whole_system(folder) as system:
            yield target_of(system)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def target_of(system: System) -> Target:
    key = tokens.secret(system.folder)
    return Target(
        kafka=system.stack.kafka,
        postgres=system.stack.postgres,
        clickhouse=system.stack.clickhouse,
        folder=system.folder,
        gateway=lambda: system.url,
        token=lambda user, *scopes: tokens.mint(key, user, scopes, tenant="bfc", ttl_seconds=7200),
        seed=SEED,
        broker="tansu",
    )


async def watched(target: Target) -> None:
    """Some seconds of load under the eyes of all witnesses."""
    load = BankingLoad(target, RATE)
    await load.prepare()
    done, watching = asyncio.Event(), asyncio.Event()
    witnesses = witnesses_of(target)
    async with asyncio.TaskGroup() as group:
        for witness in witnesses:
            group.create_task(witness.run(watching))
        sending = group.create_task(load.run(done))
        await asyncio.sleep(LOAD_SECONDS)
        done.set()
        await sending
        progress = Progress(target)
        await progress.rest()
        progress.close()
        watching.set()
    assert load.sent > LOAD_SECONDS * RATE / 4
    assert load.commands > 0
    assert all(witness.observations for witness in witnesses)


def test_nothing_is_said_of_a_system_that_nobody_harms(target: Target) -> None:
    asyncio.run(watched(target))
    assert asyncio.run(differences(target)) == []


@pytest.fixture(scope="module")
def told(target: Target) -> Told:
    return asyncio.run(told_by(read_log(target.kafka)))


def topics_said(told: Told, **changed: Any) -> str:
    letters = identities(asyncio.run(expected_letters(told, [])))
    return "\n".join(topic_differences(replace(told, **changed), letters, "kafka"))


def derived_of(told: Told) -> list[Event]:
    return [event for event in told.events if event.position.topic == "notifications"]


def test_a_derived_event_that_is_not_there_is_named(told: Told) -> None:
    lost = derived_of(told)[3]
    rest = [event for event in told.events if event is not lost]
    assert f"derived {lost.id}: is missing" in topics_said(told, events=rest)


def test_derived_events_in_another_order_than_their_causes_are_named(told: Told) -> None:
    person = Counter(event.user_id for event in derived_of(told)).most_common(1)[0][0]
    own = [event for event in derived_of(told) if event.user_id == person]
    one, other = own[0], own[-1]
    swap = {
        one.position: msgspec.structs.replace(one, position=other.position),
        other.position: msgspec.structs.replace(other, position=one.position),
    }
    events = [swap.get(event.position, event) for event in told.events]
    assert "order notifications from " in topics_said(told, events=events)


def test_a_dead_letter_that_is_not_there_or_there_twice_is_named(told: Told) -> None:
    first, *rest = told.dead_letters
    said = topics_said(told, dead_letters=rest)
    assert said.startswith("dead-letters ")
    assert "is missing" in said
    again = first._replace(offset=first.offset + 10_000)
    assert "and again at dead-letters:" in topics_said(
        told, dead_letters=[*told.dead_letters, again]
    )


def test_money_that_appears_is_seen_at_the_next_read(target: Target) -> None:
    change = "update balances set amount = amount {} 1 where user_id = 'usr_09'"
    with pytest.raises(Broken, match="balance of usr_09/"):
        asyncio.run(harmed(target, MoneyWitness(target), change.format("+"), change.format("-")))


#: The store says that it has written, and has not. A row that is only changed in the table would
#: be written anew from the worker's memory by the next payment.
LOSE = """
create function lose() returns trigger language plpgsql as 'begin return null; end';
create trigger lose before update on balances for each row
    when (new.user_id like 'usr_reader%') execute function lose()
"""
LOSE_NO_MORE = "drop function lose cascade"


def test_a_person_who_does_not_find_their_own_payment_says_so(target: Target) -> None:
    other_readers = replace(target, seed=SEED + 1)
    with pytest.raises(Broken, match="payments, "):
        asyncio.run(harmed(target, ReadsWitness(other_readers), LOSE, LOSE_NO_MORE))


async def harmed(target: Target, witness: Witness, change: str, undo: str) -> None:
    """Watch until there is something to see, then do harm; at the end undo it."""
    stop = asyncio.Event()
    connection = await asyncpg.connect(target.postgres)
    watching = asyncio.create_task(witness.run(stop))
    try:
        while witness.observations < 4:
            await asyncio.wait([watching], timeout=0.1)
            assert not watching.done(), watching.exception()
        await connection.execute(change)
        async with asyncio.timeout(30):
            await watching
    finally:
        watching.cancel()
        await connection.execute(undo)
        await connection.close()


def test_a_client_of_the_tail_that_sees_an_event_twice_says_so(target: Target) -> None:
    async def watch() -> None:
        witness, stop = TailWitness(target), asyncio.Event()
        watching = asyncio.create_task(witness.run(stop))
        while not witness.clients[0].shown:
            await asyncio.wait([watching], timeout=0.1)
            assert not watching.done(), watching.exception()
        shown = next(iter(witness.clients[0].shown.values()))
        shown.insert(1, shown[0])
        stop.set()
        await watching

    with pytest.raises(Broken, match=r"event 1 of .* is .* the log has"):
        asyncio.run(watch())


def test_every_planted_difference_is_named(target: Target) -> None:
    """The last test: it leaves the system harmed."""
    quiet = replace(target, broker="kafka")  # no transaction was aborted here on Tansu either
    repeated, made_up = asyncio.run(plant(quiet))
    lines = asyncio.run(differences(quiet))
    for wanted in (
        *(harm.said for harm in (*planted.TABLES, *planted.COLUMNS)),
        f"derived {repeated}: stands at",
        f"derived {made_up}: the log says nothing of",
        "shown notifications ",
        "sums of transactions ",
        "executions usr_",
    ):
        assert any(wanted in line for line in lines), (wanted, lines)


async def plant(target: Target) -> tuple[str, str]:
    raised = [record for record in read_log(target.kafka) if record.topic == "notifications"]
    connection = await asyncpg.connect(target.postgres)
    try:
        repeated = await planted.owe_again(connection, raised[0])
        made_up = await planted.owe_again(connection, raised[1], "made-up")
        progress = Progress(target)
        await progress.rest()
        progress.close()
        await planted.plant_tables(connection)
    finally:
        await connection.close()
    with clickhouse_connect.get_client(dsn=target.clickhouse) as client:
        planted.plant_columns(client)
    return repeated, made_up
