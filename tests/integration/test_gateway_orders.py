"""What people order over HTTP, rules and funnels, on a whole system."""

from __future__ import annotations

from typing import Any

from tests.e2e.system import System
from tests.gateway_person import Person, opened, posted
from tests.gateway_running import new_user

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
