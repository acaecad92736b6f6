"""The tail on Apache Kafka: all that holds on the local broker, and transactions."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Producer as Client

from compose.local import Stack
from schemas.codec import encode
from schemas.envelope import HEADERS, Draft, key_of, topic_of
from tests.builders import draft
from tests.gateway_running import Gateway, ids, message, new_user, until_live
from tests.integration.test_gateway_tail import *  # noqa: F403

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="session")
def stack(kafka_stack: Stack) -> Stack:
    return kafka_stack


def raised(user: str, number: int) -> Draft:
    data = {
        "notification": f"{user}-{number}",
        "category": "system",
        "priority": "low",
        "type": "system",
        "title": "t",
        "message": "m",
        "count": 1,
        "events": ["e"],
        "openedAt": "2026-02-12T09:30:00.000Z",
        "updatedAt": "2026-02-12T09:30:00.000Z",
    }
    return draft("notification.raised", data, user=user, id=f"{user}-{number:05d}")


def transact(kafka: str, drafts: list[Draft], *, commit: bool) -> None:
    client = Client(
        {
            "bootstrap.servers": kafka,
            "transactional.id": new_user(),
            "partitioner": "murmur2_random",
        }
    )
    client.init_transactions(30)
    client.begin_transaction()
    for each in drafts:
        client.produce(topic_of(each).name, encode(each), key_of(each), headers=HEADERS)
    client.flush(30)
    if commit:
        client.commit_transaction(30)
    else:
        client.abort_transaction(30)


async def test_only_what_is_committed_is_shown_and_markers_hold_nobody_up(
    gateway: Gateway, stack: Stack
) -> None:
    user = new_user()

    async def send(first: int, *, commit: bool) -> None:
        drafts = [raised(user, number) for number in range(first, first + 3)]
        await asyncio.to_thread(transact, stack.kafka, drafts, commit=commit)

    await send(0, commit=True)
    await send(3, commit=False)
    wanted = [f"{user}-{number:05d}" for number in (0, 1, 2, 6, 7, 8)]
    async with gateway.tail(user, query="from=earliest&types=notification.raised") as socket:
        read, _ = await until_live(socket)
        assert ids(read) == wanted[:3]
        await send(6, commit=True)
        assert ids([await message(socket) for _ in range(3)]) == wanted[3:]
    await send(9, commit=False)
    async with gateway.tail(user, query=f"from={read[1]['cursor']}") as socket:
        assert ids((await until_live(socket))[0]) == wanted[2:]
    async with gateway.tail(user, query="from=earliest") as socket:
        assert ids((await until_live(socket))[0]) == wanted
