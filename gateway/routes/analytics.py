"""``/api/analytics``: journeys in, funnels out."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError
from starlette.responses import Response

from gateway.answers import reading, written
from gateway.auth import ANALYST
from gateway.commands import SOURCE, append, caught_up, command
from gateway.operations import Access, Call, Operation, Shape
from gateway.paging import Page, Pages
from gateway.problems import Problem, not_found, of_validation, wrong
from projections.analytics.gather import ANALYTICS
from projections.funnels import view
from projections.funnels.definition import Definition
from projections.postgres.pool import acquire
from projections.postgres.reading import between_swaps
from schemas.envelope import Draft, now, uuid7
from schemas.errors import FieldError, Invalid
from schemas.events.fields import Day, Free, Id, Instant, Text
from schemas.events.journey import Platform

DEFINITIONS = "funnels"

#: Of a question that names no days: a month.
DAYS_DEFAULT = 30

_ANALYST = Access(scopes=(ANALYST,))


class Step(Shape):
    """One step of a session; `time` is now if it is missing."""

    model_config = ConfigDict(extra="forbid")

    session_id: Id
    action: Id
    page: Text | None = None
    platform: Platform
    feature: Text | None = None
    experiment: Text | None = None
    variant: Text | None = None
    properties: Free = Field(default_factory=dict)
    time: Instant | None = None


class Tracked(Shape):
    """The log has the step."""

    id: str
    position: str


async def track(call: Call) -> Response:
    """Record one step of the caller."""
    step: Step = await call.body(Step)
    data = {
        "session": step.session_id,
        "action": step.action,
        "page": step.page,
        "platform": step.platform,
        "feature": step.feature,
        "experiment": step.experiment,
        "variant": step.variant,
        "properties": step.properties,
    }
    step_id = uuid7()
    draft = Draft(
        id=step_id,
        type="journey.step.recorded.v1",
        source=SOURCE,
        data={name: value for name, value in data.items() if value is not None},
        time=step.time or now(),
        user_id=call.user_id,
        subject=step.session_id,
        tenant_id=call.parts.settings.tenant,
        correlation_id=step_id,
    )
    positions = await append(call.parts, [draft])
    return written(positions, {"id": step_id, "position": str(positions[0])}, 202)


class FunnelQuery(Shape):
    """Which days (UTC), both included: the last ``days``, or from one to another."""

    days: int | None = Field(None, ge=1, le=view.RANGE_DAYS_MAX)
    from_: Day | None = Field(None, alias="from")
    to: Day | None = None
    breakdown: str | None = Field(
        None, max_length=200, description="a field of the first step, such as `platform`"
    )
    interval: Literal["day"] | None = None

    def range(self, today: date) -> tuple[date, date]:
        """First and last day.

        Raises:
            Problem: 422, both ways of saying it, or one half of the second.
        """
        if self.from_ is None and self.to is None:
            return view.last_days(self.days or DAYS_DEFAULT, today)
        if self.days is not None:
            raise wrong(FieldError("days", "goes without from and to"))
        if self.from_ is None or self.to is None:
            missing = "from" if self.from_ is None else "to"
            raise wrong(FieldError(missing, "from and to go together"))
        return self.from_, self.to


class StepFigures(Shape):
    """People who came to a step; ratios are from 0 to 1."""

    step: int
    name: str
    people: int
    from_previous: float
    from_first: float
    drop_off: int
    median_seconds: float | None
    average_seconds: float | None


class FunnelAnswer(Shape):
    """A funnel over some days, with `days` and `groups` if they were asked for."""

    funnel: str
    from_: str = Field(alias="from")
    to: str
    order: str
    window_seconds: int
    people: int
    conversion: float
    steps: list[StepFigures]
    days: list[dict[str, Any]] | None = None
    breakdown: str | None = None
    groups: list[dict[str, Any]] | None = None


class Definitions(Shape):
    """A page of definitions, by name."""

    items: list[Definition]
    next: str | None


async def funnel(call: Call) -> Response:
    """How far people came in a funnel."""
    query: FunnelQuery = call.query(FunnelQuery)
    from_, to = query.range(now().date())

    async def read() -> dict[str, Any]:
        async with acquire(call.parts.pool) as connection:
            asked = await view.definition(connection, call.path("name"))
        if asked is None:
            raise not_found("there is no such funnel")
        try:
            return await between_swaps(
                call.parts.pool,
                ANALYTICS,
                lambda: view.funnel(
                    call.parts.clickhouse, asked, from_, to, query.breakdown, query.interval
                ),
            )
        except Invalid as error:
            path, _, message = str(error).partition(" ")
            raise wrong(FieldError(path, message)) from None

    return await reading(call, {ANALYTICS: None, DEFINITIONS: None}, read)


async def definitions(call: Call) -> Response:
    """A page of definitions."""
    query = call.query(Page)
    pages = Pages(call, DEFINITIONS, query)
    after = pages.inner

    async def read() -> dict[str, Any]:
        async with acquire(call.parts.pool) as connection:
            found = await view.definitions(connection)
        rest = [each for each in found if after is None or each.name > after]
        page = rest[: query.limit]
        last = page[-1].name if len(rest) > query.limit else None
        return pages.sealed({"items": [each.wire() for each in page], "next": last})

    return await reading(call, {DEFINITIONS: None}, read)


async def definition(call: Call) -> Response:
    """One definition."""

    async def read() -> dict[str, Any]:
        return (await _existing(call)).wire()

    return await reading(call, {DEFINITIONS: None}, read)


async def define(call: Call) -> Response:
    """Make a funnel of a new name."""
    made = _defined(await call.json())
    await caught_up(call, DEFINITIONS)
    if await _named(call, made.name) is not None:
        raise Problem(409, f"there is a funnel {made.name} already; PUT changes it")
    return await _define(call, made, 201)


async def redefine(call: Call) -> Response:
    """Change a funnel, or make it."""
    name = call.path("name")
    body = await call.json()
    made = _defined({"name": name, **body} if isinstance(body, dict) else body)
    if made.name != name:
        raise wrong(FieldError("name", "is not the name in the path"))
    await caught_up(call, DEFINITIONS)
    return await _define(call, made, 201 if await _named(call, name) is None else 200)


async def remove(call: Call) -> Response:
    """Remove a funnel."""
    await caught_up(call, DEFINITIONS)
    name = (await _existing(call)).name
    positions = await append(
        call.parts, [command(call, "app.funnel.removed.v1", {"name": name}, name)]
    )
    return written(positions, None, 204)


async def _define(call: Call, made: Definition, status: int) -> Response:
    wire = made.wire()
    draft = command(
        call, "app.funnel.defined.v1", {"name": made.name, "definition": wire}, made.name
    )
    positions = await append(call.parts, [draft])
    headers = {"Location": f"/api/analytics/funnels/{made.name}"} if status == 201 else {}
    return written(positions, wire, status, headers)


def _defined(body: Any) -> Definition:
    try:
        return Definition.model_validate(body)
    except ValidationError as error:
        raise of_validation(error) from None


async def _named(call: Call, name: str) -> Definition | None:
    async with acquire(call.parts.pool) as connection:
        return await view.definition(connection, name)


async def _existing(call: Call) -> Definition:
    found = await _named(call, call.path("name"))
    if found is None:
        raise not_found("there is no such funnel")
    return found


_NAME = "/api/analytics/funnels/{name}"

OPERATIONS = (
    Operation(
        "POST",
        "/api/analytics/track",
        track,
        "Record a step of a journey",
        status=202,
        answer=Tracked,
        body=Step,
        writes=True,
    ),
    Operation(
        "GET",
        "/api/analytics/funnels",
        definitions,
        "What the funnels are",
        access=_ANALYST,
        answer=Definitions,
        query=Page,
        reads=True,
    ),
    Operation(
        "POST",
        "/api/analytics/funnels",
        define,
        "Make a funnel",
        access=_ANALYST,
        status=201,
        answer=Definition,
        body=Definition,
        writes=True,
    ),
    Operation(
        "GET", _NAME, definition, "One funnel", access=_ANALYST, answer=Definition, reads=True
    ),
    Operation(
        "PUT",
        _NAME,
        redefine,
        "Change a funnel, or make it",
        access=_ANALYST,
        answer=Definition,
        body=Definition,
        writes=True,
        further=((201, Definition),),
    ),
    Operation("DELETE", _NAME, remove, "Remove a funnel", access=_ANALYST, status=204, writes=True),
    Operation(
        "GET",
        "/api/analytics/funnel/{name}",
        funnel,
        "How far people came",
        access=_ANALYST,
        answer=FunnelAnswer,
        query=FunnelQuery,
        reads=True,
    ),
)
