"""What people, banks and feeds append in one history: good, repeated, late, odd and unreadable."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from projections.notifications.projection import SOURCES
from schemas.envelope import Draft, key_of, topic_of
from schemas.topics import partition_of
from tests.builders import draft, opened, posted, step
from tests.simulation.log import Log
from tests.totals import RAISES, REFUSED, TOO_LONG

USERS = ("usr_1", "usr_2", "usr_3", "usr_5")
ACCOUNTS = ("acc_1", "acc_2")

#: Partitions of each topic that is used.
PARTITIONS = 2
TOPICS = (
    "app.commands",
    "bfc.ledger",
    "bfc.transfers",
    "journeys",
    "actions",
    "notifications",
    "dead-letters",
)

Act = Callable[[], None]


class Load:
    """Appends to a log; each act is one moment."""

    def __init__(self, chance: random.Random, log: Log, clock: Callable[[], datetime]) -> None:
        self._chance = chance
        self._log = log
        self._clock = clock
        self._count = 0
        self._sent: list[Draft] = []
        self._refused: list[Draft] = []
        #: Commands whose effect is named already and that are not in the log yet.
        self._accepted: list[Draft] = []
        self._kinds: list[tuple[Act, float]] = [
            (self._post, 10),
            (self._post_large, 4),
            (self._post_odd, 3),
            (self._repeat, 5),
            (self._repeat_for_another, 1),
            (self._correct, 1.5),
            (self._unreadable, 1),
            (self._step, 1),
            (self._fail_transfer, 4),
            (self._open, 1),
            (self._prefer, 2),
            (self._skip, 1),
        ]

    def acts(self, count: int) -> Iterator[Act]:
        acts, weights = zip(*self._kinds, strict=True)
        for act in self._chance.choices(acts, weights, k=count):
            accepted, self._accepted = self._accepted, []
            yield act
            for command in accepted:
                self._send(command)

    def _send(self, made: Draft) -> None:
        self._sent.append(made)
        self._log.produce(made)

    def _post(self, amount: str | None = None) -> Draft:
        chance = self._chance
        self._count += 1
        made = posted(
            amount or str(chance.randint(1, 600)),
            chance.choice(("credit", "debit")),
            chance.choice(ACCOUNTS),
            user=chance.choice(USERS),
            id=f"e{self._count}",
            transaction=f"t{self._count}",
            time=self._time(),
        )
        self._send(made)
        return made

    def _post_large(self) -> None:
        self._post(str(self._chance.randint(1001, 5000)))

    def _post_odd(self) -> None:
        self._refused.append(self._post(str(self._chance.choice((REFUSED, RAISES, TOO_LONG)))))

    def _repeat(self) -> None:
        """A producer that was not sure."""
        if self._sent:
            self._log.produce(self._chance.choice(self._sent[-6:]))

    def _repeat_for_another(self) -> None:
        """The same source and id in another partition: whichever is judged first takes effect."""
        # Not of what is refused: whether that is mended by one in another partition depends on
        # which of the two partitions is folded first.
        sent = [made for made in self._sent[-6:] if made not in self._refused]
        if sent:
            again = self._chance.choice(sent)
            self._log.produce(_of(again, self._chance.choice(USERS)))

    def _correct(self) -> None:
        """A refused event comes again, mended: its id was not used up."""
        if self._refused:
            bad = self._chance.choice(self._refused)
            data = dict(bad.data) | {"amount": str(self._chance.choice((25, 1500)))}
            self._log.produce(_with(bad, data))

    def _unreadable(self) -> None:
        user = self._chance.choice(USERS)
        place = partition_of(user.encode(), PARTITIONS)
        if self._sent and self._chance.random() < 0.5:
            self._log.produce(self._sent[-1], partition=1 - _partition(self._sent[-1]))
        else:
            value = self._chance.choice((None, b"", b"{", b"\xff", b'{"id": 1}'))
            self._log.append("bfc.ledger", user.encode(), value, partition=place)

    def _step(self) -> None:
        self._count += 1
        user = self._chance.choice(USERS)
        self._send(step("looked", user=user, id=f"e{self._count}", time=self._time()))

    def _fail_transfer(self) -> None:
        self._count += 1
        data = {
            "transfer": f"tr_{self._count}",
            "fromAccount": "acc_1",
            "toAccount": "acc_2",
            "amount": "15.00",
            "currency": "INR",
        }
        user = self._chance.choice(USERS)
        kind = self._chance.choice(("failed", "completed"))
        self._send(
            draft(f"bfc.transfer.{kind}", data, user=user, id=f"e{self._count}", time=self._time())
        )

    def _open(self) -> None:
        self._count += 1
        account, user = self._chance.choice(ACCOUNTS), self._chance.choice(USERS)
        self._send(opened(account, user=user, id=f"e{self._count}", time=self._time()))

    def _prefer(self) -> None:
        """A person chooses; the gateway names where the choice begins, and then appends it.

        What comes in between may be folded before or after it, and must not notice.
        """
        chance, user = self._chance, self._chance.choice(USERS)
        number = partition_of(user.encode(), PARTITIONS)
        ends = self._log.ends
        data = {
            "preferences": {
                "timezone": "Asia/Kolkata",
                "largeDebit": {"INR": str(chance.choice((100, 500, 2000)))},
                "categories": {
                    name: {"delivery": chance.choice(("immediate", "hourly"))}
                    for name in ("transaction", "transfer", "account")
                },
            },
            "effective": {
                f"{topic}:{number}": end
                for topic in SOURCES
                if (end := ends.get((topic, number))) is not None  # type: ignore[call-overload]
            },
        }
        self._count += 1
        name = "app.preferences.changed"
        made = draft(name, data, user=user, id=f"e{self._count}", time=self._clock())
        self._accepted.append(made)

    def _skip(self) -> None:
        """Markers of other producers' transactions."""
        self._log.skip([self._chance.choice(self._log.places())], most=4)

    def _time(self) -> datetime:
        """When it happened: now, or some time ago, in another month too."""
        if self._chance.random() < 0.8:
            return self._clock()
        return self._clock() - timedelta(seconds=self._chance.choice((3, 600, 4000, 2_000_000)))


def _partition(made: Draft) -> int:
    return partition_of(key_of(made), PARTITIONS)


def _of(made: Draft, user: str) -> Draft:
    return _changed(made, user_id=user)


def _with(made: Draft, data: Mapping[str, Any]) -> Draft:
    return _changed(made, data=data)


def _changed(made: Draft, **changes: Any) -> Draft:
    return msgspec.structs.replace(made, **changes)


assert all(topic in TOPICS for topic in (topic_of(opened()).name, "app.commands"))
