"""The contract for outsiders, generated: a JSON Schema per type and version, and AsyncAPI 3.

`python -m schemas.export [FOLDER]` writes them (default: `schemas/published`). It refuses to
replace a published schema by one that breaks it: that takes a new version of the type.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from schemas import limits
from schemas.attributes import Attributes
from schemas.compatibility import BreakingChange, breaks
from schemas.envelope import CONTENT_TYPE
from schemas.registry import TYPES, EventType, types_of
from schemas.topics import DEAD_LETTERS, TOPICS, KeyKind, Topic

Json = dict[str, Any]

PUBLISHED = Path(__file__).parent / "published"
ASYNCAPI_FILE = "asyncapi.json"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_KAFKA_BINDING = "0.5.0"


def export(folder: Path = PUBLISHED) -> list[Path]:
    """Write all documents into `folder` and say which files changed.

    Raises BreakingChange, and writes nothing, if a schema there would be broken.
    """
    made = documents()
    found: list[str] = []
    for name in made:
        published = folder / name
        if name != ASYNCAPI_FILE and published.exists():
            found += breaks(orjson.loads(published.read_bytes()), made[name])
    found += [
        f"{path.name}: the type was published and is gone"
        for path in sorted(folder.glob("*.json"))
        if path.name not in made
    ]
    if found:
        raise BreakingChange(found)
    folder.mkdir(parents=True, exist_ok=True)
    return [folder / name for name, document in made.items() if _write(folder / name, document)]


def documents() -> dict[str, Json]:
    """File name -> document."""
    schemas = {f"{name}.json": event_schema(each) for name, each in TYPES.items()}
    return {**schemas, ASYNCAPI_FILE: asyncapi()}


def text(document: Json) -> bytes:
    """A document as it is published: sorted, indented, with a newline at its end."""
    return orjson.dumps(
        document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    )


def event_schema(event_type: EventType) -> Json:
    """The JSON Schema of a whole event of one type and version."""
    schema = _event_schema(event_type, "#/$defs/")
    return {"$schema": _DIALECT, "$id": f"/schemas/{event_type.full_name}.json", **schema}


def _event_schema(event_type: EventType, definitions: str) -> Json:
    envelope = Attributes.model_json_schema(mode="validation")
    properties: Json = {name: _bare(part) for name, part in envelope["properties"].items()}
    properties["type"] = {"const": event_type.full_name}
    data = event_type.model.model_json_schema(
        mode="validation", by_alias=True, ref_template=definitions + "{model}"
    )
    nested = {name: _bare(part) for name, part in data.pop("$defs", {}).items()}
    properties["data"] = _bare(data)
    required = [*envelope["required"], "data"]
    if event_type.topic.needs_user:
        required.append("userid")
    schema: Json = {
        "title": event_type.full_name,
        "description": _summary(event_type.model.__doc__),
        "type": "object",
        "properties": properties,
        "required": sorted(required),
        "x-topic": event_type.topic.name,
        "x-key": event_type.topic.key.value,
    }
    return {**schema, "$defs": nested} if nested else schema


def _bare(schema: Any) -> Any:
    """The schema without what says nothing: titles that repeat names, defaults of null."""
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: {member: _bare(part) for member, part in value.items()}
        if name == "properties"
        else _bare(value)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str))
        and not (name == "default" and value is None)
    }


def _summary(doc: str | None) -> str:
    return " ".join((doc or "").split())


def asyncapi() -> Json:
    """The AsyncAPI 3 document: what this application receives from and sends to Kafka."""
    schemas: Json = {}
    messages: Json = {}
    for event_type in TYPES.values():
        schema = _event_schema(event_type, "#/components/schemas/")
        schemas.update(_same(schemas, schema.pop("$defs", {})))
        schemas[event_type.full_name] = schema
        messages[event_type.full_name] = _message(event_type)
    messages["dead-letter"] = _dead_letter()
    topics = TOPICS.values()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Streams",
            "version": "1.0.0",
            "description": "Events of the platforms in, one log; read models and derived events "
            "out. CloudEvents 1.0 in structured mode; binary mode is accepted on the way in.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {_name(topic): _channel(topic) for topic in topics},
        "operations": {_operation_name(topic): _operation(topic) for topic in topics},
        "components": {"messages": messages, "schemas": schemas},
    }


def _same(known: Mapping[str, Any], added: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, schema in added.items():
        assert known.get(name, schema) == schema, f"two models are called {name}"
    return added


def _name(topic: Topic) -> str:
    return topic.name.replace(".", "-")


def _message_names(topic: Topic) -> list[str]:
    if topic is DEAD_LETTERS:
        return ["dead-letter"]
    return [event_type.full_name for event_type in types_of(topic.name)]


def _channel(topic: Topic) -> Json:
    settings = topic.settings
    return {
        "address": topic.name,
        "title": topic.name,
        "description": topic.description,
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(topic)
        },
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": limits.partitions_default,
                "topicConfiguration": {
                    "cleanup.policy": [settings["cleanup.policy"]],
                    "retention.ms": int(settings["retention.ms"]),
                    "retention.bytes": int(settings["retention.bytes"]),
                    "max.message.bytes": int(settings["max.message.bytes"]),
                },
                "bindingVersion": _KAFKA_BINDING,
            }
        },
        "x-message-timestamp-type": settings["message.timestamp.type"],
    }


def _operation_name(topic: Topic) -> str:
    return f"{'send' if topic.derived else 'receive'}-{_name(topic)}"


def _operation(topic: Topic) -> Json:
    channel = f"#/channels/{_name(topic)}"
    return {
        "action": "send" if topic.derived else "receive",
        "channel": {"$ref": channel},
        "summary": topic.description,
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in _message_names(topic)],
    }


def _message(event_type: EventType) -> Json:
    return {
        "name": event_type.full_name,
        "title": event_type.full_name,
        "summary": _summary(event_type.model.__doc__),
        "contentType": CONTENT_TYPE,
        "headers": _headers({"content-type": {"type": "string", "const": CONTENT_TYPE}}),
        "payload": {"$ref": f"#/components/schemas/{event_type.full_name}"},
        "correlationId": {"location": "$message.payload#/correlationid"},
        "bindings": _key(event_type.topic.key),
    }


def _dead_letter() -> Json:
    texts = {
        "dl-projection": "The projection that refused it; * if none can read it.",
        "dl-reason": "What is wrong, as `path: message; ...`.",
        "dl-topic": "Where the record came from: the topic,",
        "dl-partition": "the partition",
        "dl-offset": "and the offset.",
    }
    headers = {
        name: {"type": "string", "description": description} for name, description in texts.items()
    }
    return {
        "name": "dead-letter",
        "title": "A record that could not be applied",
        "summary": "The original key, value and headers in order, then these headers.",
        "contentType": "application/octet-stream",
        "headers": {**_headers(headers), "required": list(texts)},
        "payload": {"description": "The original value, byte for byte; null stays null."},
        "bindings": _key(KeyKind.ORIGINAL),
    }


def _headers(properties: Json) -> Json:
    return {"type": "object", "properties": properties}


def _key(kind: KeyKind) -> Json:
    key = {"type": "string", "description": kind.value}
    return {"kafka": {"key": key, "bindingVersion": _KAFKA_BINDING}}


def _write(path: Path, document: Json) -> bool:
    new = text(document)
    if path.exists() and path.read_bytes() == new:
        return False
    path.write_bytes(new)
    return True


def main(arguments: Iterable[str]) -> int:
    """The command; gives the exit code."""
    folder = Path(next(iter(arguments), PUBLISHED))
    try:
        changed = export(folder)
    except BreakingChange as change:
        print(change, file=sys.stderr)
        return 1
    for path in changed:
        print(f"wrote {path}")
    print(f"{len(TYPES)} schemas and {ASYNCAPI_FILE} in {folder}: {len(changed)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
