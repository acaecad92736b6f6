"""Funnels in plain Python, from the words of the contract and nothing else: slow and obvious.

An event here is what the log says: where it stands, when it happened, who or which session did
it, and what it says. Nothing of ``projections.funnels`` is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from statistics import median
from typing import Any

#: Type of a domain event -> the action that it equals, and for which data.
SAME: dict[str, tuple[str, Callable[[Mapping[str, Any]], bool]]] = {
    "bfc.kyc.submitted": ("kyc_upload", lambda data: True),
    "bfc.kyc.approved": ("kyc_approved", lambda data: True),
    "bfc.transaction.posted": (
        "first_deposit",
        lambda data: data["direction"] == "credit" and data["status"] == "posted",
    ),
    "vyomo.order.placed": ("place_order", lambda data: True),
    "vyomo.order.confirmed": ("order_confirmed", lambda data: True),
    "vyomo.trade.executed": ("position_opened", lambda data: data["side"] == "buy"),
    "bfc.transfer.initiated": ("initiate_transfer", lambda data: True),
    "bfc.transfer.authenticated": ("authenticate", lambda data: True),
    "bfc.transfer.completed": ("transfer_complete", lambda data: True),
    "app.rule.created": ("create_rule", lambda data: True),
    "app.rule.tested": ("test_rule", lambda data: True),
    "app.rule.activated": ("activate_rule", lambda data: True),
}

JOURNEY = "journey.step.recorded"


@dataclass(frozen=True)
class Fact:
    """One event, no repetition of another."""

    time: int  # milliseconds
    topic: str
    partition: int
    offset: int
    type: str
    data: Mapping[str, Any]
    user: str | None = None

    @property
    def order(self) -> tuple[int, str, int, int]:
        return self.time, self.topic, self.partition, self.offset

    @property
    def session(self) -> str | None:
        return self.data.get("session") if self.type == JOURNEY else None

    @property
    def day(self) -> date:
        return datetime.fromtimestamp(self.time // 1000, UTC).date()


@dataclass
class Attempt:
    """What one first step led to."""

    events: list[Fact] = field(default_factory=list)

    @property
    def rank(self) -> tuple[Any, ...]:
        """Furthest first; then who came there first; then who began last."""
        time, topic, partition, offset = self.events[0].order
        return -len(self.events), self.events[-1].order, (-time, _Last(topic), -partition, -offset)


class _Last(str):
    def __lt__(self, other: str) -> bool:
        return str(self) > str(other)


def matches(match: Mapping[str, Any], fact: Fact) -> bool:
    """Whether an event is one that the match means."""
    wanted = {name: value for name, value in match.items() if name != "type"}
    if fact.type == match["type"]:
        return _holds(wanted, fact.data)
    if match["type"] == JOURNEY and set(wanted) == {"action"} and fact.type in SAME:
        action, condition = SAME[fact.type]
        return action == wanted["action"] and condition(fact.data)
    return False


def _holds(wanted: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        if name not in data:
            return False
        if isinstance(value, Mapping):
            if not isinstance(data[name], Mapping) or not _holds(value, data[name]):
                return False
        elif data[name] != value or isinstance(data[name], bool) != isinstance(value, bool):
            return False
    return True


def people_of(facts: Iterable[Fact]) -> dict[Any, list[Fact]]:
    """Events by person, in order; a session counts for whom it is named after first."""
    ordered = sorted(facts, key=lambda fact: fact.order)
    named: dict[str, str] = {}
    for fact in ordered:
        if fact.session and fact.user:
            named.setdefault(fact.session, fact.user)
    people: dict[Any, list[Fact]] = {}
    for fact in ordered:
        if fact.user:
            people.setdefault(fact.user, []).append(fact)
        elif fact.session:
            owner: Any = named.get(fact.session, ("session", fact.session))
            people.setdefault(owner, []).append(fact)
    return people


def attempts(definition: Mapping[str, Any], events: Sequence[Fact]) -> list[Attempt]:
    """Every attempt of one person."""
    steps = [step["match"] for step in definition["steps"]]
    walk = _walk_unordered if definition["order"] == "unordered" else _walk
    found = []
    for number, first in enumerate(events):
        opens = steps if definition["order"] == "unordered" else steps[:1]
        if any(matches(match, first) for match in opens):
            found.append(walk(definition, steps, events[number:]))
    return found


def _walk(
    definition: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], events: Sequence[Fact]
) -> Attempt:
    attempt = Attempt([events[0]])
    for event in events[1:]:
        reached = len(attempt.events)
        if reached == len(steps) or not _in_window(definition, events[0], event):
            break
        is_next = matches(steps[reached], event)
        if _is_excluded(definition, event, reached, reached + 1 if is_next else None):
            break
        if is_next:
            attempt.events.append(event)
        elif definition["order"] == "strict" and _is_looked_at(definition, event):
            break
    return attempt


def _is_looked_at(definition: Mapping[str, Any], event: Fact) -> bool:
    """A strict funnel is broken by steps of journeys, what equals one, and the types it names."""
    named = [step["match"]["type"] for step in definition["steps"]]
    named += [exclusion["match"]["type"] for exclusion in definition["exclusions"]]
    if event.type in named:
        return True
    if JOURNEY not in named:
        return False
    return event.type == JOURNEY or (event.type in SAME and SAME[event.type][1](event.data))


def _is_excluded(definition: Mapping[str, Any], event: Fact, reached: int, now: int | None) -> bool:
    """After one step and before the other; the event that is the other is not before it."""
    return any(
        exclusion["fromStep"] <= reached < exclusion["toStep"]
        and matches(exclusion["match"], event)
        and now != exclusion["toStep"]
        for exclusion in definition["exclusions"]
    )


def _walk_unordered(
    definition: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], events: Sequence[Fact]
) -> Attempt:
    done: dict[int, Fact] = {}
    for event in events:
        if not _in_window(definition, events[0], event):
            break
        fresh = []
        for number, match in enumerate(steps):
            # Of several steps that match the same, one event does the first that is not done.
            alike = any(steps[other] == match for other in fresh)
            if number not in done and not alike and matches(match, event):
                fresh.append(number)
        for exclusion in definition["exclusions"]:
            pair = {exclusion["fromStep"] - 1, exclusion["toStep"] - 1}
            stands_between = len(pair & set(done)) == 1
            if (
                stands_between
                and matches(exclusion["match"], event)
                and not (pair - set(done)) & set(fresh)
            ):
                return Attempt(sorted(done.values(), key=lambda fact: fact.order))
        for number in fresh:
            done[number] = event
    return Attempt(sorted(done.values(), key=lambda fact: fact.order))


def _in_window(definition: Mapping[str, Any], first: Fact, event: Fact) -> bool:
    return event.time - first.time <= definition["windowSeconds"] * 1000


def best_attempts(
    definition: Mapping[str, Any], facts: Iterable[Fact], from_: date, to: date
) -> list[Attempt]:
    """The attempt that each person counts by."""
    chosen = []
    for events in people_of(facts).values():
        inside = [event for event in events if from_ <= event.day <= to]
        found = attempts(definition, inside)
        if found:
            chosen.append(min(found, key=lambda attempt: attempt.rank))
    return chosen


def figures(definition: Mapping[str, Any], chosen: Sequence[Attempt]) -> dict[str, Any]:
    """People, ratios and times of these attempts."""
    steps: list[dict[str, Any]] = []
    counts = [
        sum(len(attempt.events) > number for attempt in chosen)
        for number in range(len(definition["steps"]))
    ]
    for number, step in enumerate(definition["steps"]):
        took = [
            attempt.events[number].time - attempt.events[number - 1].time
            for attempt in chosen
            if 0 < number < len(attempt.events)
        ]
        before = counts[number - 1] if number else counts[0]
        steps.append(
            {
                "step": number + 1,
                "name": step["name"],
                "people": counts[number],
                "fromPrevious": counts[number] / before if before else 0.0,
                "fromFirst": counts[number] / counts[0] if counts[0] else 0.0,
                "dropOff": before - counts[number],
                "medianSeconds": median(took) / 1000 if took else None,
                "averageSeconds": sum(took) / len(took) / 1000 if took else None,
            }
        )
    conversion = counts[-1] / counts[0] if counts[0] else 0.0
    return {"people": counts[0], "conversion": conversion, "steps": steps}


def funnel(
    definition: Mapping[str, Any], facts: Sequence[Fact], from_: date, to: date
) -> dict[str, Any]:
    """The whole answer."""
    return {
        "funnel": definition["name"],
        "from": from_.isoformat(),
        "to": to.isoformat(),
        "order": definition["order"],
        "windowSeconds": definition["windowSeconds"],
        **figures(definition, best_attempts(definition, facts, from_, to)),
    }
