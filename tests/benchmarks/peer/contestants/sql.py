"""The statements of those who write batches; `{}` is where a value goes."""

TRANSACTION_COLUMNS = (
    "event_id",
    "user_id",
    "account_id",
    "happened_at",
    "amount",
    "currency",
    "category",
    "merchant",
    "balance_after",
)

#: Rows of several statements meet: whoever comes second waits, and then finds them moved.
LOCK = """
select partition, next_offset from peer_checkpoints
where topic = {} and partition = any({}::int[]) order by partition for update
"""

POSITIONS = "select partition, next_offset from peer_checkpoints where topic = {}"

MOVE = """
update peer_checkpoints c set next_offset = u.next_offset
from unnest({}::int[], {}::bigint[]) as u(partition, next_offset)
where c.topic = {} and c.partition = u.partition
"""

ACCOUNTS = """
insert into peer_accounts (account_id, balance, currency, updated_at, last_event_id)
select * from unnest({}::text[], {}::numeric[], {}::text[], {}::timestamptz[], {}::uuid[])
on conflict (account_id) do update set balance = excluded.balance, currency = excluded.currency,
    updated_at = excluded.updated_at, last_event_id = excluded.last_event_id
"""

TOTALS = """
insert into peer_totals as t (user_id, month, category, total, entries)
select * from unnest({}::text[], {}::date[], {}::text[], {}::numeric[], {}::bigint[])
on conflict (user_id, month, category)
do update set total = t.total + excluded.total, entries = t.entries + excluded.entries
"""


def numbered(statement: str) -> str:
    """With `$1`, `$2`, as asyncpg takes them."""
    parts = statement.split("{}")
    return "".join(f"{part}${number}" for number, part in enumerate(parts[:-1], 1)) + parts[-1]


def formatted(statement: str) -> str:
    """With `%s`, as psycopg takes them."""
    return statement.replace("{}", "%s")
