"""Pages of lists: a limit, and a cursor that only its own list and person can use."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway.operations import Call, Shape
from gateway.problems import wrong
from schemas.errors import FieldError, Invalid

LIMIT_DEFAULT = 50
LIMIT_MAX = 200


class Page(Shape):
    """Which part of a list."""

    limit: int = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)
    cursor: str | None = Field(None, max_length=1_000, description="`next` of the page before")


class Pages:
    """Seals and opens the cursors of one list for one caller.

    What a view gives as its cursor stays inside: a caller can neither read nor make one.
    """

    def __init__(self, call: Call, name: str, page: Page) -> None:
        self._seal = call.parts.seal
        self._bound_to = (f"list {name}", call.user_id)
        self._page = page

    @property
    def inner(self) -> str | None:
        """The view's own cursor.

        Raises:
            Problem: 422, the caller's is not one of this list and person.
        """
        if self._page.cursor is None:
            return None
        try:
            return self._seal.open(self._page.cursor, *self._bound_to).decode()
        except Invalid as error:
            raise wrong(FieldError("cursor", str(error))) from None

    def sealed(self, page: dict[str, Any]) -> dict[str, Any]:
        """A view's page with a cursor that may travel."""
        inner = page["next"]
        if inner is None:
            return page
        return {**page, "next": self._seal.close(inner.encode(), *self._bound_to)}
