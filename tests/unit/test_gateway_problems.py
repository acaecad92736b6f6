"""Refusals and failures: one form, an id, and nothing of the inside."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.problems import Problem, of_validation, translate
from gateway.routes.rules import ExecutionsQuery
from gateway.settings import settings_of
from projections.postgres.progress import NotReached
from projections.store import RowsRefused, Unavailable
from schemas.errors import FieldError, Invalid, InvalidEvent

GIVEN: dict[str, Any] = {
    "kafka": "127.0.0.1:9092",
    "postgres": "postgresql://u@h/d",
    "clickhouse": "http://h:8123",
    "cors_origins": "https://app.example",
    "tokens": {"secret": "s" * 32},
}


@asynccontextmanager
async def nothing(_settings: Any) -> Any:
    yield None


def client() -> httpx.AsyncClient:
    """A client of an application whose parts were never opened: whatever needs them fails."""
    app = create_app(settings_of({}, GIVEN), nothing)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


async def test_a_failure_of_ours_shows_nothing_of_the_inside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client() as http:
        with caplog.at_level(logging.ERROR):
            answer = await http.get("/openapi.json", headers={"X-Request-Id": "r-1"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["requestId"] == "r-1"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "parts" not in answer.text
    assert any(record.exc_info for record in caplog.records)


async def test_who_may_not_is_told_before_anything_is_opened() -> None:
    async with client() as http:
        for path in ("/api/wealth/net-worth", "/api/notifications", "/api/auto-actions/rules"):
            refused = await http.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
        assert (await http.get("/nowhere")).json()["title"] == "Not Found"
        wrong_method = await http.delete("/api/notifications")
        assert (wrong_method.status_code, wrong_method.json()["status"]) == (405, 405)
        assert "GET" in wrong_method.headers["allow"]


async def test_other_origins_are_answered_as_configured() -> None:
    async with client() as http:
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
        allowed = await http.options("/api/notifications/preferences", headers=asked)
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        other = {**asked, "Origin": "https://other.example"}
        refused = await http.options("/api/notifications/preferences", headers=other)
        assert "access-control-allow-origin" not in refused.headers
        seen = await http.get("/nowhere", headers={"Origin": "https://app.example"})
        assert "Streams-Position" in seen.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("error", "status", "paths"),
    [
        (Problem(418, "tea"), 418, []),
        (NotReached("later"), 503, []),
        (Unavailable("Postgres: password is hunter2"), 503, []),
        (RowsRefused("22021"), 422, [""]),
        (InvalidEvent([FieldError("data.a", "m")]), 422, ["data.a"]),
        (Invalid("wrong"), 422, [""]),
    ],
)
def test_errors_from_below_have_a_meaning(error: Exception, status: int, paths: list[str]) -> None:
    problem = translate(error)
    assert problem is not None
    assert problem.status == status
    assert [each.path for each in problem.errors] == paths
    assert "hunter2" not in problem.detail
    if status == 503:
        assert int(problem.headers["Retry-After"]) >= 1


def test_what_is_nobody_else_s_fault_has_none() -> None:
    assert translate(KeyError("x")) is None


def test_paths_of_queries_are_those_of_the_wire() -> None:
    with pytest.raises(ValueError, match="ruleId") as error:
        ExecutionsQuery.model_validate({"ruleId": 1, "outcome": "none"})
    problem = of_validation(error.value)  # type: ignore[arg-type]
    assert [each.path for each in problem.errors] == ["ruleId", "outcome"]
