"""Load, witnesses and verdict on a system that nobody harms, and what they say of planted harm."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.local import tokens
from tests.e2e.system import System, whole_system
from tests.faults.load import BankingLoad
from tests.faults.parts import Target
from tests.faults.progress import Progress
from tests.faults.verdict import differences
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
