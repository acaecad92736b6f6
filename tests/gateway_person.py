"""Somebody who calls the gateway over HTTP, and the events that they send."""

from __future__ import annotations

from typing import Any

import httpx

from tests.e2e.system import System
from tests.gateway_running import new_user


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
