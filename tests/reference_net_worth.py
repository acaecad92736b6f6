"""Net worth told a second time: plain Python over the events as they lie in the log.

Written from the contract's text (§4 and §7) and from nothing else; it shares no code with the
projections. It keeps no state between questions: for every answer it goes through all events
again, slowly and obviously. It takes valid events only, as an accepting reader of the log has
them, and account updates that an account can take.

    events = [Logged(topic, partition, offset, json.loads(value)), ...]   # any order
    net_worth(events, "usr_17", currency="INR", as_of="2026-01-31")
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from tests.reference_positions import Holding


class Logged(NamedTuple):
    """One valid event of the log: where it lies, and the CloudEvent as parsed JSON."""

    topic: str
    partition: int
    offset: int
    event: dict[str, Any]


CATEGORY_OF_KIND = {
    "current": "cash",
    "wallet": "cash",
    "trading": "cash",
    "savings": "savings",
    "fixed_deposit": "fixed_deposits",
    "recurring_deposit": "fixed_deposits",
    "credit_card": "debt",
    "loan": "debt",
}
CATEGORY_OF_INSTRUMENT = {
    "equity": "equities",
    "etf": "funds",
    "mutual_fund": "funds",
    "bond": "bonds",
    "option": "derivatives",
    "future": "derivatives",
    "crypto": "crypto",
    "fx": "fx",
}
#: Currencies whose minor unit is not a hundredth.
MINOR_UNITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
FEED = ("market.price.ticked.v1", "market.fx.fixed.v1")


def net_worth(
    events: Iterable[Logged],
    user_id: str,
    currency: str | None = None,
    as_of: str | None = None,
    preferred: str | None = None,
    today: str = "",
) -> dict[str, Any]:
    """The answer to ``GET /api/wealth/net-worth``; ``today`` is its ``asOf`` without a day."""
    log = _effective(events)
    mine = [entry for entry in log if entry.event.get("userid") == user_id]
    feed = [entry for entry in log if entry.event["type"] in FEED]
    base = currency or preferred or _first_currency(mine) or "INR"
    if as_of is not None:
        end = datetime.fromisoformat(as_of).replace(tzinfo=UTC) + timedelta(days=1)
        mine = [entry for entry in mine if _time(entry) < end]
        feed = [entry for entry in feed if _time(entry) < end]
    answer = _Answer(base, _Market(feed))
    accounts = _accounts(mine)
    for line in _balances(mine, accounts):
        answer.balance(*line)
    for position in _positions(mine, accounts):
        answer.position(position)
    return {"userId": user_id, "currency": base, "asOf": as_of or today, **answer.figures()}


# The log ----------------------------------------------------------------------------------------


def _effective(events: Iterable[Logged]) -> list[Logged]:
    """Each (source, id) once, and without the postings and openings that are dead letters."""
    seen: set[tuple[str, str]] = set()
    currency_of: dict[tuple[str, str, str], str] = {}
    kept = []
    for entry in sorted(events, key=lambda each: each[:3]):
        event, data = entry.event, entry.event["data"]
        identity = (event["source"], event["id"])
        if identity in seen:
            continue
        account = (str(event.get("userid")), entry.topic, str(data.get("account")))
        if event["type"].endswith(".account.opened.v1"):
            if account in currency_of:
                continue
            currency_of[account] = data["currency"]
        if (
            event["type"] == "bfc.transaction.posted.v1"
            and currency_of.get(account, data["currency"]) != data["currency"]
        ):
            continue
        seen.add(identity)
        kept.append(entry)
    return sorted(kept, key=lambda each: (_time(each), each[:3]))


def _time(entry: Logged) -> datetime:
    time = datetime.fromisoformat(entry.event["time"]).astimezone(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


# Accounts ---------------------------------------------------------------------------------------


def _accounts(mine: list[Logged]) -> dict[tuple[str, str], dict[str, Any]]:
    """(platform, account) -> its fields, for accounts that have been opened."""
    fields: dict[tuple[str, str], dict[str, Any]] = {}
    opened = set()
    for entry in mine:
        kind, data = entry.event["type"], entry.event["data"]
        place = (kind.split(".")[0], data.get("account", ""))
        if kind.endswith(".account.opened.v1"):
            opened.add(place)
            fields.setdefault(place, {}).update(data)
            fields[place]["holdsCash"] = data.get("holdsCash", False)
        elif kind.endswith(".account.updated.v1"):
            fields.setdefault(place, {}).update(data["changes"])
    return {place: found for place, found in fields.items() if place in opened}


def _first_currency(mine: list[Logged]) -> str | None:
    for entry in mine:
        if entry.event["type"].endswith(".account.opened.v1"):
            return str(entry.event["data"]["currency"])
    for entry in mine:
        if any(True for _ in _movements(entry)):
            return str(entry.event["data"]["currency"])
    return None


def _movements(entry: Logged) -> Iterable[Fraction]:
    """What an event adds to the money of the account that it names, in its currency."""
    kind, data = entry.event["type"], entry.event["data"]
    if kind.endswith(".account.opened.v1") and data.get("openingBalance") is not None:
        yield Fraction(data["openingBalance"])
    elif kind == "bfc.transaction.posted.v1" and data["status"] == "posted":
        yield Fraction(data["amount"]) * (1 if data["direction"] == "credit" else -1)
    elif kind == "vyomo.dividend.paid.v1":
        yield Fraction(data["amount"])
    elif kind == "vyomo.trade.executed.v1":
        gross = Fraction(data["quantity"]) * Fraction(data["price"])
        yield (gross if data["side"] == "sell" else -gross) - Fraction(data.get("fee") or 0)


def _balances(
    mine: list[Logged], accounts: dict[tuple[str, str], dict[str, Any]]
) -> list[tuple[dict[str, Any], Fraction, str]]:
    money: dict[tuple[str, str, str], Fraction] = {}
    for (platform, account), fields in accounts.items():
        money[platform, account, fields["currency"]] = Fraction(0)
    for entry in mine:
        for amount in _movements(entry):
            data, platform = entry.event["data"], entry.event["type"].split(".")[0]
            account = accounts.get((platform, data["account"]))
            if platform == "vyomo" and (account is None or not account["holdsCash"]):
                continue
            key = (platform, data["account"], data["currency"])
            money[key] = money.get(key, Fraction(0)) + amount
    lines = []
    for (platform, name, currency), amount in sorted(money.items()):
        fields = accounts.get((platform, name), {})
        kind = fields.get("kind", "unknown")
        line = {
            "account": name,
            "platform": platform,
            "kind": kind,
            "category": CATEGORY_OF_KIND.get(kind, "unknown"),
            "name": fields.get("name"),
        }
        lines.append((line, amount, currency))
    return lines


# Positions --------------------------------------------------------------------------------------


def _positions(
    mine: list[Logged], accounts: dict[tuple[str, str], dict[str, Any]]
) -> list[Holding]:
    found: dict[tuple[str, str, str], Holding] = {}
    for entry in mine:
        kind, data = entry.event["type"], entry.event["data"]
        if kind == "vyomo.split.applied.v1":
            for (account, symbol, _), held in found.items():
                if (account, symbol) == (data["account"], data["symbol"]):
                    held.split(Fraction(data["numerator"], data["denominator"]))
        if kind not in ("vyomo.trade.executed.v1", "vyomo.dividend.paid.v1"):
            continue
        key = (data["account"], data["symbol"], data["currency"])
        held = found.setdefault(key, Holding(*key))
        if kind == "vyomo.dividend.paid.v1":
            held.dividends += Fraction(data["amount"])
            continue
        held.instrument = data["instrument"]
        held.fees += Fraction(data.get("fee") or 0)
        quantity = Fraction(data["quantity"])
        held.trade(quantity if data["side"] == "buy" else -quantity, Fraction(data["price"]))
    for (account, _, _), held in found.items():
        if ("vyomo", account) in accounts:
            held.category = CATEGORY_OF_INSTRUMENT.get(held.instrument, "unknown")
    return [found[key] for key in sorted(found)]


def holdings(events: Iterable[Logged], user_id: str) -> list[Holding]:
    """All positions of a person with their lots, for tests of cost alone."""
    mine = [entry for entry in _effective(events) if entry.event.get("userid") == user_id]
    return _positions(mine, _accounts(mine))


# The market -------------------------------------------------------------------------------------


class _Market:
    """Latest prices and fixings of a feed that is in order of event time, then of the log."""

    def __init__(self, feed: list[Logged]) -> None:
        self.prices: dict[str, tuple[str, str, datetime]] = {}
        self.fixings: dict[tuple[str, str], tuple[Fraction, datetime]] = {}
        for entry in feed:
            data = entry.event["data"]
            if entry.event["type"] == "market.price.ticked.v1":
                self.prices[data["symbol"]] = (data["price"], data["currency"], _time(entry))
            else:
                pair = (data["base"], data["quote"])
                self.fixings[pair] = (Fraction(data["rate"]), _time(entry))

    def rate(self, base: str, quote: str) -> Fraction | None:
        if base == quote:
            return Fraction(1)
        straight = self._straight(base, quote)
        if straight is not None:
            return straight[0]
        crosses = []
        for middle in {currency for pair in self.fixings for currency in pair}:
            there, onward = self._straight(base, middle), self._straight(middle, quote)
            if middle not in (base, quote) and there and onward:
                older = min(there[1], onward[1])
                crosses.append((-older.timestamp(), middle, there[0] * onward[0]))
        return min(crosses)[2] if crosses else None

    def _straight(self, base: str, quote: str) -> tuple[Fraction, datetime] | None:
        if (base, quote) in self.fixings:
            return self.fixings[base, quote]
        if (quote, base) in self.fixings:
            rate, time = self.fixings[quote, base]
            return 1 / rate, time
        return None


# The answer -------------------------------------------------------------------------------------


class _Answer:
    def __init__(self, base: str, market: _Market) -> None:
        self.base = base
        self.market = market
        self.accounts: list[dict[str, Any]] = []
        self.positions: list[dict[str, Any]] = []
        #: (category, platform, currency, native, value) of every line that counts.
        self.counted: list[tuple[str, str, str, Fraction, Fraction | None]] = []
        self.missing: set[tuple[str, ...]] = set()

    def balance(self, line: dict[str, Any], amount: Fraction, currency: str) -> None:
        worth = self._count(line["category"], line["platform"], amount, currency)
        balance = {"amount": _money(amount, currency), "currency": currency}
        self.accounts.append({**line, "balance": balance, "value": _money(worth, self.base)})

    def position(self, held: Holding) -> None:
        ticked, priced_in, time = self.market.prices.get(held.symbol, (None, None, None))
        worth: Fraction | None = Fraction(0)
        market: Fraction | None = Fraction(0)
        shown = ticked if priced_in == held.currency else None
        if held.quantity and (ticked is None or priced_in is None):
            worth = market = None
            self.missing.add(("price", held.symbol))
        elif held.quantity and ticked is not None and priced_in is not None:
            price = self._convert(Fraction(ticked), priced_in, held.currency)
            shown = shown or _plain(price)
            market = None if price is None else price * held.quantity
            native = Fraction(ticked) * held.quantity
            worth = self._count(held.category, "vyomo", native, priced_in)
        gain = None if market is None else market - held.quantity * held.unit_cost
        self.positions.append(
            {
                "account": held.account,
                "symbol": held.symbol,
                "instrument": held.instrument,
                "category": held.category,
                "quantity": _plain(held.quantity),
                "averageCost": _plain(held.unit_cost),
                "price": shown,
                "priceTime": time and time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
                "currency": held.currency,
                "marketValue": _money(market, held.currency),
                "value": _money(worth, self.base),
                "unrealised": _money(gain, held.currency),
                "realised": _money(held.realised, held.currency),
                "dividends": _money(held.dividends, held.currency),
                "fees": _money(held.fees, held.currency),
            }
        )

    def _convert(self, amount: Fraction, base: str, quote: str) -> Fraction | None:
        rate = self.market.rate(base, quote)
        if rate is None:
            self.missing.add(("fx", base, quote))
            return None
        return amount * rate

    def _count(
        self, category: str, platform: str, native: Fraction, currency: str
    ) -> Fraction | None:
        worth = self._convert(native, currency, self.base)
        self.counted.append((category, platform, currency, native, worth))
        return worth

    def figures(self) -> dict[str, Any]:
        valued = [line for line in self.counted if line[4] is not None]
        worths = [line[4] or Fraction(0) for line in valued]
        by_currency = []
        for currency in sorted({line[2] for line in self.counted}):
            native = sum((line[3] for line in self.counted if line[2] == currency), Fraction(0))
            worth = self._convert(native, currency, self.base)
            shown = _money(native, currency)
            by_currency.append(
                {"currency": currency, "native": shown, "value": _money(worth, self.base)}
            )
        return {
            "netWorth": _money(sum(worths, Fraction(0)), self.base),
            "assets": _money(sum((w for w in worths if w > 0), Fraction(0)), self.base),
            "liabilities": _money(sum((-w for w in worths if w < 0), Fraction(0)), self.base),
            "byCategory": self._by(0),
            "byPlatform": self._by(1),
            "byCurrency": by_currency,
            "accounts": self.accounts,
            "positions": self.positions,
            "missing": [
                {"kind": "fx", "base": names[1], "quote": names[2]}
                if names[0] == "fx"
                else {"kind": "price", "symbol": names[1]}
                for names in sorted(self.missing)
            ],
        }

    def _by(self, column: int) -> dict[str, str | None]:
        sums: dict[str, Fraction] = {}
        for line in self.counted:
            if line[4] is not None:
                name = str(line[column])
                sums[name] = sums.get(name, Fraction(0)) + line[4]
        return {name: _money(sums[name], self.base) for name in sorted(sums)}


def _money(amount: Fraction | None, currency: str) -> str | None:
    if amount is None:
        return None
    return f"{_rounded(amount, MINOR_UNITS.get(currency, 2)):f}"


def _plain(number: Fraction | None) -> str | None:
    if number is None:
        return None
    text = f"{_rounded(number, 18):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rounded(number: Fraction, places: int) -> Decimal:
    """Half to even, by hand: whole units, and what is left against one half."""
    units, rest = divmod(number.numerator * 10**places, number.denominator)
    half = Fraction(rest, number.denominator)
    if half > Fraction(1, 2) or (half == Fraction(1, 2) and units % 2):
        units += 1
    exact = Context(prec=400, rounding=ROUND_HALF_EVEN)
    return Decimal(units).scaleb(-places, exact).quantize(Decimal(1).scaleb(-places), context=exact)
