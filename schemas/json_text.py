"""JSON to the letter: what lenient parsers let through is found here, with its path.

Duplicate names, U+0000, lone surrogates, too deep nesting, too long texts, numbers that no double
can hold. The grammar itself is msgspec's, here and on the fast path.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from schemas import limits
from schemas.errors import FieldError

#: A string (to the end of the text if nothing ends it, so that the search stays linear), or one
#: bracket outside of strings.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|([\[\]{}])', re.DOTALL)

#: Characters of a name in a path.
NAME_SHOWN_MAX = 100

_TOO_DEEP = f"must not nest deeper than {limits.nesting_depth_max} arrays and objects"


class _Pairs(list[tuple[str, Any]]):
    """An object as it is written: its members in order, the repeated ones too."""


def parse(text: bytes, *, outer_depth: int = 0) -> tuple[Any, list[FieldError]]:
    """The value of a JSON text and everything that is wrong with its form.

    `outer_depth` is what the text would be nested in if it stood in a structured event (the data of
    binary mode: 1), so that both modes have the same bounds. Paths are relative to the value.
    """
    if _depth(text) + outer_depth > limits.nesting_depth_max:
        return None, [FieldError("", _TOO_DEEP)]
    errors: list[FieldError] = []
    try:
        value = msgspec.json.decode(text)
    except UnicodeDecodeError as error:
        return None, [FieldError("", f"is not UTF-8: {error.reason}")]
    except msgspec.MsgspecError as error:
        _inspect_lenient(text, errors)
        return None, errors or [FieldError("", f"is not JSON: {error}")]
    _inspect(_pairs(text), "", errors)
    return value, errors


def _pairs(text: bytes) -> Any:
    return json.loads(
        text.decode(),
        object_pairs_hook=_Pairs,
        parse_int=_no_number,
        parse_float=_no_number,
    )


def _inspect_lenient(text: bytes, errors: list[FieldError]) -> None:
    # Python's parser takes lone surrogates, so it can say where they are.
    try:
        _inspect(_pairs(text), "", errors)
    except ValueError:
        return


def inspect(value: Any) -> list[FieldError]:
    """The same for a value that is parsed already (duplicate names are lost by then)."""
    errors: list[FieldError] = []
    _inspect(value, "", errors, depth_left=limits.nesting_depth_max)
    return errors


def _depth(text: bytes) -> int:
    if text.count(b"{") + text.count(b"[") <= limits.nesting_depth_max // 2:
        return 0
    depth = deepest = 0
    for bracket in _TOKEN.findall(text):
        if bracket in (b"{", b"["):
            depth += 1
            deepest = max(depth, deepest)
        elif bracket:
            depth -= 1
    return deepest


def _no_number(text: str) -> None:
    return None


def _inspect(
    value: Any,
    path: str,
    errors: list[FieldError],
    depth_left: int = limits.nesting_depth_max,
) -> None:
    if isinstance(value, str):
        _inspect_text(value, path, errors)
    elif isinstance(value, _Pairs | dict | list):
        if depth_left == 0:
            errors.append(FieldError(path, _TOO_DEEP))
        elif isinstance(value, _Pairs | dict):
            _inspect_members(value, path, errors, depth_left - 1)
        else:
            for index, item in enumerate(value):
                _inspect(item, _join(path, str(index)), errors, depth_left - 1)


def _inspect_members(
    value: _Pairs | dict[str, Any], path: str, errors: list[FieldError], depth_left: int
) -> None:
    seen: set[str] = set()
    for name, member in value if isinstance(value, _Pairs) else value.items():
        if not isinstance(name, str):
            errors.append(FieldError(path, f"the name {name!r} is not a string"))
            continue
        inner = _join(path, legible(name))
        _inspect_text(name, inner, errors, what="the name")
        if name in seen:
            errors.append(FieldError(inner, "is there more than once; give it once"))
        seen.add(name)
        _inspect(member, inner, errors, depth_left)


def _inspect_text(text: str, path: str, errors: list[FieldError], what: str = "the text") -> None:
    if len(text) > limits.text_length_max:
        errors.append(
            FieldError(
                path,
                f"{what} has {len(text)} characters; {limits.text_length_max} are allowed",
            )
        )
    if "\0" in text:
        errors.append(FieldError(path, f"{what} must not contain U+0000"))
    if not text.isascii() and _has_surrogate(text):
        errors.append(FieldError(path, f"{what} must not contain a lone surrogate"))


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def legible(name: str) -> str:
    """A member's name as paths have it: whatever was sent, every reader and store can take it."""
    name = name[:NAME_SHOWN_MAX]
    return name if name.isprintable() else name.encode("unicode_escape").decode()


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
