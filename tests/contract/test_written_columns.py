"""Rows that are written by columns are those that are written one by one, and both together."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from projections.batch import Move, Partition
from projections.columnar import Inexact, sums_of
from projections.memory import MemoryStore
from projections.postgres import array_text
from projections.postgres.group import merged
from projections.postgres.pool import Pool, acquire
from projections.postgres.store import PostgresStore
from projections.rows import Changes, NotLoaded, Rows
from projections.store import Commit, RowsRefused
from projections.tables import Row, Table, Want

PLACE = Partition("t", 0)
#: What texts of arrays, of copies and of CSV could be confused with.
TEXTS = (
    "",
    "a",
    "NULL",
    "null",
    '"',
    "\\",
    '\\"',
    "a,b",
    "{}",
    "{a}",
    " b ",
    "\n",
    "\t",
    "é✓",
    "\\N",
)


class Line(Row, frozen=True):
    number: int
    amount: Decimal | None
    at: datetime | None
    day: date | None
    is_open: bool | None
    note: str | None


class Latest(Line, frozen=True):
    user_id: str


class Sum(Row, frozen=True):
    user_id: str
    day: date
    total: Decimal
    entries: int


LATEST = Table("latest", Latest, key=("user_id", "number"), unit=1)
SUMS = Table("sums", Sum, key=("user_id", "day"), unit=2, sums=("total", "entries"))
LINES = Table("lines", Line, key=("number",), unit=1, appended=True)
TABLES = (LATEST, SUMS, LINES)
DDL = """
create table latest (user_id text, number bigint, amount numeric, at timestamptz, day date,
    is_open boolean, note text, primary key (user_id, number));
create table sums (user_id text, day date, total numeric, entries bigint,
    primary key (user_id, day));
create table lines (number bigint primary key, amount numeric, at timestamptz, day date,
    is_open boolean, note text);
"""


@pytest.fixture
async def pool(pool: Pool) -> Pool:
    async with acquire(pool) as connection:
        await connection.execute(DDL)
    return pool


class Chance:
    """Rows as they come; columns of one part have the same number of decimals, as Arrow's have."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._line = 1000 * seed
        #: How much comes by columns: in some commits all of it.
        self._share = self._rng.choice((0.6, 1.0))

    def users(self) -> list[str]:
        return self._rng.sample(TEXTS, self._rng.randrange(1, 5))

    def decimals(self) -> int:
        return self._rng.randrange(0, 7)

    def is_by_columns(self) -> bool:
        return self._rng.random() < self._share

    def latest(self, user: str, decimals: int) -> Latest:
        return Latest(self._rng.randrange(3), *self._values(decimals), user)

    def sum(self, user: str, decimals: int) -> Sum:
        day = date(2026, 1, self._rng.randrange(1, 4))
        return Sum(user, day, self._amount(decimals), self._rng.randrange(5))

    def line(self, _user: str, decimals: int) -> Line:
        self._line += 1
        return Line(self._line, *self._values(decimals))

    def _amount(self, decimals: int) -> Decimal:
        return Decimal(self._rng.randrange(-(10**9), 10**9)).scaleb(-decimals)

    def _values(self, decimals: int) -> tuple[Any, ...]:
        rng = self._rng
        at = datetime(1999, 12, 31, tzinfo=UTC) + timedelta(microseconds=rng.randrange(10**15))
        values = self._amount(decimals), at, at.date(), rng.random() < 0.5, rng.choice(TEXTS)
        return tuple(None if rng.random() < 0.2 else value for value in values)


def columns_of(table: Table[Any], rows: Sequence[Row]) -> pa.Table:
    """The rows as a fold by columns would have them."""
    columns = {}
    for column in table.columns:
        values = [getattr(row, column.name) for row in rows]
        columns[column.name] = pa.array(values, _type(column, rows))
    return pa.table(columns)


def _type(column: Any, rows: Sequence[Row]) -> pa.DataType:
    if column.sql_type == "numeric":
        values = [value for row in rows if (value := getattr(row, column.name)) is not None]
        return pa.decimal128(30, max((-v.as_tuple().exponent for v in values), default=0))
    return {
        "text": pa.string(),
        "bigint": pa.int64(),
        "timestamptz": pa.timestamp("us", "UTC"),
        "date": pa.date32(),
        "boolean": pa.bool_(),
    }[column.sql_type]


def write(rows: Rows, table: Table[Any], written: Sequence[Row], *, by_columns: bool) -> None:
    if by_columns:
        rows.write(table, columns_of(table, written))
    else:
        rows.unfold()
        change = rows.add if table.sums else rows.append if table.appended else rows.put
        for row in written:
            change(table, row)
    rows.accept()


def fold(rows: Rows, seed: int, *, columns: bool) -> None:
    """Some slices' worth of changes; the same rows whether by columns or not."""
    chance = Chance(seed)
    for _ in range(6):
        decimals, users = chance.decimals(), chance.users()
        by_columns = chance.is_by_columns() and columns
        for table, make in ((LATEST, chance.latest), (SUMS, chance.sum), (LINES, chance.line)):
            write(rows, table, [make(user, decimals) for user in users], by_columns=by_columns)


def changes_of(seed: int, *, columns: bool) -> Changes:
    rows = Rows()
    fold(rows, seed, columns=columns)
    return rows.changes


async def committed(store: Any, changes: Sequence[Changes]) -> None:
    owned = await store.take("p", [PLACE])
    for at, each in enumerate(changes):
        move = Move(*PLACE, at, at + 1, owned[PLACE].epoch)
        await store.commit(Commit("p", 1, (move,), each))


async def wanted(seeds: Sequence[int]) -> dict[str, list[Row]]:
    store = MemoryStore()
    await committed(store, [changes_of(seed, columns=False) for seed in seeds])
    return {table.name: store.table(table) for table in TABLES}


async def kept(pool: Pool) -> dict[str, list[Row]]:
    found = {}
    for table in TABLES:
        records = await pool.fetch(f"select * from {table.name}")
        rows: list[Row] = [table.row(**dict(record)) for record in records]
        found[table.name] = sorted(rows, key=table.key_of)
    return found


@pytest.mark.parametrize("turn", range(8))
async def test_postgres_has_the_same_rows(pool: Pool, turn: int) -> None:
    seeds = range(10 * turn, 10 * turn + 6)
    changes = [changes_of(seed, columns=True) for seed in seeds]
    assert any(table in each.columns for each in changes for table in (LATEST, SUMS))
    await committed(PostgresStore(pool), changes)
    assert await kept(pool) == await wanted(seeds)


@pytest.mark.parametrize("turn", range(8))
async def test_what_goes_in_one_transaction_is_the_same(pool: Pool, turn: int) -> None:
    seeds = range(10 * turn, 10 * turn + 6)
    whole = merged([changes_of(seed, columns=True) for seed in seeds])
    await committed(PostgresStore(pool), [whole])
    assert await kept(pool) == await wanted(seeds)


async def test_a_fold_event_by_event_sees_what_was_written_by_columns() -> None:
    rows = Rows()
    old, new, other = (Latest(number, *[None] * 4, note, "u") for number, note in NOTES)
    rows.load(Want(LATEST, ("u",)), [old, other])
    rows.write(LATEST, columns_of(LATEST, [new]))
    rows.accept()
    rows.unfold()
    assert rows.get(LATEST, "u", 1) == new
    with pytest.raises(NotLoaded):
        rows.find(LATEST, "u")
    rows.load(Want(LATEST, ("u",)), [old, other])
    assert rows.find(LATEST, "u") == [new, other]


#: Of one person: a row, what takes its place, and another one.
NOTES = ((1, "old"), (1, "new"), (2, "other"))


async def test_a_sum_that_arrow_could_not_hold_is_exact(pool: Pool) -> None:
    most = Decimal("9" * 25 + "." + "9" * 5)
    parts = [columns_of(SUMS, [Sum("u", date(2026, 1, 1), most, 1)]) for _ in range(20)]
    parts.append(columns_of(SUMS, [Sum("u", date(2026, 1, 1), Decimal("1E-20"), 1)]))
    await committed(PostgresStore(pool), [Changes(columns={SUMS: parts})])
    (total,) = (await kept(pool))["sums"]
    exact = Decimal("199999999999999999999999999.99980000000000000001")
    assert total == Sum("u", date(2026, 1, 1), exact, 21)


async def test_whole_numbers_are_never_cut_off(pool: Pool) -> None:
    """A sum that no column holds is refused, as it is when it comes row by row."""
    day = date(2026, 1, 1)
    parts = [columns_of(SUMS, [Sum("u", day, Decimal(1), 2**62)]) for _ in range(2)]
    with pytest.raises(RowsRefused):
        await committed(PostgresStore(pool), [Changes(columns={SUMS: parts})])
    table = columns_of(SUMS, [Sum("u", day, Decimal(1), 2**62), Sum("u", day, Decimal(1), 2**62)])
    with pytest.raises(Inexact):
        sums_of(table, ("user_id",), "entries")


@pytest.mark.parametrize("seed", range(4))
async def test_arrays_of_texts_are_read_as_they_were_written(pool: Pool, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        texts = ["".join(rng.choices(TEXTS, k=3)) for _ in range(rng.randrange(5))]
        with_null = [*texts, None]
        for given in (texts, with_null):
            found = await pool.fetchval("select $1::text::text[]", array_text.of_texts(given))
            assert found == given
            column = pa.chunked_array([pa.array(given, pa.string())])
            assert array_text.of_column(column) == array_text.of_texts(given)


@pytest.mark.parametrize("text", ["a\0b", "\0", "\ud800"])
async def test_a_text_that_postgres_cannot_hold_is_refused(pool: Pool, text: str) -> None:
    rows = Rows()
    for user in ("u", "v"):
        rows.put(LATEST, Latest(1, *[None] * 4, text, user))
    rows.accept()
    with pytest.raises(RowsRefused):
        await committed(PostgresStore(pool), [rows.changes])
