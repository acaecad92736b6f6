"""The published contract: it is what the code says, and no version of a type is ever broken."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.compatibility import BreakingChange, breaks
from schemas.export import ASYNCAPI_FILE, PUBLISHED, documents, event_schema, export, main, text
from schemas.registry import TYPES, EventType
from schemas.topics import TOPICS
from tests.strategies import documents as event_documents

Json = dict[str, Any]
WHAT_TO_DO = "run `python -m schemas.export` and commit schemas/published"


def published(name: str) -> Json:
    path = PUBLISHED / name
    assert path.exists(), f"{name} is not published: {WHAT_TO_DO}"
    document: Json = json.loads(path.read_bytes())
    return document


@pytest.mark.parametrize("full_name", TYPES)
def test_no_published_schema_is_broken(full_name: str) -> None:
    found = breaks(published(f"{full_name}.json"), event_schema(TYPES[full_name]))
    assert not found, "a new version of the type is needed:\n" + "\n".join(found)


def test_what_is_published_is_what_the_code_says() -> None:
    made = documents()
    assert {path.name for path in PUBLISHED.glob("*.json")} == set(made), WHAT_TO_DO
    for name, document in made.items():
        assert (PUBLISHED / name).read_bytes() == text(document), f"{name}: {WHAT_TO_DO}"


@pytest.mark.parametrize("event_type", TYPES.values(), ids=lambda each: each.full_name)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_valid_events_conform_to_their_schema(event_type: EventType, data: st.DataObject) -> None:
    schema = event_schema(event_type)
    Draft202012Validator.check_schema(schema)
    document = data.draw(event_documents(event_type))
    assert [error.message for error in Draft202012Validator(schema).iter_errors(document)] == []
    document["specversion"] = "0.3"
    assert not Draft202012Validator(schema).is_valid(document)


POSTED = event_schema(TYPES["bfc.transaction.posted.v1"])
RAISED = event_schema(TYPES["notification.raised.v1"])


def data_fields(schema: Json) -> Json:
    fields: Json = schema["properties"]["data"]["properties"]
    return fields


def data_required(schema: Json) -> list[str]:
    required: list[str] = schema["properties"]["data"]["required"]
    return required


@pytest.mark.parametrize(
    "change",
    [
        lambda s: data_fields(s).update(loyalty={"type": "integer"}),
        lambda s: s["properties"].update(priority={"type": "string"}),
        lambda s: data_fields(s)["amount"].update(description="In other words."),
        lambda s: s.update(title="Another title"),
    ],
)
def test_optional_fields_and_words_may_be_added(change: Callable[[Json], None]) -> None:
    new = copy.deepcopy(POSTED)
    change(new)
    assert breaks(POSTED, new) == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda s: data_fields(s).pop("mcc"), "data.mcc"),
        (lambda s: data_fields(s).pop("amount"), "data.amount"),
        (lambda s: s["properties"].pop("sequence"), ".sequence"),
        (
            lambda s: (
                data_fields(s).update(iban={"type": "string"}),
                data_required(s).append("iban"),
            ),
            "data.iban",
        ),
        (lambda s: data_required(s).append("mcc"), "data.mcc"),
        (lambda s: data_required(s).remove("account"), "data.account"),
        (lambda s: data_fields(s)["account"].update(type="integer"), "data.account (type)"),
        (lambda s: data_fields(s)["account"].update(minLength=5), "data.account (minLength)"),
        (lambda s: data_fields(s)["account"].update(maxLength=64), "data.account (maxLength)"),
        (lambda s: data_fields(s)["account"].pop("minLength"), "data.account (minLength)"),
        (lambda s: data_fields(s)["account"].update(pattern="^acc_"), "data.account (pattern)"),
        (lambda s: data_fields(s)["amount"].update(pattern="^[0-9]+$"), "data.amount (pattern)"),
        (lambda s: data_fields(s)["amount"].pop("pattern"), "data.amount (pattern)"),
        (lambda s: data_fields(s)["direction"]["enum"].pop(), "data.direction (enum)"),
        (lambda s: data_fields(s)["direction"]["enum"].append("x"), "data.direction (enum)"),
        (
            lambda s: data_fields(s)["direction"]["enum"].__setitem__(0, "x"),
            "data.direction (enum)",
        ),
        (lambda s: data_fields(s)["mcc"]["anyOf"].pop(), "data.mcc (anyOf)"),
        (
            lambda s: data_fields(s)["mcc"]["anyOf"][0].update(maxLength=4),
            "data.mcc (anyOf) (maxLength)",
        ),
        (lambda s: s["properties"]["type"].update(const="x"), ".type (const)"),
        (lambda s: s["required"].append("sequence"), ".sequence"),
        (lambda s: s["required"].remove("userid"), ".userid"),
        (lambda s: s["properties"]["data"].update(additionalProperties=False), "data (additional"),
        (lambda s: s.update({"x-topic": "elsewhere"}), "(x-topic)"),
        (lambda s: s.update({"x-key": "symbol"}), "(x-key)"),
    ],
)
def test_every_other_change_is_seen(change: Callable[[Json], object], where: str) -> None:
    new = copy.deepcopy(POSTED)
    change(new)
    found = breaks(POSTED, new)
    assert len(found) == 1, found
    assert where in found[0]


def test_changes_behind_references_are_seen() -> None:
    new = copy.deepcopy(RAISED)
    new["$defs"]["Money"]["required"].remove("currency")
    assert ["totals" in line for line in breaks(RAISED, new)] == [True]
    renamed = json.loads(json.dumps(RAISED).replace("Money", "Amount"))
    assert breaks(RAISED, renamed) == []


def test_export_refuses_to_break_what_is_published(tmp_path: Path, capsys: Any) -> None:
    assert len(export(tmp_path)) == len(TYPES) + 1
    assert export(tmp_path) == []
    path = tmp_path / "bfc.transaction.posted.v1.json"
    old = copy.deepcopy(POSTED)
    data_fields(old)["iban"] = {"type": "string"}
    path.write_bytes(text(old))
    with pytest.raises(BreakingChange, match="iban"):
        export(tmp_path)
    assert json.loads(path.read_bytes()) == old, "nothing was written"
    assert main([str(tmp_path)]) == 1
    assert "iban" in capsys.readouterr().err
    path.unlink()
    assert export(tmp_path) == [path]
    (tmp_path / "bfc.gone.v1.json").write_bytes(text({}))
    with pytest.raises(BreakingChange, match="is gone"):
        export(tmp_path)


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def resolve(document: Json, reference: str) -> Any:
    target: Any = document
    for part in reference.removeprefix("#/").split("/"):
        target = target[part]
    return target


def test_the_asyncapi_document_is_whole() -> None:
    document = published(ASYNCAPI_FILE)
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= document["info"].keys()
    for reference in references(document):
        assert resolve(document, reference) is not None, reference
    channels = document["channels"]
    assert {channel["address"] for channel in channels.values()} == set(TOPICS)
    carried = set()
    for name, operation in document["operations"].items():
        channel = operation["channel"]["$ref"]
        topic = TOPICS[resolve(document, channel)["address"]]
        assert operation["action"] == ("send" if topic.derived else "receive"), name
        # An operation's messages must be those of its own channel.
        for message in operation["messages"]:
            assert message["$ref"].startswith(f"{channel}/messages/")
            carried.add(message["$ref"].rpartition("/")[2])
    assert carried == {*TYPES, "dead-letter"}
    for full_name, message in document["components"]["messages"].items():
        assert message["contentType"]
        if full_name in TYPES:
            payload = resolve(document, message["payload"]["$ref"])
            assert payload["properties"]["type"] == {"const": full_name}
    dead_letters = channels["dead-letters"]["bindings"]["kafka"]["topicConfiguration"]
    assert dead_letters["max.message.bytes"] == 1_048_588 + 64 * 1024
