"""Refusals as problem details (RFC 9457), one way for all routes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from projections.postgres.progress import NotReached
from projections.store import RowsRefused, Unavailable
from schemas.errors import FieldError, Invalid, InvalidEvent

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

#: Seconds after which somebody who was told "not now" may ask again.
RETRY_SECONDS = 1
UNAVAILABLE_RETRY_SECONDS = 5


class Problem(Exception):
    """A request that is answered with problem details.

    ``errors`` name what is wrong by dotted camelCase paths; ``members`` are further members of
    the document.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})


class ErrorItem(BaseModel):
    """One thing that is wrong; `path` is empty for the whole."""

    path: str
    message: str


class ProblemDetails(BaseModel):
    """What every refusal looks like."""

    model_config = ConfigDict(title="Problem")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    request_id: str = Field(serialization_alias="requestId")
    errors: list[ErrorItem] = []


def not_found(what: str = "there is nothing here, or it is another person's") -> Problem:
    """404: for what does not exist and for what belongs to somebody else alike."""
    return Problem(404, what)


def wrong(*errors: FieldError, detail: str = "the request is not valid") -> Problem:
    """422: it parses, and it is wrong."""
    return Problem(422, detail, errors=errors)


def malformed(detail: str) -> Problem:
    """400: it does not parse."""
    return Problem(400, detail)


def unavailable(detail: str, retry_seconds: int = UNAVAILABLE_RETRY_SECONDS) -> Problem:
    """503: something behind the gateway is away for now."""
    return Problem(503, detail, headers={"Retry-After": str(retry_seconds)})


def of_validation(error: ValidationError, prefix: str = "") -> Problem:
    """422 with every error that pydantic found."""
    return wrong(*(_field_error(item, prefix) for item in error.errors(include_url=False)))


def _field_error(item: Any, prefix: str) -> FieldError:
    parts = [str(part) for part in item["loc"]]
    path = ".".join([prefix, *parts] if prefix else parts)
    return FieldError(path, str(item["msg"]).removeprefix("Value error, "))


def respond(request: Request, problem: Problem) -> Response:
    """The answer to a request that met a problem."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.url.path,
        "requestId": request.scope.get("request_id", ""),
        **problem.members,
    }
    if problem.errors:
        document["errors"] = [error._asdict() for error in problem.errors]
    return Response(
        orjson.dumps(document), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def translate(error: Exception) -> Problem | None:
    """The problem that an error from below means to the caller; None if it is our fault."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return Problem(error.status_code, error.detail, headers=dict(error.headers or {}))
    if isinstance(error, NotReached):
        return unavailable(str(error), RETRY_SECONDS)
    if isinstance(error, Unavailable):
        logger.warning("unavailable: %s", error)
        return unavailable("a part that this needs does not answer now; try again")
    if isinstance(error, InvalidEvent):
        return wrong(*error.errors)
    if isinstance(error, RowsRefused):
        return wrong(FieldError("", "a value is not acceptable to the database"))
    if isinstance(error, Invalid):
        return wrong(FieldError("", str(error)))
    return None


async def on_error(request: Request, error: Exception) -> Response:
    """Starlette's way in: answer what `translate` knows, else say nothing of the inside."""
    problem = translate(error)
    if problem is None:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        problem = Problem(500, "this is our fault; the request id helps to find out why")
    return respond(request, problem)


HANDLED: tuple[type[Exception], ...] = (
    Problem,
    HTTPException,
    NotReached,
    Unavailable,
    RowsRefused,
    Invalid,
)
