"""What a definition may say, and what the log's commands make of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from projections.funnels.definition import Definition
from projections.funnels.given import GIVEN
from projections.funnels.projection import FUNNEL_DEFINITIONS, FunnelDefinitions
from projections.memory import run
from tests.builders import draft, events_of


def definition(**changes: Any) -> dict[str, Any]:
    made = {"name": "made", "steps": [{"name": "a"}, {"name": "b"}]}
    return {**made, **changes}


def test_defaults_are_those_of_the_contract() -> None:
    wire = Definition.model_validate(definition()).wire()
    assert (wire["order"], wire["windowSeconds"], wire["exclusions"]) == ("ordered", 1_209_600, [])
    assert wire["steps"][0] == {
        "name": "a",
        "match": {"type": "journey.step.recorded", "action": "a"},
    }
    assert Definition.model_validate(wire).wire() == wire


def test_the_four_given() -> None:
    assert {name: len(each.steps) for name, each in GIVEN.items()} == {
        "onboarding": 5,
        "trading": 4,
        "transfer": 4,
        "auto_invest": 4,
    }


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"steps": []}, "steps"),
        ({"steps": [{"name": f"s{n}"} for n in range(13)]}, "steps"),
        ({"order": "random"}, "order"),
        ({"windowSeconds": 0}, "windowSeconds"),
        ({"windowSeconds": "60"}, "windowSeconds"),
        ({"window": 60}, "window"),
        ({"steps": [{"name": "a", "match": {"type": "no.such"}}]}, "steps.0.match.type"),
        ({"steps": [{"name": "a", "match": {"action": "a"}}]}, "steps.0.match.type"),
        (
            {"steps": [{"name": "a", "match": {"type": "bfc.kyc.submitted", "level": [1]}}]},
            "steps.0.match.level",
        ),
        (
            {"steps": [{"name": "a", "match": {"type": "journey.step.recorded", "foo": "x"}}]},
            "steps.0.match",
        ),
        (
            {"exclusions": [{"match": {"type": "bfc.kyc.rejected"}, "fromStep": 2, "toStep": 2}]},
            "exclusions.0",
        ),
        (
            {"exclusions": [{"match": {"type": "bfc.kyc.rejected"}, "fromStep": 1, "toStep": 3}]},
            "",
        ),
    ],
)
def test_errors_name_the_field(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Definition.model_validate(definition(**changes))
    assert path in [".".join(map(str, each["loc"])) for each in caught.value.errors()]


async def test_a_later_command_takes_the_place_of_an_earlier_one() -> None:
    made = [
        draft("app.funnel.defined", {"name": "made", "definition": definition()}),
        draft("app.funnel.defined", {"name": "made", "definition": definition(order="strict")}),
        draft("app.funnel.defined", {"name": "other", "definition": definition(name="other")}),
        draft("app.funnel.removed", {"name": "other"}),
    ]
    store = await run(FunnelDefinitions(), [events_of(made)])
    rows = {row.name: row.definition for row in store.table(FUNNEL_DEFINITIONS)}
    assert rows["made"] is not None and rows["made"]["order"] == "strict"
    assert rows["other"] is None


async def test_a_definition_that_is_none_is_a_dead_letter() -> None:
    bad = draft("app.funnel.defined", {"name": "made", "definition": {"steps": []}})
    wrong = draft("app.funnel.defined", {"name": "made", "definition": definition(name="x")})
    store = await run(FunnelDefinitions(), [events_of([bad, wrong])])
    assert store.table(FUNNEL_DEFINITIONS) == []
    assert [letter.reason.split(":")[0] for letter in store.dead_letters.values()] == [
        "data.definition.steps",
        "data.definition.name",
    ]
