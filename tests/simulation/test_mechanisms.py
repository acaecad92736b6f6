"""Each mechanism matters: without it, histories break."""

from __future__ import annotations

import pytest

from tests.simulation.history import play
from tests.simulation.mechanisms import MECHANISMS

#: Histories within which the lack of a mechanism must show. Most show within ten.
HISTORIES_MAX = 250


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_lack_of_a_mechanism_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = MECHANISMS[name]
    for owner, attribute, replacement in lacking.attributes:
        monkeypatch.setattr(owner, attribute, replacement)
    for seed in range(lacking.first_seed, lacking.first_seed + HISTORIES_MAX):
        if play(
            seed, plan=lacking.plan, parts=lacking.parts, disturbances=lacking.disturbances
        ).broken:
            return
    pytest.fail(f"{HISTORIES_MAX} histories went well without this: {name}")
