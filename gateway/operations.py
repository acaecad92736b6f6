"""An operation of the HTTP API, described once: the route and the OpenAPI document come from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth import Principal
from gateway.bodies import read_json
from gateway.parts import Parts
from gateway.problems import of_validation, wrong
from schemas.errors import FieldError, Invalid
from schemas.position import PositionToken

M = TypeVar("M", bound=BaseModel)

POSITION_HEADER = "Streams-Position"


class Shape(BaseModel):
    """Something that travels as a body or a query, in camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True
    )


@dataclass(frozen=True)
class Access:
    """Who may call: everybody, whoever has a token, or whoever has one of these scopes.

    ``knows_callers`` False is for probes: tokens are not looked at, and nothing is counted.
    """

    needs_token: bool = True
    scopes: tuple[str, ...] = ()
    knows_callers: bool = True


PUBLIC = Access(needs_token=False)
PROBE = Access(needs_token=False, knows_callers=False)
PERSON = Access()


class Call:
    """One request on its way through an operation."""

    def __init__(self, request: Request, principal: Principal | None, parts: Parts) -> None:
        self.request = request
        self.parts = parts
        self._principal = principal

    @property
    def principal(self) -> Principal:
        """Who calls; only operations that need a token may ask."""
        assert self._principal is not None, "this operation is public"
        return self._principal

    @property
    def caller(self) -> Principal | None:
        """Who calls, if they said so."""
        return self._principal

    @property
    def user_id(self) -> str:
        """The person who calls."""
        return self.principal.user_id

    def path(self, name: str) -> str:
        """A parameter of the path."""
        return cast(str, self.request.path_params[name])

    def query(self, model: type[M]) -> M:
        """The query's parameters; empty ones count as absent.

        Raises:
            Problem: 422 with every parameter that is wrong.
        """
        given = {name: value for name, value in self.request.query_params.items() if value != ""}
        try:
            return model.model_validate(given)
        except ValidationError as error:
            raise of_validation(error) from None

    async def json(self) -> Any:
        """The body as JSON.

        Raises:
            Problem: 400 it does not parse; 413 it is too large.
        """
        return await read_json(self.request, self.parts.settings.body_bytes_max)

    async def body(self, model: type[M]) -> M:
        """The body as this model.

        Raises:
            Problem: 400 it does not parse; 413 it is too large; 422 it is wrong.
        """
        try:
            return model.model_validate(await self.json())
        except ValidationError as error:
            raise of_validation(error) from None

    def token(self) -> PositionToken:
        """The position that the answer must reflect: the header's, else ``?at=``, else none.

        Raises:
            Problem: 422 if it is not a position token.
        """
        header = self.request.headers.get(POSITION_HEADER)
        path, text = (
            (POSITION_HEADER, header)
            if header is not None
            else ("at", self.request.query_params.get("at", ""))
        )
        try:
            return PositionToken.parse(text)
        except Invalid as error:
            raise wrong(FieldError(path, str(error))) from None


Handle = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    ``answer`` is the model of the body, or None where there is none or it is not JSON
    (``media_type``). ``reads`` says that the answer reflects projections, so that it takes and
    carries a position.
    """

    method: str
    path: str
    handle: Handle
    summary: str
    access: Access = PERSON
    status: int = 200
    answer: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    reads: bool = False
    writes: bool = False
    media_type: str = "application/json"
    body_media_types: tuple[str, ...] = ("application/json",)
    further: tuple[tuple[int, type[BaseModel]], ...] = ()
    """Further answers that are not problems: status and body."""
