"""The hub: an event is read when somebody who may see it listens, and not before."""

from __future__ import annotations

import pytest

from gateway.settings import TailSettings
from gateway.tail.hub import Ending, Hub
from gateway.tail.message import Message, Unread
from gateway.tail.selection import Selection
from schemas.codec import RawRecord
from schemas.registry import TYPES
from tests.builders import opened, posted, record_of, step, tick

#: One partition of each topic.
TOPIC_NAMES = ("bfc.ledger", "journeys", "market.prices")


class Listening:
    """A listener that keeps what it is offered."""

    def __init__(self, user_id: str, *, sees_all: bool = False, types: frozenset[str]) -> None:
        self.selection = Selection(user_id, sees_all, types)
        self.offered: list[int] = []

    def offer(self, message: Message) -> None:
        self.offered.append(message.offset)

    def end(self, ending: Ending) -> None:
        raise AssertionError(ending)


OWN = frozenset(name for name in TYPES if not name.startswith("market."))
MARKET = frozenset(TYPES) - OWN


@pytest.fixture
async def hub() -> Hub:
    made = Hub(TailSettings(ring_messages_max=100), "bfc")
    made.start(dict.fromkeys(TOPIC_NAMES, 1), {(name, 0): 0 for name in TOPIC_NAMES}, "a log")
    return made


def ledger(*users: str) -> list[RawRecord]:
    """A posting of each, one after the other; one of nobody is no event."""
    made = [record_of(posted(user=user), at, partitions=1) for at, user in enumerate(users)]
    return [
        record._replace(key=b"nobody", value=b"{") if user == "usr_nobody" else record
        for record, user in zip(made, users, strict=True)
    ]


def unread(hub: Hub) -> list[int]:
    return [each.offset for each in hub.ring(0, 100)[1] if isinstance(each, Unread)]


async def test_only_what_somebody_listens_to_is_read(hub: Hub) -> None:
    one = Listening("usr_1", types=OWN)
    hub.join(one)
    hub.publish(("bfc.ledger", 0), ledger("usr_2", "usr_1", "usr_nobody", "usr_1", "usr_2"))
    assert one.offered == [1, 3]
    assert unread(hub) == [0, 2, 4]
    assert hub.heads_of([("bfc.ledger", 0)]) == {("bfc.ledger", 0): 5}
    hub.leave(one)
    hub.publish(("bfc.ledger", 0), [record_of(opened(user="usr_1"), 5, partitions=1)])
    assert unread(hub) == [0, 2, 4, 5]


async def test_what_was_unread_is_read_in_its_place_and_what_is_no_event_is_left_out(
    hub: Hub,
) -> None:
    hub.join(Listening("usr_1", types=OWN))
    hub.publish(("bfc.ledger", 0), ledger("usr_2", "usr_1", "usr_nobody", "usr_1", "usr_2"))
    found = hub.reader.read(hub.ring(0, 100)[1])
    assert [(each.offset, each.user_id) for each in found] == [
        (0, "usr_2"),
        (1, "usr_1"),
        (3, "usr_1"),
        (4, "usr_2"),
    ]


async def test_the_market_is_read_for_who_asks_and_journeys_always(hub: Hub) -> None:
    prices = [record_of(tick(), 0, partitions=1), record_of(tick(), 1, partitions=1)]
    hub.join(Listening("usr_1", types=OWN))
    hub.publish(("market.prices", 0), prices[:1])
    assert unread(hub) == [0]
    market = Listening("usr_2", types=MARKET)
    hub.join(market)
    hub.publish(("market.prices", 0), prices[1:])
    hub.publish(("journeys", 0), [record_of(step("view", session="s", user="usr_3"), partitions=1)])
    assert market.offered == [1]
    assert unread(hub) == [0]
    assert hub.sessions.person("s") == "usr_3"


async def test_one_who_sees_all_has_all_read(hub: Hub) -> None:
    everything = Listening("usr_op", sees_all=True, types=frozenset(TYPES))
    hub.join(everything)
    hub.publish(("bfc.ledger", 0), ledger("usr_2", "usr_nobody", "usr_1"))
    assert everything.offered == [0, 2]
    assert unread(hub) == []


async def test_what_the_ring_lets_go_of_moves_the_floor(hub: Hub) -> None:
    hub.settings = TailSettings(ring_messages_max=2)
    hub.publish(("bfc.ledger", 0), ledger(*["usr_2"] * 5))
    assert unread(hub) == [3, 4]
    assert hub.covers({("bfc.ledger", 0): 3})
    assert not hub.covers({("bfc.ledger", 0): 2})


async def test_the_ring_is_bounded_by_all_that_a_record_holds(hub: Hub) -> None:
    """Also by what is in no value, and of records that are no events."""
    hub.settings = TailSettings(ring_bytes_max=10_000)
    held = b"x" * 4_000
    key = RawRecord("bfc.ledger", 0, 0, held, None, (), 0)
    header = RawRecord("bfc.ledger", 0, 0, None, None, (("name", held), ("null", None)), 0)
    for form in (key, header):
        start = hub.heads_of([("bfc.ledger", 0)])["bfc.ledger", 0]
        records = [form._replace(offset=start + number) for number in range(20)]
        hub.publish(("bfc.ledger", 0), records)
        assert unread(hub) == [start + 18, start + 19]
