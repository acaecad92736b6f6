"""The HTTP API over a whole system: worker and gateway as processes, answers to the letter."""

from __future__ import annotations

import json

import httpx

from tests.e2e.system import System
from tests.gateway_person import Person, opened, posted
from tests.gateway_running import new_user

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
