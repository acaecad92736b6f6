"""``/api/auto-actions``: rules, the ready-made ones, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field
from starlette.responses import Response

from gateway.answers import etag_of, json_answer, reading, written
from gateway.commands import append, caught_up, command, effective
from gateway.operations import Call, Operation, Shape
from gateway.paging import Page, Pages
from gateway.problems import Problem, not_found, wrong
from gateway.routes.shapes import MoneyShape
from projections.postgres.pool import acquire
from projections.rules import definition as rules
from projections.rules.bodies import RuleBody
from projections.rules.templates import TEMPLATES
from projections.rules.view import (
    foreign_accounts,
    get_rule,
    list_executions,
    list_rules,
    rule_json,
)
from schemas.envelope import Draft, uuid7
from schemas.errors import Invalid
from schemas.instants import rfc3339

PROJECTION = "rules"
_ACTIVE = "active"


class RuleShape(Shape):
    """A rule as it was posted, defaults filled in, with its id, version and times."""

    id: str
    name: str
    status: Literal["draft", "active", "paused"]
    trigger: dict[str, Any]
    conditions: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    requires_approval: bool
    cooldown_seconds: int
    max_executions_per_day: int | None
    timezone: str | None
    expires_at: str | None
    version: int
    created_at: str
    updated_at: str


class RulesPage(Shape):
    """A page of rules, newest first."""

    items: list[RuleShape]
    next: str | None


class ActionShape(Shape):
    """What an execution asked for; further members are those of the rule's action."""

    type: str
    status: str
    amount: MoneyShape | None = None


class Execution(Shape):
    """A rule met an event."""

    id: str
    rule_id: str
    rule_version: int
    event: str
    time: str
    outcome: Literal["triggered", "pending", "skipped"]
    reason: str | None
    actions: list[ActionShape]


class ExecutionsPage(Shape):
    """A page of executions, newest first by event time."""

    items: list[Execution]
    next: str | None


class ExecutionsQuery(Page):
    """Of which rule, and with which outcome."""

    rule_id: str | None = None
    outcome: Literal["triggered", "pending", "skipped"] | None = None


class Template(Shape):
    """A ready-made rule; `parameters` is a JSON Schema of what to send."""

    id: str
    name: str
    description: str
    parameters: dict[str, Any]


class Templates(Shape):
    """All ready-made rules."""

    items: list[Template]
    next: str | None = None


class TemplateParameters(Shape):
    """What the template's `parameters` say."""

    name: str | None = Field(None, description="and the template's own parameters")


async def show_all(call: Call) -> Response:
    """A page of the caller's rules."""
    query = call.query(Page)
    pages = Pages(call, PROJECTION, query)
    inner = pages.inner

    async def read() -> dict[str, Any]:
        async with acquire(call.parts.pool) as connection:
            page = await list_rules(connection, call.user_id, limit=query.limit, cursor=inner)
        return pages.sealed(page)

    return await reading(call, {PROJECTION: None}, read)


async def show(call: Call) -> Response:
    """One rule of the caller."""
    return await reading(call, {PROJECTION: None}, lambda: _found(call))


async def create(call: Call) -> Response:
    """Make a rule; it meets what is appended after this answer."""
    return await _create(call, _parsed(await call.json()))


async def change(call: Call) -> Response:
    """Replace a rule; the new version meets what is appended after this answer."""
    new = _parsed(await call.json())
    await caught_up(call, PROJECTION)
    old = await _found(call)
    _match(call, old)
    await _own(call, new)
    bearing = _bearing(call, new) | _bearing(call, old)
    data = {
        "rule": old["id"],
        "version": old["version"] + 1,
        "definition": new,
        "effective": await effective(call.parts, bearing),
    }
    changed = command(call, "app.rule.changed.v1", data, old["id"])
    drafts = [changed]
    if new["status"] == _ACTIVE != old["status"]:
        drafts.append(_activated(call, old["id"]))
    positions = await append(call.parts, drafts)
    body = {**old, **new, "version": data["version"], "updatedAt": rfc3339(changed.time)}
    return written(positions, body)


async def delete(call: Call) -> Response:
    """Remove a rule; it meets nothing that is appended after this answer."""
    await caught_up(call, PROJECTION)
    old = await _found(call)
    _match(call, old)
    data = {"rule": old["id"], "effective": await effective(call.parts, _bearing(call, old))}
    positions = await append(call.parts, [command(call, "app.rule.deleted.v1", data, old["id"])])
    return written(positions, None, 204)


async def executions(call: Call) -> Response:
    """A page of what the caller's rules did and did not do."""
    query = call.query(ExecutionsQuery)
    pages = Pages(call, "executions", query)
    inner = pages.inner

    async def read() -> dict[str, Any]:
        async with acquire(call.parts.pool) as connection:
            page = await list_executions(
                connection,
                call.user_id,
                rule_id=query.rule_id,
                outcome=query.outcome,
                limit=query.limit,
                cursor=inner,
            )
        return pages.sealed(page)

    return await reading(call, {PROJECTION: None}, read)


async def templates(call: Call) -> Response:
    """The ready-made rules."""
    items = [template.as_json() for template in TEMPLATES.values()]
    return json_answer({"items": items, "next": None})


async def create_of_template(call: Call) -> Response:
    """Make a rule of a template and its parameters."""
    template = TEMPLATES.get(call.path("id"))
    if template is None:
        raise not_found("there is no such template")
    body = await call.json()
    try:
        made = template.definition(body)
    except rules.InvalidRule as error:
        raise wrong(*error.errors) from None
    return await _create(call, made)


async def _create(call: Call, made: dict[str, Any]) -> Response:
    await _own(call, made)
    rule_id = uuid7()
    data = {
        "rule": rule_id,
        "version": 1,
        "definition": made,
        "effective": await effective(call.parts, _bearing(call, made)),
    }
    created = command(call, "app.rule.created.v1", data, rule_id)
    drafts = [created]
    if made["status"] == _ACTIVE:
        drafts.append(_activated(call, rule_id))
    positions = await append(call.parts, drafts)
    return written(
        positions,
        rule_json(rule_id, 1, made, created.time, created.time),
        201,
        {"Location": f"/api/auto-actions/rules/{rule_id}"},
    )


def _parsed(body: Any) -> dict[str, Any]:
    try:
        return rules.parse(body)
    except rules.InvalidRule as error:
        raise wrong(*error.errors) from None


def _bearing(call: Call, made: dict[str, Any]) -> frozenset[tuple[str, str]]:
    try:
        return rules.bearing_topics(made, call.user_id)
    except Invalid:
        # A definition of an older time that would not be taken now: it can be ended all the same.
        return frozenset()


async def _own(call: Call, made: dict[str, Any]) -> None:
    async with acquire(call.parts.pool) as connection:
        foreign = await foreign_accounts(connection, call.user_id, made)
    if foreign:
        raise wrong(*foreign)


async def _found(call: Call) -> dict[str, Any]:
    async with acquire(call.parts.pool) as connection:
        found = await get_rule(connection, call.user_id, call.path("id"))
    if found is None:
        raise not_found("there is no such rule")
    return found


def _match(call: Call, old: dict[str, Any]) -> None:
    wanted = call.request.headers.get("if-match")
    if wanted is not None and wanted.strip() != "*" and etag_of(old) not in _tags(wanted):
        raise Problem(412, "the rule is not the one that If-Match names any more")


def _tags(header: str) -> Sequence[str]:
    return [part.strip() for part in header.split(",")]


def _activated(call: Call, rule_id: str) -> Draft:
    return command(call, "app.rule.activated.v1", {"rule": rule_id}, rule_id)


_ID = "/api/auto-actions/rules/{id}"

OPERATIONS = (
    Operation(
        "GET",
        "/api/auto-actions/rules",
        show_all,
        "The caller's rules, newest first",
        answer=RulesPage,
        query=Page,
        reads=True,
    ),
    Operation(
        "POST",
        "/api/auto-actions/rules",
        create,
        "Make a rule",
        status=201,
        answer=RuleShape,
        body=RuleBody,
        writes=True,
    ),
    Operation("GET", _ID, show, "One rule", answer=RuleShape, reads=True),
    Operation("PUT", _ID, change, "Replace a rule", answer=RuleShape, body=RuleBody, writes=True),
    Operation("DELETE", _ID, delete, "Remove a rule", status=204, writes=True),
    Operation(
        "GET",
        "/api/auto-actions/executions",
        executions,
        "What the caller's rules did, and why not",
        answer=ExecutionsPage,
        query=ExecutionsQuery,
        reads=True,
    ),
    Operation(
        "GET", "/api/auto-actions/templates", templates, "Ready-made rules", answer=Templates
    ),
    Operation(
        "POST",
        "/api/auto-actions/templates/{id}/create",
        create_of_template,
        "Make a rule of a template",
        status=201,
        answer=RuleShape,
        body=TemplateParameters,
        writes=True,
    ),
)
