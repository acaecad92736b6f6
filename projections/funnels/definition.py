"""What a funnel is: steps, what matches them, in which order, within which time."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from projections.funnels.actions import JOURNEY
from schemas.registry import NEWEST

#: Longer funnels are no funnels, and steps and exclusions together must fit the 20 bits that say
#: what an event matches.
STEPS_MAX = 12
EXCLUSIONS_MAX = 8
assert STEPS_MAX + EXCLUSIONS_MAX <= 20

#: Fields of one match, and of its properties.
FIELDS_MAX = 20

WINDOW_SECONDS_DEFAULT = 14 * 86_400
WINDOW_SECONDS_MAX = 3_660 * 86_400

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

#: Fields of a journey event that are columns; everything else of it is in its properties.
JOURNEY_FIELDS = ("action", "page", "platform", "feature", "experiment", "variant", "session")

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


def _type_name(value: str) -> str:
    if value not in NEWEST:
        raise ValueError("is not a type of event (give it without its version)")
    return value


def _wanted(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) > FIELDS_MAX:
            raise ValueError(f"must not have more than {FIELDS_MAX} members")
        for member in value.values():
            _wanted(member)
    elif isinstance(value, str):
        if len(value) > 4_000 or "\0" in value:
            raise ValueError("must be a text of at most 4000 characters without U+0000")
    elif not isinstance(value, bool | int | float) or value != value:
        raise ValueError("must be a text, a number, true, false, or an object of these")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("must fit into 64 bits")
    return value


#: What a field must equal; of an object, what its members must equal.
Wanted = Annotated[Any, AfterValidator(_wanted)]


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        strict=True,
    )


class Match(_Part):
    """Equality on an event's fields, by their names on the wire; all must hold.

    A journey event with nothing but an action also stands for the domain event that is the same
    thing (``actions.SAME_AS``).
    """

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, AfterValidator(_type_name)]
    __pydantic_extra__: dict[str, Wanted] = Field(init=False)

    @property
    def fields(self) -> dict[str, Any]:
        """Field -> what it must equal."""
        return dict(self.__pydantic_extra__ or {})

    @model_validator(mode="after")
    def _check_fields(self) -> Match:
        fields = self.fields
        if len(fields) > FIELDS_MAX:
            raise ValueError(f"must not have more than {FIELDS_MAX} fields")
        if self.type == JOURNEY:
            for name, value in fields.items():
                if name == "properties":
                    if not isinstance(value, dict):
                        raise ValueError("properties must be an object")
                elif name not in JOURNEY_FIELDS:
                    known = ", ".join((*JOURNEY_FIELDS, "properties"))
                    raise ValueError(f"{name} is not a field of {JOURNEY} ({known})")
                elif not isinstance(value, str):
                    raise ValueError(f"{name} must be a text")
        return self

    @property
    def is_action(self) -> bool:
        """Whether it asks for an action and nothing else."""
        return self.type == JOURNEY and list(self.fields) == ["action"]


class Step(_Part):
    """One step; without a match it is the journey event whose action is the step's name."""

    name: Text
    match: Match

    @model_validator(mode="before")
    @classmethod
    def _match_by_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and "match" not in value and isinstance(value.get("name"), str):
            return {**value, "match": {"type": JOURNEY, "action": value["name"]}}
        return value


class Exclusion(_Part):
    """Events that end an attempt which stands between two steps; steps count from 1."""

    match: Match
    from_step: Annotated[int, Field(ge=1)]
    to_step: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _check_order(self) -> Exclusion:
        if self.from_step >= self.to_step:
            raise ValueError("fromStep must come before toStep")
        return self


class Definition(_Part):
    """A funnel, as it is made over HTTP and kept in the log."""

    name: Name
    order: Literal["ordered", "strict", "unordered"] = "ordered"
    window_seconds: Annotated[int, Field(ge=1, le=WINDOW_SECONDS_MAX)] = WINDOW_SECONDS_DEFAULT
    steps: Annotated[list[Step], Field(min_length=1, max_length=STEPS_MAX)]
    exclusions: Annotated[list[Exclusion], Field(max_length=EXCLUSIONS_MAX)] = []

    @model_validator(mode="after")
    def _check_exclusions(self) -> Definition:
        for number, exclusion in enumerate(self.exclusions):
            if exclusion.to_step > len(self.steps):
                raise ValueError(f"exclusions.{number}.toStep: there is no such step")
        return self

    def wire(self) -> dict[str, Any]:
        """The definition as JSON on the wire, defaults written out."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def matches(self) -> list[Match]:
        """What steps and exclusions match, steps first: the number is the bit of a match."""
        steps = [step.match for step in self.steps]
        return steps + [exclusion.match for exclusion in self.exclusions]
