"""What may change within a major version: optional fields may be added, and nothing else.

Narrowing a field breaks producers, widening one breaks readers, so every other difference is named.
Titles, descriptions and examples may change: they are words about the contract, not the contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.errors import Invalid

_WORDS = frozenset({"title", "description", "examples", "$comment", "$defs", "$id", "$schema"})


class BreakingChange(Invalid):
    """A published schema would be broken: make a new version of the type, with an upcast."""

    def __init__(self, found: Iterable[str]) -> None:
        self.breaks = tuple(found)
        super().__init__("\n".join([(type(self).__doc__ or ""), *self.breaks]))


def breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Everything in which `new` is not `old` plus optional fields, as sentences with paths."""
    found: list[str] = []
    name = str(new.get("title") or old.get("title") or "schema")
    _compare(_Root(old), old, _Root(new), new, name, found, frozenset())
    return found


class _Root:
    """A schema document, to look its references up in."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def resolve(self, schema: Any) -> tuple[Any, str | None]:
        """The schema behind a `$ref`, and the reference."""
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            return schema, None
        target: Any = self._document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        return {**target, **rest}, str(schema["$ref"])


def _compare(
    old_root: _Root,
    old: Any,
    new_root: _Root,
    new: Any,
    path: str,
    found: list[str],
    seen: frozenset[tuple[str | None, str | None]],
) -> None:
    old, old_reference = old_root.resolve(old)
    new, new_reference = new_root.resolve(new)
    both = (old_reference, new_reference)
    if old_reference is not None and both in seen:
        return
    seen |= {both}
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        if old != new:
            found.append(f"{path}: was {_short(old)}, is {_short(new)}")
        return
    _compare_fields(old, new, path, found)
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    for field in sorted(old_fields.keys() & new_fields.keys()):
        inner = f"{path}.{field}"
        _compare(old_root, old_fields[field], new_root, new_fields[field], inner, found, seen)
    for keyword in sorted((old.keys() | new.keys()) - _WORDS - {"properties", "required"}):
        inner = f"{path} ({keyword})"
        if keyword not in old or keyword not in new:
            was, is_ = old.get(keyword, "absent"), new.get(keyword, "absent")
            found.append(f"{inner}: was {_short(was)}, is {_short(is_)}")
        elif isinstance(old[keyword], list) and len(old[keyword]) == len(new[keyword]):
            for one, other in zip(old[keyword], new[keyword], strict=True):
                _compare(old_root, one, new_root, other, inner, found, seen)
        else:
            _compare(old_root, old[keyword], new_root, new[keyword], inner, found, seen)


def _compare_fields(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str, found: list[str]
) -> None:
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    old_required, new_required = set(old.get("required", ())), set(new.get("required", ()))
    for field in sorted(old_fields.keys() - new_fields.keys()):
        found.append(f"{path}.{field}: the field is gone")
    for field in sorted(new_required - old_required):
        added = field not in old_fields
        found.append(f"{path}.{field}: {'a new field' if added else 'it'} is required now")
    for field in sorted((old_required - new_required) & new_fields.keys()):
        found.append(f"{path}.{field}: it was required and is optional now")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 120 else f"{shown[:117]}..."
