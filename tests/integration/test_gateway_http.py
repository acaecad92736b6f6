"""The HTTP API over a whole system: worker and gateway as processes, answers to the letter."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.system import System, whole_system
from tests.gateway_running import new_user


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    folder = Path(tempfile.mkdtemp(prefix="streams-gateway-"))
    try:
        with whole_system(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Person:
    """Somebody with a token, who reads their own writes."""

    def __init__(self, system: System, *scopes: str, user: str | None = None) -> None:
        self.user = user or new_user()
        headers = {"Authorization": f"Bearer {system.token(self.user, *scopes)}"}
        self.client = httpx.Client(base_url=system.url, headers=headers, timeout=30)
        self.position = ""

    def __call__(self, method: str, path: str, wanted: int = 200, **options: Any) -> Any:
        headers = {"Streams-Position": self.position, **options.pop("headers", {})}
        answer = self.client.request(method, path, headers=headers, **options)
        assert answer.status_code == wanted, answer.text
        if wanted >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == wanted
        elif method != "GET":
            self.position = answer.headers["streams-position"]
        return answer

    def errors(self, method: str, path: str, **options: Any) -> list[str]:
        """The paths of what is wrong with a request that is answered with 422."""
        return [each["path"] for each in self(method, path, 422, **options).json()["errors"]]


@pytest.fixture
def person(system: System) -> Iterator[Person]:
    made = Person(system)
    with made.client:
        yield made


@pytest.fixture
def producer(system: System) -> Iterator[Person]:
    made = Person(system, "producer")
    with made.client:
        yield made


def event(user: str, kind: str, data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    made = {
        "specversion": "1.0",
        "id": f"{user}-{changes.pop('n', 1)}-{kind}",
        "source": "/bfc/core-banking",
        "type": f"{kind}.v1",
        "time": "2026-02-12T09:30:00.123Z",
        "userid": user,
        "data": data,
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def opened(user: str, account: str, **changes: Any) -> dict[str, Any]:
    data = {
        "account": account,
        "kind": "savings",
        "currency": "INR",
        "name": "Everyday",
        "institution": "BFC",
        "country": "IN",
        "openingBalance": "1000.00",
    }
    return event(user, "bfc.account.opened", data, **changes)


def posted(user: str, account: str, amount: Any = "500.00", **changes: Any) -> dict[str, Any]:
    number = changes.get("n", 1)
    data = {
        "transaction": f"{user}-t{number}",
        "account": account,
        "direction": changes.pop("direction", "credit"),
        "amount": amount,
        "currency": "INR",
        "status": "posted",
        "category": "salary",
    }
    return event(user, "bfc.transaction.posted", data, **changes)


# Events ---------------------------------------------------------------------------------------


def test_events_are_accepted_and_rejected_one_by_one(producer: Person) -> None:
    user = new_user()
    answer = producer(
        "POST", "/api/events", 207, json=[opened(user, "a"), posted(user, "a", 5), 7]
    ).json()
    assert [each["index"] for each in answer["accepted"]] == [0]
    assert answer["accepted"][0]["id"] == f"{user}-1-bfc.account.opened"
    topic, partition, offset = answer["accepted"][0]["position"].split(":")
    assert producer.position == f"{topic}:{partition}:{int(offset) + 1}"
    first, second = answer["rejected"]
    assert (first["index"], first["id"]) == (1, f"{user}-1-bfc.transaction.posted")
    assert first["errors"][0]["path"] == "data.amount"
    assert (second["index"], second["id"], second["errors"][0]["path"]) == (2, None, "")


def test_what_only_this_system_emits_is_refused(producer: Person) -> None:
    user = new_user()
    timer = {
        **opened(user, "a"),
        "type": "app.timer.fired.v1",
        "data": {"timer": "t", "projection": "notifications", "payload": {}},
    }
    answer = producer("POST", "/api/events", 422, json=timer).json()
    (error,) = answer["rejected"][0]["errors"]
    assert error == {"path": "type", "message": "is emitted by this system alone"}


def test_a_refused_event_in_binary_mode_is_named_by_its_id(producer: Person) -> None:
    event = posted(new_user(), "a", 5)
    headers = {
        f"ce-{name}": value for name, value in event.items() if name != "data" and name != "id"
    }
    answer = producer(
        "POST",
        "/api/events",
        422,
        json={"amount": "0"},
        headers={**headers, "ce-id": "a%20%C3%A9", "content-type": "application/json"},
    ).json()
    assert answer["rejected"][0]["id"] == "a \u00e9"


def test_half_a_character_makes_its_event_invalid_and_no_other(producer: Person) -> None:
    user = new_user()
    good, bad = json.dumps(opened(user, "a")), json.dumps(posted(user, "a"))
    bad = bad.replace('"currency"', '"merchant": "\\ud800", "currency"')
    body = f"[ {good} ,{bad},{json.dumps(posted(user, 'a', n=9))}]"
    headers = {"content-type": "application/json"}
    answer = producer("POST", "/api/events", 207, content=body, headers=headers).json()
    assert [each["index"] for each in answer["accepted"]] == [0, 2]
    assert [each["index"] for each in answer["rejected"]] == [1]
    producer("POST", "/api/events", 422, content=bad, headers=headers)
    producer("POST", "/api/events", 400, content=body[:-1], headers=headers)


def test_every_way_of_sending_an_event(producer: Person, person: Person) -> None:
    user = person.user
    one = opened(user, "a")
    structured = {"content-type": "application/cloudevents+json; charset=UTF-8"}
    for headers in (structured, {"content-type": "application/json"}):
        answer = producer("POST", "/api/events", 202, content=json.dumps(one), headers=headers)
        assert [each["index"] for each in answer.json()["accepted"]] == [0]
    batch = {"content-type": "application/cloudevents-batch+json"}
    content = json.dumps([posted(user, "a", n=2), posted(user, "a", n=3)])
    assert (
        len(producer("POST", "/api/events", 202, content=content, headers=batch).json()["accepted"])
        == 2
    )
    lines = "\n".join(json.dumps(posted(user, "a", n=n)) for n in (4, 5)) + "\n"
    for kind in ("application/x-ndjson", "application/json"):
        headers = {"content-type": kind}
        answer = producer("POST", "/api/events", 202, content=lines, headers=headers).json()
        assert len(answer["accepted"]) == 2
    binary = {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "%C3%A9-6",
        "ce-source": "/bfc/core-banking",
        "ce-type": "bfc.transaction.posted.v1",
        "ce-time": "2026-02-12T09:30:00Z",
        "ce-userid": user,
    }
    data = json.dumps(posted(user, "a", n=6)["data"])
    answer = producer("POST", "/api/events", 202, content=data, headers=binary).json()
    assert answer["accepted"][0]["id"] == "é-6"
    person.position = producer.position
    # Opened with 1000, then 500 five times; what was sent twice counts once.
    assert person("GET", "/api/wealth/net-worth").json()["netWorth"] == "3500.00"


def test_a_body_that_can_t_be_taken(producer: Person, person: Person) -> None:
    post = ("POST", "/api/events")
    producer(*post, 400, content="{")
    producer(*post, 400, content="")
    producer(*post, 400, content="[1,")
    producer(*post, 413, content=b"[" + b" " * (5 * 1024 * 1024) + b"]")
    problem = producer(*post, 422, json=posted(new_user(), "a", 5)).json()
    assert problem["accepted"] == []
    assert problem["rejected"][0]["errors"][0]["path"] == "data.amount"
    producer(*post, 422, json=[])
    refused = person(*post, 403, json=opened(person.user, "a"))
    assert 'scope="producer"' in refused.headers["www-authenticate"]


# Reads ----------------------------------------------------------------------------------------


def test_everyone_reads_their_own_writes(producer: Person, person: Person) -> None:
    account = f"{person.user}-a"
    producer("POST", "/api/events", 202, json=[opened(person.user, account)])
    for number in range(10):
        sent = [posted(person.user, account, "0.10", n=number)]
        producer("POST", "/api/events", 202, json=sent)
        person.position = producer.position
        worth = person("GET", "/api/wealth/net-worth")
        assert worth.json()["netWorth"] == f"{1000 + (number + 1) / 10:.2f}"
    again = person.client.get("/api/wealth/net-worth", params={"at": producer.position})
    assert again.json() == worth.json()
    tag = {"If-None-Match": worth.headers["etag"]}
    unchanged = person("GET", "/api/wealth/net-worth", 304, headers=tag)
    assert unchanged.headers["streams-position"]
    assert unchanged.content == b""
    assert person("GET", "/api/wealth/net-worth", params={"currency": "USD"}).json()["missing"]
    before = person("GET", "/api/wealth/net-worth", params={"asOf": "2026-02-11"}).json()
    assert (before["asOf"], before["netWorth"]) == ("2026-02-11", "0.00")
    path = "/api/wealth/net-worth"
    assert person.errors("GET", path, params={"currency": "XXX"}) == ["currency"]
    assert person.errors("GET", path, params={"asOf": "2026-02-30"}) == ["asOf"]
    assert person.errors("GET", path, headers={"Streams-Position": "nonsense"}) == [
        "Streams-Position"
    ]
    assert person.client.get(path, params={"at": "a:b"}).json()["errors"][0]["path"] == "at"


def test_a_position_that_is_not_reached_is_asked_for_later(person: Person) -> None:
    late = {"Streams-Position": "bfc.ledger:0:999999999"}
    answer = person("GET", "/api/wealth/net-worth", 503, headers=late)
    assert int(answer.headers["retry-after"]) >= 1
    # What this answer does not hang on is not waited for.
    person("GET", "/api/analytics/funnels", 403, headers=late)
    person("GET", "/api/notifications/preferences", headers=late)


# Notifications --------------------------------------------------------------------------------


def test_notifications_are_listed_page_by_page_and_read(
    system: System, producer: Person, person: Person
) -> None:
    account = f"{person.user}-a"
    sent = [opened(person.user, account)]
    times = [f"2026-02-12T10:{minute:02d}:00Z" for minute in range(5)]
    sent += [posted(person.user, account, n=n, time=time) for n, time in enumerate(times)]
    producer("POST", "/api/events", 202, json=sent)
    person.position = producer.position
    first = person("GET", "/api/notifications", params={"limit": 4}).json()
    assert (len(first["items"]), first["unread"]) == (4, 6)
    page = {"limit": 4, "cursor": first["next"]}
    second = person("GET", "/api/notifications", params=page).json()
    assert (len(second["items"]), second["next"]) == (2, None)
    found = first["items"] + second["items"]
    assert [each["updatedAt"] for each in found] == sorted(
        (each["updatedAt"] for each in found), reverse=True
    )
    tampered = {"cursor": first["next"][:-1] + ("A" if first["next"][-1] != "A" else "B")}
    assert person.errors("GET", "/api/notifications", params=tampered) == ["cursor"]
    assert person.errors("GET", "/api/notifications", params={"limit": 201}) == ["limit"]
    assert person.errors("GET", "/api/auto-actions/rules", params=page) == ["cursor"]
    one = found[2]["id"]
    answer = person("POST", f"/api/notifications/{one}/read").json()
    assert (answer["id"], answer["read"]) == (one, True)
    listed = person("GET", "/api/notifications").json()
    assert listed["unread"] == 5
    assert [each["id"] for each in listed["items"] if each["read"]] == [one]
    unread = person("GET", "/api/notifications", params={"unread": "true"}).json()
    assert len(unread["items"]) == 5
    person("POST", "/api/notifications/read-all", 204)
    assert person("GET", "/api/notifications").json()["unread"] == 0
    stranger = Person(system)
    stranger("POST", f"/api/notifications/{one}/read", 404)
    stranger("POST", "/api/notifications/nonsense/read", 404)
    stranger.client.close()


def test_preferences_are_kept_and_take_effect_for_what_follows(
    producer: Person, person: Person
) -> None:
    path, account = "/api/notifications/preferences", f"{person.user}-a"
    before = person("GET", path).json()
    assert before["quietHours"] is None
    said = {
        "timezone": "Asia/Kolkata",
        "baseCurrency": "USD",
        "largeDebit": {"INR": "100"},
        "categories": {"account": {"enabled": False}},
    }
    answer = person("PUT", path, json=said).json()
    assert person("GET", path).json() == answer
    assert answer["categories"]["account"]["enabled"] is False
    sent = [opened(person.user, account), posted(person.user, account, "500.00", direction="debit")]
    producer("POST", "/api/events", 202, json=sent)
    person.position = producer.position
    listed = person("GET", "/api/notifications").json()
    assert [(each["category"], each["priority"]) for each in listed["items"]] == [
        ("transaction", "high")
    ]
    assert person("GET", "/api/wealth/net-worth").json()["currency"] == "USD"
    wrong = {"timezone": "Nowhere", "largeDebit": {"XXX": "1"}, "colour": 1}
    assert set(person.errors("PUT", path, json=wrong)) == {"timezone", "largeDebit.XXX", "colour"}
    person("PUT", path, 400, content="{")


# Rules ----------------------------------------------------------------------------------------


def rule(account: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": "Save a fifth",
        "status": "active",
        "trigger": {"type": "transaction", "direction": "credit", "account": account},
        "conditions": [{"field": "amount", "op": "gte", "value": "100"}],
        "actions": [{"type": "transfer", "from": account, "to": "acc_sav", "percentage": "20"}],
        **changes,
    }


def test_a_rule_sees_what_follows_its_answer_and_nothing_before(
    producer: Person, person: Person
) -> None:
    rules, account = "/api/auto-actions/rules", f"{person.user}-a"
    producer("POST", "/api/events", 202, json=[opened(person.user, account)])
    for number in range(3):
        sent = [posted(person.user, account, n=f"before-{number}")]
        producer("POST", "/api/events", 202, json=sent)
        made = person("POST", rules, 201, json=rule(account, name=f"r{number}"))
        assert made.headers["location"] == f"{rules}/{made.json()['id']}"
        after = [posted(person.user, account, n=f"after-{number}")]
        producer("POST", "/api/events", 202, json=after)
        person("DELETE", made.headers["location"], 204)
        producer(
            "POST", "/api/events", 202, json=[posted(person.user, account, n=f"late-{number}")]
        )
    person.position = producer.position
    done = person("GET", "/api/auto-actions/executions").json()["items"]
    met = sorted(each["event"] for each in done)
    assert met == [f"{person.user}-after-{n}-bfc.transaction.posted" for n in range(3)]
    assert done[0]["actions"][0]["amount"] == {"amount": "100.00", "currency": "INR"}


def test_rules_are_made_changed_and_removed_by_their_owner_alone(
    system: System, person: Person
) -> None:
    rules = "/api/auto-actions/rules"
    made = person("POST", rules, 201, json=rule("acc_9f2")).json()
    assert made["version"] == 1
    place = f"{rules}/{made['id']}"
    shown = person("GET", place)
    assert shown.json() == made
    changed = person("PUT", place, json=rule("acc_9f2", status="paused")).json()
    assert (changed["version"], changed["status"]) == (2, "paused")
    assert person("GET", place).json() == changed
    stale = {"If-Match": shown.headers["etag"]}
    person("PUT", place, 412, json=rule("acc_9f2"), headers=stale)
    person("DELETE", place, 412, headers=stale)
    fresh = {"If-Match": person("GET", place).headers["etag"]}
    person("PUT", place, json=rule("acc_9f2", status="draft"), headers=fresh)
    stranger = Person(system)
    for method, body in (("GET", None), ("PUT", rule("acc_9f2")), ("DELETE", None)):
        stranger(method, place, 404, json=body)
    assert stranger("GET", rules).json() == {"items": [], "next": None}
    stranger.client.close()
    assert [each["id"] for each in person("GET", rules).json()["items"]] == [made["id"]]
    person("DELETE", place, 204)
    person("GET", place, 404)
    assert person("GET", rules).json()["items"] == []


def test_rules_that_are_wrong_say_where(producer: Person, person: Person) -> None:
    rules = "/api/auto-actions/rules"
    other = new_user()
    producer("POST", "/api/events", 202, json=[opened(other, f"{other}-a")])
    person.position = producer.position
    person("GET", rules)
    foreign = person.errors("POST", rules, json=rule(f"{other}-a"))
    assert foreign == ["trigger.account", "actions.0.from"]
    wrong = rule("a", conditions=[{"field": "amount", "op": "like", "value": "1"}])
    assert person.errors("POST", rules, json=wrong) == ["conditions.0.op"]
    assert person.errors("POST", rules, json=[]) == [""]
    person("POST", rules, 400, content="nonsense")


def test_the_ready_made_line_makes_a_rule(person: Person) -> None:
    listed = person("GET", "/api/auto-actions/templates").json()["items"]
    assert "salary-auto-invest" in [each["id"] for each in listed]
    path = "/api/auto-actions/templates/salary-auto-invest/create"
    body = {"percentage": 20, "targetAccount": "INV001"}
    made = person("POST", path, 201, json=body)
    assert person("GET", made.headers["location"]).json() == made.json()
    assert person.errors("POST", path, json={"percentage": 120, "targetAccount": "x"}) == [
        "percentage"
    ]
    person("POST", "/api/auto-actions/templates/nonsense/create", 404, json=body)


# Analytics ------------------------------------------------------------------------------------


def test_funnels_are_defined_tracked_and_asked(system: System, person: Person) -> None:
    analyst, name = Person(system, "analyst"), f"f-{new_user()}"
    steps = [{"name": f"{name}-one"}, {"name": f"{name}-two"}]
    funnels = "/api/analytics/funnels"
    made = analyst("POST", funnels, 201, json={"name": name, "steps": steps}).json()
    assert made["windowSeconds"] == 14 * 86_400
    analyst("POST", funnels, 409, json={"name": name, "steps": steps})
    assert analyst("GET", f"{funnels}/{name}").json() == made
    names = [
        each["name"] for each in analyst("GET", funnels, params={"limit": 200}).json()["items"]
    ]
    assert {"onboarding", "trading", "transfer", "auto_invest", name} <= set(names)
    for step in steps:
        body = {"sessionId": "s", "action": step["name"], "page": "/p", "platform": "vyomo"}
        person("POST", "/api/analytics/track", 202, json=body)
    analyst.position = f"{analyst.position},{person.position}"
    asked = analyst("GET", f"/api/analytics/funnel/{name}", params={"days": 30}).json()
    assert (asked["people"], asked["conversion"]) == (1, 1.0)
    assert [each["people"] for each in asked["steps"]] == [1, 1]
    analyst("PUT", f"{funnels}/{name}", json={"name": name, "steps": steps[:1]})
    assert len(analyst("GET", f"{funnels}/{name}").json()["steps"]) == 1
    analyst("DELETE", f"{funnels}/{name}", 204)
    analyst("GET", f"{funnels}/{name}", 404)
    analyst("GET", f"/api/analytics/funnel/{name}", 404)
    path = "/api/analytics/funnel/onboarding"
    assert analyst.errors("GET", path, params={"days": 0}) == ["days"]
    assert analyst.errors("GET", path, params={"from": "2026-01-01"}) == ["to"]
    assert analyst.errors("GET", path, params={"from": "2026-02-01", "to": "2026-01-01"}) == [
        "from"
    ]
    assert analyst.errors("POST", funnels, json={"name": "x y", "steps": []}) == ["name", "steps"]
    analyst.client.close()
    person("GET", path, 403)
    wrong = {"sessionId": "s", "action": "a", "platform": "fax"}
    assert person.errors("POST", "/api/analytics/track", json=wrong) == ["platform"]


# Around ---------------------------------------------------------------------------------------


def test_the_state_is_bare_for_all_and_whole_for_operators(system: System) -> None:
    assert httpx.get(f"{system.url}/api/sync/health").json() == {"status": "ok"}
    operator = Person(system, "operator")
    whole = operator("GET", "/api/sync/health").json()
    operator.client.close()
    assert whole["parts"]["kafka"] == {"up": True, "why": None}
    assert set(whole["lag"]) == {"net_worth", "notifications", "rules", "funnels", "analytics"}


def test_machines_and_newcomers_are_answered(system: System) -> None:
    with httpx.Client(base_url=system.url) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/ready").json()["parts"]["postgres"] == "up"
        metrics = client.get("/metrics").text
        for name in ("gateway_requests_total", "gateway_projection_lag_events{projection="):
            assert name in metrics
        assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
        assert client.get("/asyncapi.json").json()["asyncapi"].startswith("3.")
        schema = client.get("/schemas/bfc.transaction.posted.v1.json").json()
        assert "data" in schema["properties"]
        assert client.get("/schemas/nonsense.v1.json").status_code == 404
        page = client.get("/docs")
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert client.get("/docs/docs.js").headers["content-type"].startswith("text/javascript")
        assert client.get("/docs/settings.py").status_code == 404


def test_every_refusal_is_a_problem_with_the_request_s_id(system: System) -> None:
    with httpx.Client(base_url=system.url) as client:
        for method, path, status in (
            ("GET", "/api/wealth/net-worth", 401),
            ("GET", "/nowhere", 404),
            ("PATCH", "/api/notifications", 405),
        ):
            answer = client.request(method, path, headers={"X-Request-Id": "abc-123"})
            assert answer.status_code == status
            problem = answer.json()
            assert problem["status"] == status
            assert problem["requestId"] == answer.headers["x-request-id"] == "abc-123"
            assert answer.headers["x-content-type-options"] == "nosniff"
        made_up = client.get("/health", headers={"X-Request-Id": "a b"})
        assert made_up.headers["x-request-id"] != "a b"


def test_the_hundred_and_first_request_of_a_minute_is_refused(person: Person) -> None:
    path = "/api/auto-actions/templates"
    for number in range(100):
        answer = person("GET", path)
        assert answer.headers["ratelimit"].startswith(f'"person";r={99 - number};')
    refused = person("GET", path, 429)
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert person.client.get("/health").status_code == 200
