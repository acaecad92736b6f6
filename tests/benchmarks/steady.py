"""Traffic whose proportions are the same however long it goes on and however many people there
are: what is needed to see what history, people and rules cost.

The proportions are about those of `streams simulate`. A person does something once in an hour on
average, so that few events of a person lie within seconds of each other, as in life.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from schemas.envelope import Draft
from tests.benchmarks.traffic import Record, record_of

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000

SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT", "FB")
SEED = 7

#: Placeholders that are valid where they stand, and what they become.
_NUMBER, _OTHER, _SERIAL = "4040404", "5050505", "6060606"
_AMOUNT, _ID, _TIME = "7070707.07", "80808080", "2024-01-01T00:00:00.000Z"
_PLACES = (
    (_NUMBER, b"%(person)d"),
    (_OTHER, b"%(other)d"),
    (_SERIAL, b"%(serial)d"),
    (_AMOUNT, b"%(amount)b"),
    (_ID, b"%(id)b"),
    (_TIME, b"%(time)b"),
)


class Form:
    """One kind of event as a format, made of what our codec encodes."""

    def __init__(self, kind: str, data: dict[str, Any], subject: str, user: bool = True) -> None:
        draft = Draft(
            type=kind,
            source="/" + kind.partition(".")[0],
            data=data,
            user_id=f"usr_{_NUMBER}" if user else None,
            subject=subject,
            time=BEGIN,
            id=_ID,
        )
        record = record_of(draft)
        self.topic = record.topic
        self._value, self._key = _format(record.value), _format(record.key or b"")

    def fill(self, given: dict[bytes, Any]) -> Record:
        """The event with these in its places."""
        return Record(self.topic, self._key % given, self._value % given)


def _format(text: bytes) -> bytes:
    text = text.replace(b"%", b"%%")
    for found, place in _PLACES:
        text = text.replace(found.encode(), place)
    return text


_ACCOUNT, _TRADING = f"acc_{_NUMBER}", f"vy_{_NUMBER}"
_TRANSFER, _ORDER = f"trf_{_SERIAL}", f"ord_{_SERIAL}"


def _posting(direction: str, category: str, **more: str) -> Form:
    data = {
        "transaction": f"txn_{_SERIAL}",
        "account": _ACCOUNT,
        "direction": direction,
        "amount": _AMOUNT,
        "currency": "INR",
        "status": "posted",
        "category": category,
        **more,
    }
    return Form("bfc.transaction.posted.v1", data, _ACCOUNT)


def _transfer(step: str) -> Form:
    data = {
        "transfer": _TRANSFER,
        "fromAccount": _ACCOUNT,
        "toAccount": f"acc_{_OTHER}",
        "amount": _AMOUNT,
        "currency": "INR",
        "rail": "upi",
        "reference": "Rent share",
    }
    return Form(f"bfc.transfer.{step}.v1", data, _TRANSFER)


def _order(step: str, symbol: str) -> Form:
    data = {
        "order": _ORDER,
        "symbol": symbol,
        "side": "buy",
        "kind": "market",
        "quantity": "3",
        "account": _TRADING,
    }
    return Form(f"vyomo.order.{step}.v1", data, _ORDER)


def _trade(symbol: str) -> Form:
    data = {
        "trade": f"trd_{_SERIAL}",
        "order": _ORDER,
        "account": _TRADING,
        "symbol": symbol,
        "instrument": "equity",
        "side": "buy",
        "quantity": "3",
        "price": _AMOUNT,
        "currency": "USD",
        "fee": "1.20",
    }
    return Form("vyomo.trade.executed.v1", data, _TRADING)


def _tick(symbol: str) -> Form:
    data = {"symbol": symbol, "price": _AMOUNT, "currency": "USD", "venue": "XNAS"}
    return Form("market.price.ticked.v1", data, symbol, user=False)


def _step(action: str) -> Form:
    session = f"sess_{_SERIAL}"
    data = {"session": session, "action": action, "page": f"/{action}", "platform": "web"}
    return Form("journey.step.recorded.v1", data, session)


def _acts() -> list[tuple[Form, ...]]:
    """What people do, as often in this list as among a hundred acts; some are several events."""
    transfer = (
        _transfer("initiated"),
        _transfer("authenticated"),
        _transfer("completed"),
        _posting("debit", "transfer", transfer=_TRANSFER),
    )
    bought = [(_order("placed", s), _order("confirmed", s), _trade(s)) for s in SYMBOLS[:2]]
    acts: list[tuple[Form, ...]] = []
    for category in ("groceries", "restaurant", "transport", "utilities", "shopping"):
        posting = _posting("debit", category, merchant=category.title(), mcc="5411")
        acts += [(posting,)] * 12
    acts += [(_posting("credit", "salary", description="Salary"),)] * 6
    acts += [(_step(action),) for action in ("view_dashboard", "view_market", "view_rules")] * 7
    acts += [transfer] * 6
    acts += bought
    acts += [(_tick(symbol),) for symbol in SYMBOLS[:4]]
    acts += [(Form("app.notifications.read.v1", {}, f"usr_{_NUMBER}"),)]
    return acts


class Steady:
    """An endless stream of what people do; each call of `records` goes on where it was."""

    def __init__(self, people: int) -> None:
        self._people = people
        self._random = Random(SEED)
        self._serial = 0
        self._stream = self._endless()

    def openings(self) -> Iterator[Record]:
        """An account for everybody."""
        form = Form(
            "bfc.account.opened.v1",
            {"account": _ACCOUNT, "kind": "savings", "currency": "INR", "name": "Savings",
             "institution": "BFC Bank", "country": "IN", "openingBalance": "1000.00"},
            _ACCOUNT,
        )  # fmt: skip
        for person in range(self._people):
            yield self._filled(form, person, person)

    def records(self, count: int) -> Iterator[Record]:
        """So many events more."""
        for _ in range(count):
            yield next(self._stream)

    def holdings(self, symbol: str, holders: int) -> Iterator[Record]:
        """So many people buy a symbol."""
        form = _trade(symbol)
        for person in range(holders):
            yield self._filled(form, person, person)

    def ticks(self, symbol: str, count: int) -> Iterator[Record]:
        """So many prices of a symbol."""
        form = _tick(symbol)
        for _ in range(count):
            yield self._filled(form, 0, 0)

    def _endless(self) -> Iterator[Record]:
        acts, chance = _acts(), self._random
        while True:
            chance.shuffle(acts)
            for act in acts:
                person, other = chance.randrange(self._people), chance.randrange(self._people)
                serial = self._serial
                for form in act:
                    yield self._filled(form, person, other, serial)

    def _filled(self, form: Form, person: int, other: int, serial: int | None = None) -> Record:
        self._serial = number = self._serial + 1
        milliseconds = number * HOUR_MS // self._people
        moment = BEGIN + timedelta(milliseconds=milliseconds)
        at = int(moment.timestamp() * 1000)
        return form.fill(
            {
                b"person": person,
                b"other": other,
                b"serial": number if serial is None else serial,
                b"amount": b"%d.%02d" % (number * 7919 % 900 + 1, number % 100),
                b"id": b"%08x-%04x-7000-8000-%012x" % (at >> 16, at & 0xFFFF, number),
                b"time": moment.isoformat(timespec="milliseconds")[:23].encode() + b"Z",
            }
        )
