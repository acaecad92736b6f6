"""The kinds of fields that events are made of.

Each kind says once how its JSON is read, how it is written, and what its JSON Schema is. pydantic
reads these declarations for the careful path and the schemas; `schemas.compiled` reads the same
ones for the fast path, so both agree on what is valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from schemas import instants, limits
from schemas.errors import Invalid
from schemas.numbers import CURRENCIES, DECIMAL_PATTERN, is_plainly_positive
from schemas.numbers import decimal as parse_decimal


def wire_name(name: str) -> str:
    """The one naming rule: snake_case here, camelCase on the wire (`from_` is `from`)."""
    return to_camel(name.rstrip("_"))


class Data(BaseModel):
    """The data of an event, or an object inside it. Unknown members are ignored."""

    model_config = ConfigDict(
        alias_generator=wire_name,
        validate_by_name=True,
        validate_by_alias=True,
        extra="ignore",
        frozen=True,
        strict=True,
    )


@dataclass(frozen=True)
class Scalar:
    """A field that is a string on the wire and something better in Python."""

    name: str
    #: JSON string -> value; raises Invalid with what to do about it.
    read: Callable[[str], Any]
    #: The Python type, whose instances are taken as well when an event is made in Python.
    python: type
    #: value -> JSON string
    write: Callable[[Any], str]
    json_schema: tuple[tuple[str, Any], ...]

    def accept(self, value: object) -> Any:
        """The value of a JSON string or of a Python value; raises Invalid."""
        if isinstance(value, str):
            return self.read(value)
        if isinstance(value, self.python):
            return self.read(self.write(value))
        raise Invalid(f"must be a JSON string, not {json_kind(value)}")

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.accept,
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.write, when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.json_schema)


def json_kind(value: object) -> str:
    """What a JSON value is called in a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float | Decimal):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list | tuple) else "an object"


def _not_negative(text: str) -> Decimal:
    if is_plainly_positive(text):
        return Decimal(text)
    number = parse_decimal(text)
    if number < 0:
        raise Invalid("must not be below zero")
    return number


def _positive(text: str) -> Decimal:
    # What begins with another digit than zero is above it: the usual case, and the hot path.
    if is_plainly_positive(text):
        return Decimal(text)
    number = parse_decimal(text)
    if number <= 0:
        raise Invalid("must be above zero")
    return number


def _write_decimal(number: Decimal) -> str:
    if not number.is_finite():
        raise Invalid("must be a finite number")
    return f"{number:f}"


def _decimal(name: str, read: Callable[[str], Decimal], description: str, pattern: str) -> Scalar:
    schema = {"type": "string", "pattern": pattern, "description": description}
    return Scalar(name, read, Decimal, _write_decimal, tuple(schema.items()))


_UNSIGNED_PATTERN = DECIMAL_PATTERN.replace("^-?", "^")
_NOT_NEGATIVE_PATTERN = DECIMAL_PATTERN.replace("^-?", r"^(?!-.*[1-9])-?")
_POSITIVE_PATTERN = _UNSIGNED_PATTERN.replace("^", "^(?=.*[1-9])")

SIGNED = _decimal("signed", parse_decimal, "A decimal string of either sign.", DECIMAL_PATTERN)
NOT_NEGATIVE = _decimal(
    "not negative",
    _not_negative,
    "A decimal string, not below zero.",
    _NOT_NEGATIVE_PATTERN,
)
POSITIVE = _decimal("positive", _positive, "A decimal string above zero.", _POSITIVE_PATTERN)
DAY = Scalar(
    "day",
    instants.day,
    date,
    lambda value: str(value.isoformat()),
    (("type", "string"), ("format", "date")),
)
INSTANT = Scalar(
    "instant",
    instants.instant,
    datetime,
    instants.rfc3339,
    (("type", "string"), ("format", "date-time")),
)


@dataclass(frozen=True)
class OneOf:
    """A string out of a set that is too long to be written as a Literal."""

    name: str
    values: frozenset[str]
    message: str

    def accept(self, value: object) -> str:
        """The value if it is one of the set; raises Invalid."""
        if isinstance(value, str) and value in self.values:
            return value
        raise Invalid(self.message)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.accept)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "enum": sorted(self.values),
            "description": self.message,
        }


CURRENCY = OneOf(
    "currency",
    CURRENCIES,
    "must be an active ISO 4217 code in capitals, such as INR (no X-codes)",
)

#: Above zero.
Amount = Annotated[Decimal, POSITIVE]
Quantity = Annotated[Decimal, POSITIVE]
Rate = Annotated[Decimal, POSITIVE]
#: Not below zero.
Price = Annotated[Decimal, NOT_NEGATIVE]
Fee = Annotated[Decimal, NOT_NEGATIVE]
Limit = Annotated[Decimal, NOT_NEGATIVE]
#: Of either sign.
Balance = Annotated[Decimal, SIGNED]
Number = Annotated[Decimal, SIGNED]

Currency = Annotated[str, CURRENCY]
Day = Annotated[date, DAY]
Instant = Annotated[datetime, INSTANT]

#: The name of something: compared as it stands, never empty.
Id = Annotated[str, Field(min_length=1, max_length=limits.text_length_max)]
#: Any text, also an empty one.
Text = Annotated[str, Field(max_length=limits.text_length_max)]

#: JSON integers.
Count = Annotated[int, Field(ge=0, le=limits.integer_max)]
Positive = Annotated[int, Field(ge=1, le=limits.integer_max)]

#: An object with members of any name and any JSON value.
Free = dict[str, Any]


class Money(Data):
    """An amount with its currency; of either sign where a total is meant."""

    amount: Balance
    currency: Currency
