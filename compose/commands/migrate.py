"""`streams migrate`: bring both databases to what this version needs."""

from __future__ import annotations

import asyncio

from compose.errors import CommandError
from compose.settings import Settings, read_settings


def migrate() -> None:
    """Apply what is missing of the migrations; safe to repeat, and when two start at once."""
    from projections.postgres.migrate import MigrationChanged
    from projections.store import Unavailable

    settings = read_settings()
    try:
        applied = asyncio.run(run_migrations(settings))
    except (Unavailable, MigrationChanged) as error:
        raise CommandError(str(error)) from None
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("nothing to do")


async def run_migrations(settings: Settings) -> list[str]:
    """Apply the migrations of PostgreSQL, then ClickHouse's; returns what was applied."""
    from projections.clickhouse.client import open_client
    from projections.clickhouse.migrate import migrate as migrate_clickhouse
    from projections.postgres.migrate import migrate as migrate_postgres
    from projections.postgres.pool import open_pool

    async with open_pool(settings.postgres, size_max=1, name="streams migrate") as pool:
        applied = await migrate_postgres(pool)
    async with open_client(settings.clickhouse, name="streams migrate") as client:
        return applied + await migrate_clickhouse(client)
