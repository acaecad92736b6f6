"""Rules over the real way: made by HTTP between events, recomputed from the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from projections.amounts import shown
from schemas.envelope import Draft, now
from schemas.instants import from_milliseconds
from streams.producer import ProducerSettings, SyncProducer
from tests.builders import opened, posted, tick
from tests.e2e.system import System, whole_system
from tests.recomputed import execution_item, without_ids
from tests.reference_rules import Entry, Reference
from tests.rules_log import SAVE_A_FIFTH

ALICE, BOB = "usr_alice", "usr_bob"
RULES = "/api/auto-actions/rules"


@pytest.fixture(scope="module")
def system(system_folder: Path) -> Iterator[System]:
    with whole_system(system_folder / "rules") as running:
        yield running


def test_executions_are_those_that_the_log_says(system: System) -> None:
    send(system, opened("acc_9f2", user=ALICE, openingBalance="100", time=now()))
    send(system, salary("10000"), price("AAPL", "12"))
    saving = call(system, "POST", RULES, ALICE, SAVE_A_FIFTH).json()
    low = {"type": "balance", "account": "acc_9f2", "below": "1000"}
    dip = {"type": "market_condition", "symbol": "AAPL", "below": "10"}
    call(system, "POST", RULES, ALICE, alert(low, "{account} is down to {balance}"))
    dips = [
        call(system, "POST", RULES, user, alert(dip, "{symbol} at {price}")).json()
        for user in (ALICE, BOB)
    ]
    line = {"percentage": 20, "targetAccount": "INV001"}
    template = call(
        system, "POST", "/api/auto-actions/templates/salary-auto-invest/create", BOB, line
    )
    assert template.status_code == 201
    send(system, salary("20000.05"), salary("30000", BOB), salary("4999.99"))
    send(system, posted("34900", "debit", "acc_9f2", user=ALICE, time=now()))
    send(system, price("AAPL", "9.50"), price("AAPL", "11"))
    changed = call(
        system, "PUT", f"{RULES}/{saving['id']}", ALICE, {**SAVE_A_FIFTH, "status": "paused"}
    )
    assert changed.json()["version"] == 2
    assert call(system, "DELETE", f"{RULES}/{dips[1]['id']}", BOB).status_code == 204
    send(system, salary("50000"), price("AAPL", "9"))
    system.rest()

    reference = Reference(entries(system), shown)
    for user in (ALICE, BOB):
        page = system.get("/api/auto-actions/executions", user, limit=200)
        assert page["next"] is None
        assert in_order(map(without_ids, page["items"])) == in_order(
            execution_item(one) for one in reference.executions if one["user"] == user
        )
    outcomes = [one["reason"] or one["outcome"] for one in reference.executions]
    assert sorted(outcomes) == ["paused"] + ["triggered"] * 6

    alerts = system.get("/api/notifications", ALICE, category="alert")["items"]
    said = " ".join(alert["message"] for alert in alerts)
    assert "Saved ₹4,000.01" in said
    assert {event for alert in alerts for event in alert["events"]} <= {
        one["event"] for one in reference.executions
    }


def test_what_is_wrong_is_refused(system: System) -> None:
    cron = {**SAVE_A_FIFTH, "trigger": {"type": "time_based", "cron": "0 9 * * *"}}
    refused = call(system, "POST", RULES, ALICE, cron)
    assert refused.status_code == 422
    assert "trigger.type" in refused.text
    foreign = call(system, "POST", RULES, BOB, SAVE_A_FIFTH)
    assert foreign.status_code == 422
    assert "trigger.account" in foreign.text


def alert(trigger: dict[str, Any], message: str) -> dict[str, Any]:
    actions = [{"type": "notify", "priority": "high", "message": message}]
    return {"name": "Tell me", "trigger": trigger, "actions": actions}


def salary(amount: str, user: str = ALICE) -> Draft:
    account = "acc_9f2" if user == ALICE else "acc_bob"
    return posted(amount, account=account, category="salary", user=user, time=now())


def price(symbol: str, amount: str) -> Draft:
    return tick(symbol, amount, time=now())


def send(system: System, *drafts: Draft) -> None:
    with SyncProducer(ProducerSettings(system.stack.kafka)) as producer:
        producer.send_many(drafts)


def call(
    system: System, method: str, path: str, user: str, body: dict[str, Any] | None = None
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {system.token(user)}"}
    return httpx.request(method, f"{system.url}{path}", headers=headers, json=body, timeout=30)


def entries(system: System) -> list[Entry]:
    return [
        Entry(
            record.topic,
            record.partition,
            record.offset,
            from_milliseconds(record.timestamp),
            msgspec.json.decode(record.value or b"{}"),
        )
        for record in system.log()
        if record.topic != "dead-letters"
    ]


def in_order(items: Any) -> list[Any]:
    return sorted(items, key=lambda item: (item["event"], item["ruleId"]))
