"""Net worth in Postgres: the rows that memory has, and the view that an independent reader has."""

from __future__ import annotations

from datetime import UTC, date, datetime
from random import Random
from string import ascii_letters, digits
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from projections.memory import apply_to
from projections.net_worth import tables, view
from projections.net_worth.projection import NetWorth
from projections.postgres.index import PostgresIndex
from projections.postgres.pool import Pool, acquire
from projections.postgres.statements import row_of
from projections.postgres.store import PostgresStore
from projections.projector import Projector
from schemas.envelope import Draft
from schemas.errors import Invalid
from schemas.topics import TOPICS
from tests.builders import draft, events_of, fixing, opened, posted, tick, trade
from tests.net_worth_memory import DAYS, USERS, by_partition, folded, logged, rows_of, worlds
from tests.reference_net_worth import net_worth

#: What a world leaves behind in the database.
_STATE = [
    *(table.name for table in tables.TABLES),
    *("checkpoints", "first_positions", "dead_letters", "outbox"),
]


async def _fold(pool: Pool, drafts: list[Draft]) -> None:
    projector = Projector(NetWorth(), PostgresStore(pool))
    index = await PostgresIndex.open(pool, list(TOPICS))
    for events in by_partition(events_of(drafts)).values():
        # Two batches, so that the second one meets rows that were written and read back.
        half = len(events) // 2
        await apply_to(projector, events[:half], index)  # type: ignore[arg-type]
        await apply_to(projector, events[half:], index)  # type: ignore[arg-type]


async def _rows(pool: Pool) -> dict[str, list[Any]]:
    found = {}
    async with acquire(pool) as connection:
        for table in tables.TABLES:
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            records = await connection.fetch(f"select {columns} from {table.name}")
            found[table.name] = sorted(
                (row_of(table, record) for record in records), key=table.key_of
            )
    return found


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drafts=worlds)
async def test_postgres_has_the_rows_of_memory_and_answers_as_the_log_says(
    pool: Pool, drafts: list[Draft]
) -> None:
    async with acquire(pool) as connection:
        await connection.execute(f"truncate {', '.join(_STATE)}")
    await _fold(pool, drafts)
    assert await _rows(pool) == rows_of(await folded(drafts))
    events = logged(drafts)
    today = datetime.now(UTC).date().isoformat()
    async with acquire(pool) as connection:
        for user_id in USERS:
            for day in DAYS:
                as_of = day and day.isoformat()
                expected = net_worth(events, user_id, None, as_of, today=today)
                assert await view.net_worth(connection, user_id, None, day) == expected


async def test_the_answer_has_the_shape_of_the_contract(pool: Pool) -> None:
    vyomo = {
        "account": "vy_1",
        "kind": "trading",
        "currency": "USD",
        "name": "Trading",
        "institution": "Vyomo",
        "country": "US",
        "holdsCash": True,
        "openingBalance": "2000",
    }
    await _fold(
        pool,
        [
            opened("acc_9f2", "INR", openingBalance="1000.00", time="2026-01-01T00:00:00Z"),
            opened("acc_mn", "MNT", openingBalance="5", time="2026-01-02T00:00:00Z"),
            draft("vyomo.account.opened", vyomo, time="2026-01-03T00:00:00Z"),
            trade(fee="1.20", time="2026-01-04T00:00:00Z"),
            trade(symbol="XYZ", quantity="1", price="1", time="2026-01-04T00:00:00Z"),
            fixing(rate="80", time="2026-01-05T00:00:00Z"),
            tick(time="2026-01-05T12:00:00.5Z"),
            posted("500", "debit", "acc_9f2", time="2026-02-01T00:00:00Z"),
        ],
    )
    async with acquire(pool) as connection:
        answer = await view.net_worth(connection, "usr_17", None, date(2026, 1, 31))
    accounts, positions = answer.pop("accounts"), answer.pop("positions")
    assert answer == {
        "userId": "usr_17",
        "currency": "INR",
        "asOf": "2026-01-31",
        "netWorth": "190584.00",
        "assets": "190584.00",
        "liabilities": "0.00",
        "byCategory": {"cash": "39824.00", "equities": "149760.00", "savings": "1000.00"},
        "byPlatform": {"bfc": "1000.00", "vyomo": "189584.00"},
        "byCurrency": [
            {"currency": "INR", "native": "1000.00", "value": "1000.00"},
            {"currency": "MNT", "native": "5.00", "value": None},
            {"currency": "USD", "native": "2369.80", "value": "189584.00"},
        ],
        "missing": [
            {"kind": "fx", "base": "MNT", "quote": "INR"},
            {"kind": "price", "symbol": "XYZ"},
        ],
    }
    assert accounts[0] == {
        "account": "acc_9f2",
        "platform": "bfc",
        "kind": "savings",
        "category": "savings",
        "name": "Everyday",
        "balance": {"amount": "1000.00", "currency": "INR"},
        "value": "1000.00",
    }
    assert positions[0] == {
        "account": "vy_1",
        "symbol": "AAPL",
        "instrument": "equity",
        "category": "equities",
        "quantity": "10",
        "averageCost": "150",
        "price": "187.20",
        "priceTime": "2026-01-05T12:00:00.500Z",
        "currency": "USD",
        "marketValue": "1872.00",
        "value": "149760.00",
        "unrealised": "372.00",
        "realised": "0.00",
        "dividends": "0.00",
        "fees": "1.20",
    }


async def test_somebody_unknown_has_nothing(pool: Pool) -> None:
    async with acquire(pool) as connection:
        answer = await view.net_worth(connection, "nobody", preferred="JPY")
        assert answer["currency"] == "JPY"
        assert answer["netWorth"] == answer["assets"] == answer["liabilities"] == "0"
        assert answer["accounts"] == answer["positions"] == answer["missing"] == []
        assert (await view.net_worth(connection, "nobody"))["netWorth"] == "0.00"
        assert (await view.net_worth(connection, "nobody", "EUR"))["currency"] == "EUR"
        far = await view.net_worth(connection, "nobody", as_of=date.max)
        assert far["asOf"] == "9999-12-31"
        with pytest.raises(Invalid):
            await view.net_worth(connection, "nobody", "XAU")


async def test_the_base_currency_is_asked_for_or_preferred_or_the_first_accounts(
    pool: Pool,
) -> None:
    await _fold(
        pool,
        [
            opened("acc_late", "INR", time="2026-01-02T00:00:00Z"),
            opened("acc_first", "AUD", time="2026-01-01T00:00:00Z"),
        ],
    )
    async with acquire(pool) as connection:
        assert (await view.net_worth(connection, "usr_17"))["currency"] == "AUD"
        preferred = await view.net_worth(connection, "usr_17", preferred="USD")
        assert preferred["currency"] == "USD"
        asked = await view.net_worth(connection, "usr_17", "EUR", preferred="USD")
        assert asked["currency"] == "EUR"


async def test_a_name_too_long_for_an_index_is_a_dead_letter_and_stops_nothing(
    pool: Pool,
) -> None:
    # Random, since Postgres would compress a repeated letter to fit.
    long_name = "".join(Random(1).choices(ascii_letters + digits, k=4000))
    await _fold(pool, [posted(), posted(account=long_name), posted()])
    async with acquire(pool) as connection:
        reasons = await connection.fetch("select reason from dead_letters")
        answer = await view.net_worth(connection, "usr_17")
    assert ["index" in row["reason"] for row in reasons] == [True]
    assert answer["netWorth"] == "200.00"


async def test_the_owners_of_accounts(pool: Pool) -> None:
    await _fold(pool, [opened("acc_a"), opened("acc_a", user="usr_18"), posted(account="acc_b")])
    async with acquire(pool) as connection:
        found = await view.owners(connection, ["acc_a", "acc_b", "acc_c"])
    assert found == {"acc_a": {"usr_17", "usr_18"}}
