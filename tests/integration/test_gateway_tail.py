"""The tail on a real broker: whatever way an event comes, it comes once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from compose.local import Stack
from schemas.envelope import Draft
from streams.producer import Producer, ProducerSettings
from tests.builders import opened, posted, step, tick
from tests.gateway_running import (
    Gateway,
    ids,
    message,
    new_user,
    running_gateway,
    token,
    until_live,
)

PREFIX = new_user()


@pytest.fixture
async def gateway(stack: Stack, database: str) -> AsyncIterator[Gateway]:
    async with running_gateway(stack, database) as running:
        yield running


@pytest.fixture
async def producer(stack: Stack, gateway: Gateway) -> AsyncIterator[Producer]:
    async with Producer(ProducerSettings(stack.kafka, linger_ms=0)) as running:
        yield running


def postings(user: str, count: int, first: int = 0) -> list[Draft]:
    return [
        posted(str(n + 1), user=user, id=f"{user}-{n:05d}") for n in range(first, first + count)
    ]


def wanted(user: str, count: int) -> list[str]:
    return [f"{user}-{n:05d}" for n in range(count)]


async def events(socket, count: int) -> list[dict]:  # type: ignore[no-untyped-def,type-arg]
    return [await message(socket) for _ in range(count)]


async def test_live_events_of_the_caller_come_in_order(
    gateway: Gateway, producer: Producer
) -> None:
    user, other = new_user(), new_user()
    async with gateway.tail(user) as socket:
        assert (await message(socket))["kind"] == "live"
        await producer.send_many([*postings(other, 3), *postings(user, 5), *postings(other, 3)])
        found = await events(socket, 5)
    assert ids(found) == wanted(user, 5)
    assert found[0]["event"]["data"]["amount"] == "1"
    assert found[0]["event"]["type"] == "bfc.transaction.posted.v1"


async def test_whoever_is_connected_misses_nothing_and_gets_nothing_older(
    gateway: Gateway, producer: Producer
) -> None:
    user = new_user()
    for number in range(0, 40, 2):
        await producer.send_many(postings(user, 1, number))
        async with gateway.tail(user) as socket:
            await producer.send_many(postings(user, 1, number + 1))
            found = [await message(socket), await message(socket)]
        assert ids([each for each in found if each["kind"] == "event"]) == [
            f"{user}-{number + 1:05d}"
        ]


async def test_types_that_nothing_has_make_a_quiet_tail(gateway: Gateway) -> None:
    async with gateway.tail(new_user(), query="types=nothing.like.it") as socket:
        cursor = (await message(socket))["cursor"]
    async with gateway.tail(new_user(), query=f"types=nothing.like.it&from={cursor}x") as socket:
        assert (await closed(socket))[0] == 4400
    async with gateway.tail(new_user(), query="types=nothing.like.it&from=earliest") as socket:
        assert (await message(socket))["kind"] == "live"


async def test_a_cursor_resumes_without_gap_or_repeat_in_another_process(
    gateway: Gateway, producer: Producer, stack: Stack, database: str
) -> None:
    user = new_user()
    async with gateway.tail(user) as socket:
        await message(socket)
        await producer.send_many(postings(user, 10))
        found = await events(socket, 10)
    await producer.send_many(postings(user, 10, 10))
    async with running_gateway(stack, database) as another:
        for at in (0, 4, 9):
            for answering in (gateway, another):
                async with answering.tail(user, query=f"from={found[at]['cursor']}") as socket:
                    read, live = await until_live(socket)
                assert ids(read) == wanted(user, 20)[at + 1 :]
                async with answering.tail(user, query=f"from={live['cursor']}") as socket:
                    assert (await until_live(socket))[0] == []


async def test_earliest_reads_history_and_says_when_it_is_live(
    gateway: Gateway, producer: Producer
) -> None:
    user = new_user()
    await producer.send_many(postings(user, 1_200))
    async with gateway.tail(user, query="from=earliest") as socket:
        read, _ = await until_live(socket)
        assert ids(read) == wanted(user, 1_200)
        await producer.send_many(postings(user, 3, 1_200))
        assert ids(await events(socket, 3)) == wanted(user, 1_203)[-3:]


async def test_history_and_live_join_while_events_keep_coming(
    gateway: Gateway, producer: Producer
) -> None:
    user = new_user()
    await producer.send_many(postings(user, 500))

    async def produce() -> None:
        for first in range(500, 1_500, 20):
            await producer.send_many(postings(user, 20, first))

    producing = asyncio.create_task(produce())
    readers = [gateway.tail(user, query="from=earliest") for _ in range(3)]

    async def read(reader: connect) -> list[str]:
        async with reader as socket:
            found: list[str] = []
            while len(found) < 1_500:
                each = await message(socket)
                if each["kind"] == "event":
                    found.append(each["event"]["id"])
            return found

    for found in await asyncio.gather(*(read(reader) for reader in readers)):
        assert found == wanted(user, 1_500)
    await producing


async def test_every_cursor_of_a_stream_leads_to_exactly_the_rest(
    gateway: Gateway, producer: Producer
) -> None:
    user = new_user()
    drafts = [opened(user=user, id=f"{user}-open")]
    for n in range(20):
        drafts.append(posted(str(n + 1), user=user, id=f"{user}-p{n}"))
        drafts.append(step("view", user=user, id=f"{user}-s{n}"))
    await producer.send_many(drafts)
    async with gateway.tail(user, query="from=earliest") as socket:
        read, _ = await until_live(socket)
    assert sorted(ids(read)) == sorted(draft.id for draft in drafts)
    for position in range(0, len(read), 7):
        async with gateway.tail(user, query=f"from={read[position]['cursor']}") as socket:
            rest, _ = await until_live(socket)
        assert sorted(ids(rest)) == sorted(ids(read)[position + 1 :])


async def test_types_are_filtered_and_market_data_comes_to_who_asks(
    gateway: Gateway, producer: Producer
) -> None:
    user = new_user()
    symbol = new_user()
    async with (
        gateway.tail(user) as unfiltered,
        gateway.tail(user, query="types=market.price.ticked") as market,
        gateway.tail(user, query="types=bfc.transaction.*,journey.*") as some,
        gateway.tail(user, query="types=bfc.transaction.posted.v1") as versioned,
    ):
        for socket in (unfiltered, market, some, versioned):
            await message(socket)
        await producer.send_many(
            [tick(symbol, id=f"{user}-tick"), opened(user=user, id=f"{user}-open")]
        )
        await producer.send_many([posted(user=user, id=f"{user}-p")])
        assert ids(await events(unfiltered, 2)) == [f"{user}-open", f"{user}-p"]
        assert ids(await events(some, 1)) == [f"{user}-p"]
        assert ids(await events(versioned, 1)) == [f"{user}-p"]
        found = await message(market)
        assert found["event"]["data"]["symbol"] == symbol


async def test_operators_and_consumers_see_everything(gateway: Gateway, producer: Producer) -> None:
    user = new_user()
    for scope in ("operator", "consumer"):
        async with gateway.tail(new_user(), scope) as socket:
            await message(socket)
            drafts = [
                posted(user=user, id=f"{user}-{scope}-p"),
                tick(id=f"{user}-{scope}-t"),
                step("view", session=f"{user}-{scope}", user=None, id=f"{user}-{scope}-s"),
            ]
            await producer.send_many(drafts)
            found = ids(await events(socket, 3))
            assert sorted(found) == sorted(draft.id for draft in drafts)


async def test_a_step_without_a_person_is_seen_once_its_session_is_named(
    gateway: Gateway, producer: Producer
) -> None:
    user, session = new_user(), f"sess-{new_user()}"
    async with gateway.tail(user) as socket, gateway.tail(new_user(), "operator") as operator:
        await message(socket)
        await message(operator)
        await producer.send(step("signup", session=session, user=None, id=f"{user}-1"))
        # Between partitions there is no order: only what was passed on before it had a name.
        assert ids([await message(operator)]) == [f"{user}-1"]
        await producer.send(step("login", session=session, user=user, id=f"{user}-2"))
        assert ids([await message(socket)]) == [f"{user}-2"]
        await producer.send(step("view", session=session, user=None, id=f"{user}-3"))
        assert ids([await message(socket)]) == [f"{user}-3"]
    async with gateway.tail(user, query="from=earliest") as socket:
        read, _ = await until_live(socket)
    assert sorted(ids(read)) == [f"{user}-1", f"{user}-2", f"{user}-3"]


async def test_server_sent_events_carry_the_same_messages_and_cursors(
    gateway: Gateway, producer: Producer
) -> None:
    user = new_user()
    await producer.send_many(postings(user, 6))

    async def read(client, count: int, **options):  # type: ignore[no-untyped-def]
        found, fields = [], {}
        async with client.stream("GET", "/api/sync/stream", **options) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                fields[name] = value
                if not line and "data" in fields:
                    body = orjson.loads(fields["data"])
                    assert body["kind"] == fields["event"]
                    assert body["cursor"] == fields["id"]
                    found.append(body)
                    fields = {}
                    if len(found) == count:
                        return found
        raise AssertionError("the stream ended")

    async with gateway.client(user) as client:
        first = await read(client, 3, params={"from": "earliest"})
        assert ids(first) == wanted(user, 3)
        resumed = {"Last-Event-ID": first[-1]["cursor"]}
        rest = await read(client, 4, headers=resumed, params={"from": "earliest"})
        assert ids(rest[:3]) == wanted(user, 6)[3:]
        assert rest[3]["kind"] == "live"
        async with gateway.tail(user, query=f"from={first[0]['cursor']}") as socket:
            assert ids((await until_live(socket))[0]) == wanted(user, 6)[1:]
        refused = await client.get("/api/sync/stream", params={"from": "nonsense"})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["path"] == "from"


async def closed(socket) -> tuple[int, str]:  # type: ignore[no-untyped-def]
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(60):
            while True:
                await socket.recv()
    return socket.close_code, socket.close_reason


async def test_refusals_close_with_a_code_after_the_handshake(gateway: Gateway) -> None:
    user = new_user()
    url = gateway.url.replace("http", "ws") + "/ws/sync"
    async with connect(url) as socket:
        assert (await closed(socket))[0] == 4401
    async with connect(f"{url}?token={token(user)}") as socket:
        assert (await closed(socket))[0] == 4401
    async with connect(url, additional_headers={"Authorization": "Bearer no.token.here"}) as socket:
        assert (await closed(socket))[0] == 4401
    other = {"Authorization": f"Bearer {token(user, tenant='elsewhere')}"}
    async with connect(url, additional_headers=other) as socket:
        assert (await closed(socket))[0] == 4403
    async with gateway.tail(user, query="from=nonsense") as socket:
        assert (await closed(socket))[0] == 4400
    async with gateway.tail(user, query="types=%24") as socket:
        assert (await closed(socket))[0] == 4400


async def test_a_cursor_is_bound_to_its_person_and_can_t_be_changed(gateway: Gateway) -> None:
    user = new_user()
    async with gateway.tail(user) as socket:
        cursor = (await message(socket))["cursor"]
    changed = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]
    async with gateway.tail(new_user(), query=f"from={cursor}") as socket:
        assert (await closed(socket))[0] == 4400
    async with gateway.tail(user, query=f"from={changed}") as socket:
        assert (await closed(socket))[0] == 4400


async def test_a_browser_gives_its_token_as_subprotocol(gateway: Gateway) -> None:
    url = gateway.url.replace("http", "ws") + "/ws/sync"
    protocol = f"bearer.{token(new_user())}"
    async with connect(url, subprotocols=["other", protocol]) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == protocol
        assert (await message(socket))["kind"] == "live"


async def test_an_expired_token_ends_the_connection(gateway: Gateway) -> None:
    import time

    url = gateway.url.replace("http", "ws") + "/ws/sync"
    short = token(new_user(), exp=int(time.time()) + 2)
    async with connect(url, additional_headers={"Authorization": f"Bearer {short}"}) as socket:
        assert (await message(socket))["kind"] == "live"
        assert (await closed(socket))[0] == 4401


async def test_too_long_a_url_is_answered(gateway: Gateway) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with gateway.tail(new_user(), query="from=" + "A" * 9_000):
            pass
    assert refused.value.response.status_code == 414


@pytest.mark.parametrize("scope", ["", "operator"])
async def test_a_slow_reader_is_closed_with_its_cursor_and_slows_nobody(
    stack: Stack, database: str, scope: str
) -> None:
    user, count = new_user(), 3_000
    small = {"queue_messages_max": 200, "ring_messages_max": 5_000}
    async with (
        running_gateway(stack, database, tail=small) as gateway,
        Producer(ProducerSettings(stack.kafka)) as producer,
        gateway.tail(user, *scope.split(), max_queue=1) as slow,
        gateway.tail(user) as quick,
    ):
        await message(slow)
        await message(quick)
        padding = "x" * 3_500
        seen: Sequence[dict] = []  # type: ignore[type-arg]
        for first in range(0, count, 100):
            drafts = [
                posted(str(n + 1), user=user, id=f"{user}-{n:05d}", description=padding)
                for n in range(first, first + 100)
            ]
            await producer.send_many(drafts)
            seen = [*seen, *(await events(quick, 100))]
        assert ids(seen) == wanted(user, count)
        read: list[str] = []
        with pytest.raises(ConnectionClosed):
            while True:
                found = await message(slow)
                read.append(found["event"]["id"])
        assert slow.close_code == 4008
        assert len(slow.close_reason.encode()) <= 123
        assert read == wanted(user, count)[: len(read)]
        assert len(read) < count
        query = f"from={slow.close_reason}"
        if scope:
            query += "&types=bfc.transaction.posted"
        async with gateway.tail(user, *scope.split(), query=query) as again:
            rest, _ = await until_live(again)
        mine = [each for each in ids(rest) if each.startswith(user)]
        assert read + mine == wanted(user, count)


async def test_heartbeats_carry_a_cursor_that_moves_on(stack: Stack, database: str) -> None:
    user = new_user()
    async with (
        running_gateway(stack, database, tail={"heartbeat_seconds": 0.2}) as gateway,
        Producer(ProducerSettings(stack.kafka, linger_ms=0)) as producer,
        gateway.tail(user, query="types=bfc.account.opened") as socket,
    ):
        live = await message(socket)
        await producer.send_many(postings(user, 50))
        async with asyncio.timeout(60):
            while True:
                beat = orjson.loads(await socket.recv())
                assert beat["kind"] == "heartbeat"
                if beat["cursor"] != live["cursor"]:
                    break


async def test_a_process_that_ends_says_so(stack: Stack, database: str) -> None:
    async with running_gateway(stack, database) as gateway:
        socket = await gateway.tail(new_user())
        await message(socket)
    assert (await closed(socket))[0] == 1012
