"""From an old version of a type's data to the next one, as wire JSON (camelCase).

An upcast is total: it takes whatever data is valid in the old version and gives data that is valid
in the new one. Folds see only the newest version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Data = dict[str, Any]


def kyc_submitted_1_to_2(data: Data) -> Data:
    """`fields` becomes `applicant`; the papers listed in it move to `documents`."""
    applicant = dict(data["fields"])
    listed = applicant.get("documents")
    documents: list[str] = []
    if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
        documents = applicant.pop("documents")
    rest = {name: value for name, value in data.items() if name != "fields"}
    return {**rest, "applicant": applicant, "documents": documents}


#: (type, version) -> the step to the next version.
UPCASTS: dict[tuple[str, int], Callable[[Data], Data]] = {
    ("bfc.kyc.submitted", 1): kyc_submitted_1_to_2,
}


def upcast(name: str, version: int, data: Data) -> Data:
    """The data in the newest version of its type."""
    while (step := UPCASTS.get((name, version))) is not None:
        data = step(data)
        version += 1
    return data
