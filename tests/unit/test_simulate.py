"""The simulated world: the same from the same seed, and true to its own books."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice, pairwise
from typing import Any

import pytest

from schemas.envelope import Draft
from schemas.registry import TYPES
from streams.producer.delivery import encode_all
from streams.simulate.config import BadConfig, Config
from streams.simulate.people import KINDS
from streams.simulate.trading import _part
from streams.simulate.world import World, history

UNTIL = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONFIG = Config(people=40, months=6, until=UNTIL)
ZERO = Decimal(0)


@pytest.fixture(scope="module")
def world() -> World:
    return World(CONFIG)


@pytest.fixture(scope="module")
def drafts(world: World) -> list[Draft]:
    return list(world.history())


def of(drafts: list[Draft], *kinds: str) -> list[Draft]:
    return [draft for draft in drafts if draft.type.rpartition(".")[0] in kinds]


def test_the_same_seed_gives_the_same_bytes() -> None:
    config = Config(people=8, months=2, until=UNTIL, seed="7")
    first, again = (values_of(config) for _ in range(2))
    assert first == again
    assert values_of(Config(people=8, months=2, until=UNTIL, seed="8")) != first


def values_of(config: Config) -> list[tuple[str, bytes | None, bytes | None]]:
    """Where each event goes and what of it stands in the log."""
    records = encode_all(list(history(config)), "bfc")
    return [(record.topic, record.key, record.value) for record in records]


def test_more_people_leave_the_others_who_they_are() -> None:
    few, many = World(Config(people=5, months=1, until=UNTIL)), World(CONFIG)
    for one, same in zip(few.people, many.people, strict=False):
        assert (one.name, one.kind, one.salary, one.rent) == (
            same.name,
            same.kind,
            same.salary,
            same.rent,
        )


def test_everything_is_valid_and_in_time_order(drafts: list[Draft]) -> None:
    assert len(encode_all(drafts, "bfc")) == len(drafts)
    assert all(one.time <= other.time for one, other in pairwise(drafts))
    assert drafts[0].time >= CONFIG.start
    assert drafts[-1].time < UNTIL
    assert len({draft.id for draft in drafts}) == len(drafts)


def test_as_many_events_as_people_make(drafts: list[Draft]) -> None:
    assert 10_000 < len(drafts) < 25_000


def test_nearly_every_type_of_a_source_topic_happens(drafts: list[Draft]) -> None:
    never = {
        full_name
        for full_name, event_type in TYPES.items()
        if not event_type.topic.derived and not full_name.startswith("app.")
    } - {draft.type for draft in drafts}
    # Accounts are not closed, trading accounts not changed, and no share was split in the window.
    assert never == {
        "bfc.account.closed.v1",
        "vyomo.account.updated.v1",
        "vyomo.account.closed.v1",
        "vyomo.split.applied.v1",
    }


def test_people_of_all_kinds_and_currencies() -> None:
    people = World(Config(people=120, months=0, until=UNTIL)).people
    assert {person.kind for person in people} == set(KINDS)
    assert {person.country.currency for person in people} == {"INR", "AUD", "USD"}


def test_bank_balances_add_up_and_accounts_open_first(world: World, drafts: list[Draft]) -> None:
    balances: dict[str, Decimal] = {}
    currency: dict[str, str] = {}
    overdrawn: Counter[str] = Counter()
    floors = {
        account.account: account.floor
        for person in world.people
        for account in (person.main, person.savings, person.card, person.deposit, person.dollars)
        if account is not None
    }
    for draft in of(drafts, "bfc.account.opened", "bfc.transaction.posted"):
        data = draft.data
        account = data["account"]
        if draft.type.startswith("bfc.account"):
            assert account not in balances
            balances[account] = Decimal(data["openingBalance"])
            currency[account] = data["currency"]
            continue
        assert data["currency"] == currency[account]
        if data["status"] == "pending":
            assert "balanceAfter" not in data
            continue
        amount = Decimal(data["amount"])
        balances[account] += amount if data["direction"] == "credit" else -amount
        assert Decimal(data["balanceAfter"]) == balances[account]
        if balances[account] < floors.get(account, -Decimal("Infinity")):
            # Only the bank itself goes below: interest on a card at its limit.
            assert data["category"] in ("interest",) or overdrawn[account]
            overdrawn[account] += 1
    for person in world.people:
        if person.joined:
            assert balances[person.main.account] == person.main.balance


def test_sequences_have_no_gaps(drafts: list[Draft]) -> None:
    last: defaultdict[str, int] = defaultdict(int)
    for draft in drafts:
        if draft.sequence is not None:
            last[draft.subject or ""] += 1
            assert draft.sequence == str(last[draft.subject or ""])


def test_transfers_move_as_much_as_they_say_and_sum_to_zero(drafts: list[Draft]) -> None:
    steps: defaultdict[str, list[str]] = defaultdict(list)
    postings: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    amounts: dict[str, Decimal] = {}
    for draft in drafts:
        transfer = draft.data.get("transfer")
        if transfer is None:
            continue
        if draft.type.startswith("bfc.transfer."):
            steps[transfer].append(draft.type.split(".")[2])
            amounts[transfer] = Decimal(draft.data["amount"])
        else:
            postings[transfer].append(draft.data)
    assert len(steps) > 300
    for transfer, taken in steps.items():
        assert taken == ["initiated", "authenticated", "completed", "failed"][: len(taken)] or (
            taken[-1] == "failed" and "completed" not in taken
        )
        moved = sum(
            Decimal(one["amount"]) * (1 if one["direction"] == "credit" else -1)
            for one in postings[transfer]
        )
        assert moved == 0
        assert len(postings[transfer]) == (2 if "completed" in taken else 0)
        assert {Decimal(one["amount"]) for one in postings[transfer]} <= {amounts[transfer]}
    assert {"failed", "completed"} <= {taken[-1] for taken in steps.values()}


def test_nobody_sells_what_they_do_not_have(world: World, drafts: list[Draft]) -> None:
    shorts = {
        person.trading.account: person.trading.short_allowed
        for person in world.people
        if person.trading is not None
    }
    held: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    prices: dict[str, str] = {}
    cash: dict[str, Decimal] = {}
    trades = 0
    for draft in drafts:
        data = draft.data
        if draft.type == "vyomo.account.opened.v1" and data["holdsCash"]:
            cash[data["account"]] = Decimal(data["openingBalance"])
        elif draft.type == "market.price.ticked.v1":
            prices[data["symbol"]] = data["price"]
        elif draft.type == "vyomo.dividend.paid.v1" and data["account"] in cash:
            cash[data["account"]] += Decimal(data["amount"])
        elif draft.type == "vyomo.trade.executed.v1":
            trades += 1
            assert data["price"] == prices[data["symbol"]]
            sign = 1 if data["side"] == "buy" else -1
            quantity = Decimal(data["quantity"])
            held[data["account"], data["symbol"]] += sign * quantity
            assert held[data["account"], data["symbol"]] >= 0 or shorts[data["account"]]
            if data["account"] in cash:
                cost = quantity * Decimal(data["price"])
                cash[data["account"]] -= sign * cost + Decimal(data["fee"])
                assert cash[data["account"]] >= 0
    assert trades > 60


def test_shares_are_whole_and_written_without_an_exponent() -> None:
    assert str(_part(Decimal(100), 80)) == "80"
    assert str(_part(Decimal("0.5"), 50)) == "0.2500"


def test_statements_differ_from_the_trades_only_now_and_then(drafts: list[Draft]) -> None:
    held: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    right = wrong = 0
    for draft in of(drafts, "vyomo.trade.executed", "vyomo.position.reported"):
        data = draft.data
        place = data["account"], data["symbol"]
        if "side" in data:
            held[place] += Decimal(data["quantity"]) * (1 if data["side"] == "buy" else -1)
        elif Decimal(data["quantity"]) == held[place]:
            right += 1
        else:
            wrong += 1
    assert wrong < right / 20


def test_funnels_lose_people_at_every_step(drafts: list[Draft]) -> None:
    counts = Counter(draft.type.rpartition(".")[0] for draft in drafts)
    steps = Counter(draft.data["action"] for draft in of(drafts, "journey.step.recorded"))
    assert steps["signup"] > steps["verify_email"] > counts["bfc.kyc.approved"]
    assert steps["view_market"] > counts["vyomo.order.placed"] > counts["vyomo.order.confirmed"]
    assert counts["vyomo.order.confirmed"] > counts["vyomo.trade.executed"] > 0
    started = counts["bfc.transfer.initiated"]
    assert started > counts["bfc.transfer.authenticated"] > counts["bfc.transfer.completed"] > 0
    assert steps["view_rules"] > counts["app.rule.created"] > counts["app.rule.activated"] > 0


def test_sessions_begin_without_a_name_at_times(drafts: list[Draft]) -> None:
    named: defaultdict[str, set[bool]] = defaultdict(set)
    for draft in of(drafts, "journey.step.recorded"):
        named[draft.data["session"]].add(draft.user_id is not None)
    assert {True, False} in named.values()


def test_causes_are_named(drafts: list[Draft]) -> None:
    ids = {draft.id for draft in drafts}
    for draft in of(drafts, "bfc.transfer.completed", "vyomo.order.confirmed"):
        assert draft.causation_id in ids
        assert draft.correlation_id in ids


def test_live_goes_on_with_the_same_people_at_the_clocks_time() -> None:
    world = World(Config(people=20, months=1, until=UNTIL))
    opened = {
        draft.data["account"]
        for draft in world.history()
        if draft.type.endswith("account.opened.v1")
    }
    moments = iter(range(1_795_400_000_000, 1_795_500_000_000, 7))
    live = list(islice(world.live(lambda _agenda: next(moments)), 3_000))
    assert live[0].time == datetime.fromtimestamp(1_795_400_000, UTC)
    assert live[-1].time == live[0].time.fromtimestamp(1_795_400_000 + 2_999 * 0.007, UTC)
    opened |= {d.data["account"] for d in live if d.type.endswith("account.opened.v1")}
    posted = of(live, "bfc.transaction.posted")
    assert len(posted) > 500
    assert {draft.data["account"] for draft in posted} <= opened
    assert len(encode_all(live, "bfc")) == 3_000


@pytest.mark.parametrize(
    ("people", "months", "until", "complaint"),
    [
        (0, 6, UNTIL, "people"),
        (10, -1, UNTIL, "months"),
        (10, 500, UNTIL, "months"),
        (10, 6, UNTIL.replace(tzinfo=None), "until"),
    ],
)
def test_senseless_configurations_say_what_is_wrong(
    people: int, months: int, until: datetime, complaint: str
) -> None:
    with pytest.raises(BadConfig, match=complaint):
        Config(people=people, months=months, until=until)
