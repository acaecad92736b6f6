"""The rate limit, settings and the OpenAPI document."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway.limits import PERSONS_MAX, WINDOW_SECONDS, RateLimit
from gateway.metrics import Metrics
from gateway.openapi import document
from gateway.routes import all_operations
from gateway.settings import SettingsWrong, settings_of

GIVEN: dict[str, Any] = {
    "kafka": "127.0.0.1:9092",
    "postgres": "postgresql://u@h/d",
    "clickhouse": "http://h:8123",
}
SECRET = {"STREAMS_JWT_SECRET": "s" * 32}


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_in_any_window_and_not_one_more() -> None:
    clock = Clock()
    rate = RateLimit(3, clock)
    remaining = []
    for second in (0, 10, 20):
        clock.now = 1_000.0 + second
        taken = rate.take("a")
        assert taken.allowed
        remaining.append(taken.remaining)
    assert remaining == [2, 1, 0]
    clock.now = 1_059.5
    refused = rate.take("a")
    assert not refused.allowed
    assert refused.headers == {
        "RateLimit-Policy": '"person";q=3;w=60',
        "RateLimit": '"person";r=0;t=1',
        "Retry-After": "1",
    }
    assert rate.take("b").allowed
    clock.now = 1_000.0 + WINDOW_SECONDS
    assert rate.take("a").allowed
    assert not rate.take("a").allowed
    clock.now = 1_010.0 + WINDOW_SECONDS
    assert rate.take("a").allowed


def test_persons_are_not_remembered_without_end() -> None:
    rate = RateLimit(1, Clock())
    for number in range(PERSONS_MAX + 10):
        rate.take(str(number))
    assert len(rate._seen) == PERSONS_MAX
    assert rate.take("0").allowed
    assert not rate.take(str(PERSONS_MAX)).allowed


def test_settings_are_read_as_a_whole() -> None:
    environ = {
        **SECRET,
        "STREAMS_CORS_ORIGINS": "https://a.example, https://b.example",
        "STREAMS_GATEWAY_PORT": "8080",
        "STREAMS_TAIL_HEARTBEAT_SECONDS": "5",
    }
    settings = settings_of(environ, GIVEN)
    assert settings.port == 8080
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.tail.heartbeat_seconds == 5
    assert "s" * 32 not in repr(settings)
    assert settings.seal_key == settings_of(SECRET, GIVEN).seal_key
    assert settings.seal_key != settings_of({"STREAMS_JWT_SECRET": "t" * 32}, GIVEN).seal_key


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "STREAMS_JWT_SECRET"),
        ({"STREAMS_JWT_SECRET": "short"}, "STREAMS_JWT_SECRET: must have at least 32 bytes"),
        ({"STREAMS_JWT_JWKS_URL": "ftp://x"}, "STREAMS_JWT_JWKS_URL: must be an http"),
        ({"STREAMS_JWT_JWKS_URL": "https://x/keys"}, "STREAMS_CURSOR_SECRET"),
        ({**SECRET, "STREAMS_GATEWAY_PORT": "70000"}, "STREAMS_GATEWAY_PORT: "),
        ({**SECRET, "STREAMS_TAIL_CLIENTS_MAX": "none"}, "STREAMS_TAIL_CLIENTS_MAX: "),
    ],
)
def test_wrong_settings_are_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsWrong) as error:
        settings_of(environ, GIVEN)
    assert said in str(error.value)


def test_the_document_is_valid_openapi_and_shows_every_route() -> None:
    operations = all_operations(Metrics())
    made = document(operations, "1")
    validate(made)
    shown = {
        (method.upper(), path) for path, methods in made["paths"].items() for method in methods
    }
    assert shown == {(each.method, each.path) for each in operations}
    names = [one["operationId"] for path in made["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))
    assert made["paths"]["/api/analytics/funnel/{name}"]["get"]["security"] == [
        {"bearer": ["analyst"]}
    ]
