"""What stands in the log beyond the relay's positions is found and never published again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from compose.exit_codes import ExitCode
from compose.local import Stack
from projections import dead_letters
from projections.postgres.outbox import leading
from projections.postgres.pool import Pool, acquire
from projections.rows import Timer
from schemas.codec import RawRecord, encode
from schemas.envelope import Draft
from streams import relay_log
from streams.relay import Leader
from streams.relay_log import kafka_log
from streams.topics import ensure
from tests.builders import posted
from tests.e2e.system import event_of, read_log
from tests.integration.test_relay import (
    SECONDS_MAX,
    Owing,
    ended,
    ids_of,
    relay_process,
    relaying,
    skipped,
)


@pytest.fixture(params=["tansu", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Stack:
    found: Stack = request.getfixturevalue("kafka_stack" if request.param == "kafka" else "stack")
    return found


@pytest.fixture
async def owing(broker: Stack, database: str, pool: Pool) -> Owing:
    await asyncio.to_thread(ensure, broker.kafka, 6)
    return Owing(broker, database, pool)


async def published_once(owing: Owing, drafts: list[Draft]) -> None:
    found = [event_of(record)["id"] for record in await owing.published(ids_of(drafts))]
    assert found == [made.id for made in drafts]


async def rows(owing: Owing, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    async with acquire(owing.pool) as connection:
        return [tuple(row) for row in await connection.fetch(sql, *values)]


async def backup(owing: Owing) -> dict[str, list[tuple[Any, ...]]]:
    names = ("outbox", "timers", "relay_positions", "published_ahead")
    return {name: await rows(owing, f"select * from {name}") for name in names}


async def restore(owing: Owing, kept: dict[str, list[tuple[Any, ...]]]) -> None:
    async with acquire(owing.pool) as connection, connection.transaction():
        for name, found in kept.items():
            await connection.execute(f"delete from {name}")
            await connection.copy_records_to_table(name, records=found)


@pytest.mark.parametrize("page", [3, relay_log.PAGE_RECORDS_MAX])
async def test_what_a_restored_database_derives_again_is_not_published_again(
    owing: Owing, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_log, "PAGE_RECORDS_MAX", page)
    before, owed, later, fresh = (skipped(10) for _ in range(4))
    await owing.commit(before)
    async with relaying(owing):
        await owing.settled()
        kept = await backup(owing)
        await owing.commit([*owed, *later])
        await owing.settled()
    await restore(owing, kept)
    # A part is derived again before the relay looks at the log, a part afterwards.
    await owing.commit(owed)
    async with relaying(owing):
        await owing.settled()
        await owing.commit([*later, *fresh])
        await owing.settled()
    await published_once(owing, [*before, *owed, *later, *fresh])
    assert (
        await rows(
            owing, "select * from published_ahead where identity = any($1)", list(ids_of(later))
        )
        == []
    )


async def test_a_new_database_publishes_nothing_that_stands_in_the_log(owing: Owing) -> None:
    drafts = skipped(30)
    await owing.commit(drafts)
    async with relaying(owing):
        await owing.settled()
    await restore(owing, {"relay_positions": [], "published_ahead": []})
    async with relaying(owing):
        # Derived again after the relay has looked at the log.
        await remembered(owing, drafts)
        await owing.commit(drafts)
        await owing.settled()
    await published_once(owing, drafts)


async def remembered(owing: Owing, drafts: list[Draft]) -> None:
    """Wait until the relay has found all of these in the log."""
    sql = "select from published_ahead where identity = any($1)"
    deadline = asyncio.get_running_loop().time() + SECONDS_MAX
    while len(await rows(owing, sql, list(ids_of(drafts)))) < len(drafts):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def test_a_timer_that_a_restore_brings_back_fires_no_second_time(owing: Owing) -> None:
    user = f"usr_{skipped(1)[0].id}"
    await owing.commit(timer=Timer("digest", user, datetime.now(UTC), {}))
    kept = await backup(owing)
    async with relaying(owing):
        await owing.settled()
    await restore(owing, kept)
    async with relaying(owing):
        await owing.settled()
    fired = [each for each in await commands(owing) if each["userid"] == user]
    assert len(fired) == 1


async def commands(owing: Owing) -> list[dict[str, Any]]:
    records = await asyncio.to_thread(read_log, owing.kafka)
    return [event_of(record) for record in records if record.topic == "app.commands"]


async def test_what_is_retried_is_known_by_its_dead_letter(owing: Owing) -> None:
    """It goes to a source topic, with the id that the record had when it was refused."""
    made = posted("1.00", user="usr_retried")
    letters = [f"net_worth|bfc.ledger|{number}|{made.id}" for number in range(3)]
    await owe_retries(owing, made, letters)
    async with leading(owing.url) as outbox, kafka_log(owing.kafka) as log:
        leader = Leader(outbox, log)
        await leader.catch_up({"bfc.ledger"})
        await log.publish((await outbox.pending(10))[:2])
        # Killed here: published, and not settled.
    async with relaying(owing):
        await owing.settled()
    found = [dead_letters.retry_of(each.headers) for each in await ledger(owing, made.id)]
    assert found == letters
    # Other records of the source topic are nobody's business here.
    assert await rows(owing, "select * from published_ahead where topic = 'bfc.ledger'") == []


async def owe_retries(owing: Owing, made: Draft, letters: list[str]) -> None:
    async with acquire(owing.pool) as connection, connection.transaction():
        for letter in letters:
            await connection.execute(
                "insert into outbox (identity, topic, key, value, header_names, header_values)"
                " values ($1, 'bfc.ledger', $2, $3, $4, $5)",
                letter,
                b"usr_retried",
                encode(made),
                ["content-type", dead_letters.RETRY],
                [b"application/cloudevents+json", letter.encode()],
            )


async def ledger(owing: Owing, id: str) -> list[RawRecord]:
    records = await asyncio.to_thread(read_log, owing.kafka)
    found = [each for each in records if each.topic == "bfc.ledger" and each.value]
    return [each for each in found if event_of(each)["id"] == id]


async def test_a_commit_that_becomes_visible_late_is_published_all_the_same(owing: Owing) -> None:
    """Numbers are given before commits: a smaller one may be seen after a larger one is settled."""
    early, late = skipped(3, "usr_early"), skipped(3, "usr_late")
    async with relaying(owing):
        await owing.commit(skipped(1))
        await owing.settled()
        async with acquire(owing.pool) as connection, connection.transaction():
            for made in early:
                await connection.execute(
                    "insert into outbox (identity, topic, key, value, header_names, header_values)"
                    " values ($1, 'rules.triggered', $2, $3, '{}', '{}')",
                    made.id,
                    b"usr_early",
                    encode(made),
                )
            await owing.commit(late)
            await owing.settled()
        await owing.settled()
    await published_once(owing, early)
    await published_once(owing, late)


async def test_a_log_that_ends_before_what_was_published_is_reported(
    owing: Owing, tmp_path: Path
) -> None:
    await owing.commit(skipped(3))
    async with relaying(owing):
        await owing.settled()
    moved = await rows(
        owing,
        "update relay_positions set next_offset = next_offset + 1000 where topic = $1"
        " returning partition, next_offset",
        "rules.triggered",
    )
    with relay_process(owing, tmp_path, "relay") as process:
        await ended(process)
        assert process.exit_code == ExitCode.OTHER_LOG
        said = process.written()
    assert any(f"rules.triggered:{place} " in said for place, _ in moved)
    assert any(f"up to {end}" in said for _, end in moved)


async def test_positions_move_with_what_is_settled(owing: Owing) -> None:
    drafts = skipped(20)
    await owing.commit(drafts)
    async with relaying(owing):
        await owing.settled()
        [record] = {each.partition for each in await owing.published(ids_of(drafts))}
        last = max(each.offset for each in await owing.published(ids_of(drafts)))
        at = await rows(
            owing,
            "select next_offset from relay_positions"
            " where topic = 'rules.triggered' and partition = $1",
            record,
        )
        assert at == [(last + 1,)]
