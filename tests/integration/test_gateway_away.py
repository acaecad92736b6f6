"""Parts that go away stay a local matter: problem details, `Retry-After`, and the rest works."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from compose.local import Stack, local_stack, state
from compose.local.service import await_gone, descendants
from projections.clickhouse.client import open_client
from projections.clickhouse.migrate import migrate
from tests.gateway_running import message, new_user, running_gateway


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
