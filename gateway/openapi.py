"""The OpenAPI 3.1 document, made of the same table that the routes are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.operations import POSITION_HEADER, Operation
from gateway.problems import MEDIA_TYPE, ProblemDetails

_REFERENCE = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"{(\w+)}")

_SAID = {
    200: "What was asked for.",
    201: "Made; `Location` says where.",
    202: "The log has it.",
    204: "Done.",
    207: "Some were accepted, some rejected.",
    304: "What `If-None-Match` names is still so.",
    400: "The request does not parse.",
    401: "There is no token, or it is not believed.",
    403: "The token does not allow this.",
    404: "There is nothing here, or it is another person's.",
    413: "The body is too large.",
    422: "The request parses and is wrong; `errors` say where.",
    429: "Too many requests.",
    503: "Something behind is away, or a position is not reached yet; `Retry-After` says when.",
}


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The document for these operations."""
    shown = list(operations)
    models = _models(shown)
    references, definitions = models_json_schema(
        [(model, "serialization") for model in models], ref_template=_REFERENCE
    )
    schemas = {model: references[model, "serialization"] for model in models}
    paths: dict[str, dict[str, Any]] = {}
    for operation in shown:
        path = re.sub(r":\w+}", "}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, path, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Streams gateway",
            "version": version,
            "description": "Writes are events, reads are projections of them. A write answers with"
            " a position; a read that sends it back reflects the write.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _models(operations: Iterable[Operation]) -> list[type[BaseModel]]:
    found: dict[type[BaseModel], None] = {ProblemDetails: None}
    for operation in operations:
        further = [model for _, model in operation.further]
        for model in (operation.answer, operation.body, *further):
            if model is not None:
                found[model] = None
    return list(found)


def _operation(
    operation: Operation, path: str, schemas: dict[type[BaseModel], Any]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _operation_id(operation),
        "tags": [_tag(path)],
        "parameters": _parameters(operation, path),
        "responses": _responses(operation, schemas),
    }
    if operation.access.needs_token:
        described["security"] = [{"bearer": list(operation.access.scopes)}]
    if operation.body is not None:
        schema = schemas[operation.body]
        described["requestBody"] = {
            "required": True,
            "content": {media: {"schema": schema} for media in operation.body_media_types},
        }
    return described


def _parameters(operation: Operation, path: str) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]
    if operation.query is not None:
        schema = operation.query.model_json_schema()
        required = schema.get("required", [])
        for name, member in schema.get("properties", {}).items():
            found.append(
                {"name": name, "in": "query", "required": name in required, "schema": member}
            )
    if operation.reads:
        text = {"type": "string", "description": "topic:partition:offset[,…]"}
        found += [
            {"name": "at", "in": "query", "required": False, "schema": text},
            {"name": POSITION_HEADER, "in": "header", "required": False, "schema": text},
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "schema": {"type": "string"},
            },
        ]
    return found


def _responses(operation: Operation, schemas: dict[type[BaseModel], Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {str(operation.status): _answer(operation, operation.status)}
    if operation.answer is not None:
        answers[str(operation.status)]["content"] = {
            operation.media_type: {"schema": schemas[operation.answer]}
        }
    elif operation.status not in (204, 304):
        answers[str(operation.status)]["content"] = {operation.media_type: {}}
    for status, model in operation.further:
        answers[str(status)] = _answer(operation, status)
        answers[str(status)]["content"] = {operation.media_type: {"schema": schemas[model]}}
    for status in _problems(operation):
        answers.setdefault(
            str(status),
            {
                "description": _SAID[status],
                "content": {MEDIA_TYPE: {"schema": schemas[ProblemDetails]}},
            },
        )
    if operation.reads:
        answers["304"] = {"description": _SAID[304]}
    return answers


def _answer(operation: Operation, status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": _SAID[status]}
    headers: dict[str, Any] = {}
    if operation.reads or operation.writes:
        headers[POSITION_HEADER] = {"schema": {"type": "string"}}
    if operation.reads:
        headers["ETag"] = {"schema": {"type": "string"}}
    if status == 201:
        headers["Location"] = {"schema": {"type": "string"}}
    if headers:
        answer["headers"] = headers
    return answer


def _problems(operation: Operation) -> Iterable[int]:
    if operation.body is not None:
        yield from (400, 413)
    if operation.access.needs_token:
        yield from (401, 429)
    if operation.access.scopes:
        yield 403
    if "{" in operation.path:
        yield 404
    if operation.body is not None or operation.query is not None or operation.reads:
        yield 422
    if operation.reads or operation.writes:
        yield 503


def _operation_id(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path.removeprefix("/api"))
    return "_".join([operation.method.lower(), *words]).replace("__", "_")


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    return parts[1] if parts[0] == "api" and len(parts) > 1 else "meta"
