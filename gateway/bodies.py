"""Bodies of requests: bounded, and parsed once."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request

from gateway.problems import Problem, malformed, wrong
from schemas import json_text
from schemas.errors import FieldError


async def read_body(request: Request, bytes_max: int) -> bytes:
    """The whole body.

    Raises:
        Problem: 413 if it is larger than ``bytes_max``, found out as early as possible.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > bytes_max:
        raise _too_large(bytes_max)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > bytes_max:
                raise _too_large(bytes_max)
            chunks.append(chunk)
    except ClientDisconnect:
        raise malformed("the body was cut off") from None
    return b"".join(chunks)


async def read_json(request: Request, bytes_max: int) -> Any:
    """The body as JSON, with the strictness that events have: no duplicate names, no U+0000.

    Raises:
        Problem: 400 if it does not parse, 413 if it is too large, 422 if it holds what no body may.
    """
    body = await read_body(request, bytes_max)
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(f"the body is not JSON: {error}" if body else "the body is empty") from None
    value, errors = json_text.parse(body)
    if errors:
        raise wrong(*(FieldError(path, message) for path, message in errors))
    return value


def _too_large(bytes_max: int) -> Problem:
    return Problem(413, f"the body is larger than {bytes_max} bytes")
