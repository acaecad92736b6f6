"""Parts that go away stay a local matter: problem details, `Retry-After`, and the rest works."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

import gateway.app
from compose.local import Stack, local_stack, state
from compose.local.service import await_gone, descendants
from gateway.tail.endpoint import BAD_REQUEST, RESTART
from projections.clickhouse.client import open_client
from projections.clickhouse.migrate import migrate
from schemas.limits import partitions_embedded
from streams.producer import ProducerSettings, SyncProducer
from streams.topics import ensure
from tests.builders import draft
from tests.gateway_running import Gateway, message, new_user, running_gateway, until_live


@pytest.fixture
def own_stack() -> Iterator[tuple[Stack, dict[str, int]]]:
    """A stack of this test's own, and the processes of its servers."""
    folder = Path(tempfile.mkdtemp(prefix="streams-away-"))
    try:
        with local_stack(folder) as stack:
            running = state.running(folder)
            assert running is not None
            yield stack, dict(running.pids)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def kill(pid: int) -> None:
    """SIGKILL; returns when the server is gone, with the processes that it had started.

    A PostgreSQL backend answers on until it notices that its parent is gone.
    """
    offspring = descendants(pid)
    os.kill(pid, signal.SIGKILL)
    await_gone([pid, *offspring])


def is_told_to_come_again(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert "Traceback" not in answer.text
    assert "Error" not in answer.json()["detail"]


async def test_each_part_that_is_away_is_named_and_the_rest_goes_on(
    own_stack: tuple[Stack, dict[str, int]],
) -> None:
    stack, pids = own_stack
    async with open_client(stack.clickhouse) as client:
        await migrate(client)
    user = new_user()
    step = {"sessionId": "s", "action": "a", "platform": "web"}
    async with (
        running_gateway(stack, stack.postgres) as gateway,
        gateway.client(user, "analyst") as client,
    ):
        assert (await client.get("/ready")).status_code == 200
        assert (await client.get("/api/analytics/funnel/onboarding")).status_code == 200

        kill(pids["clickhouse"])
        is_told_to_come_again(await client.get("/api/analytics/funnel/onboarding"))
        assert (await client.get("/api/wealth/net-worth")).status_code == 200

        kill(pids["postgres"])
        is_told_to_come_again(await client.get("/api/wealth/net-worth"))
        tracked = await client.post("/api/analytics/track", json=step)
        assert tracked.status_code == 202
        async with gateway.tail(user, query="from=earliest") as socket:
            assert (await message(socket))["event"]["data"]["action"] == "a"

        kill(pids["kafka"])
        is_told_to_come_again(await client.post("/api/analytics/track", json=step))
        down = await client.get("/ready")
        assert down.status_code == 503
        assert "up" not in down.json()["parts"].values()
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/api/sync/health")).json() == {"status": "degraded"}


@pytest.mark.parametrize(
    ("server", "path"),
    [
        ("postgres", "/api/wealth/net-worth"),
        ("clickhouse", "/api/analytics/funnel/onboarding"),
    ],
)
async def test_a_database_that_hangs_is_given_up_and_holds_up_nobody(
    own_stack: tuple[Stack, dict[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    path: str,
) -> None:
    stack, pids = own_stack
    monkeypatch.setattr(gateway.app, "ANSWER_SECONDS_MAX", 2.0)
    async with open_client(stack.clickhouse) as client:
        await migrate(client)
    step = {"sessionId": "s", "action": "a", "platform": "web"}
    async with (
        running_gateway(stack, stack.postgres) as running,
        running.client(new_user(), "analyst") as client,
    ):
        assert (await client.get(path)).status_code == 200
        frozen = [pids[server], *descendants(pids[server])]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            # More than the pool has connections: those that hang must not be all there are.
            answers = await asyncio.wait_for(
                asyncio.gather(*(client.get(path) for _ in range(15))), 60
            )
            for answer in answers:
                is_told_to_come_again(answer)
            for free in ("/health", "/openapi.json", "/docs"):
                assert (await client.get(free)).status_code == 200
            assert (await client.post("/api/analytics/track", json=step)).status_code == 202
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        async with asyncio.timeout(60):
            while True:
                if (await client.get(path)).status_code == 200:
                    break
                await asyncio.sleep(0.1)


async def test_a_cursor_of_another_log_is_refused(
    own_stack: tuple[Stack, dict[str, int]],
) -> None:
    stack, _ = own_stack
    user = new_user()
    async with (
        running_gateway(stack, stack.postgres) as gateway,
        gateway.client(user) as client,
    ):
        await track(client, 2)
        async with gateway.tail(user, query="from=earliest") as socket:
            cursor = (await message(socket))["cursor"]
        async with gateway.tail(user, query=f"from={cursor}") as socket:
            assert (await message(socket))["event"]["data"]["action"] == "a1"

        await asyncio.to_thread(stack.stop, "kafka", signal.SIGKILL)
        await asyncio.to_thread(stack.start, "kafka")
        await asyncio.to_thread(ensure, stack.kafka, partitions_embedded)
        # More than the old log had: its offsets exist here, but they are of other events.
        steps = [
            draft(
                "journey.step.recorded",
                {"session": "s", "action": f"a{number}", "platform": "web"},
                user=user,
            )
            for number in range(9)
        ]
        with SyncProducer(ProducerSettings(stack.kafka)) as producer:
            await asyncio.to_thread(producer.send_many, steps)
        assert await farewell(gateway, user, cursor) == BAD_REQUEST
        async with gateway.tail(user, query="from=earliest") as socket:
            events, _ = await until_live(socket)
        actions = [each["event"]["data"]["action"] for each in events]
        assert actions == [f"a{n}" for n in range(9)]


async def farewell(gateway: Gateway, user: str, cursor: str) -> int:
    """Why the tail from this cursor ends, other than that it begins anew."""
    async with asyncio.timeout(120):
        while True:
            with pytest.raises(ConnectionClosed) as closed:
                async with gateway.tail(user, query=f"from={cursor}") as socket:
                    while True:
                        await message(socket, 60)
            assert closed.value.rcvd is not None
            if closed.value.rcvd.code != RESTART:
                return closed.value.rcvd.code


async def track(client: httpx.AsyncClient, count: int) -> None:
    """So many steps of one session, once the gateway reads the log and takes them."""
    async with asyncio.timeout(60):
        await until(lambda: client.get("/ready"), 200)
        for number in range(count):
            step = {"sessionId": "s", "action": f"a{number}", "platform": "web"}
            await until(partial(client.post, "/api/analytics/track", json=step), 202)


async def until(ask: Callable[[], Awaitable[httpx.Response]], status: int) -> None:
    while True:
        if (await ask()).status_code == status:
            return
        await asyncio.sleep(0.1)
