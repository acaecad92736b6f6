"""Who watches a fault run."""

from __future__ import annotations

from tests.faults.parts import Target, Witness
from tests.faults.witness_money import MoneyWitness
from tests.faults.witness_reads import ReadsWitness
from tests.faults.witness_tail import TailWitness


def witnesses_of(target: Target) -> list[Witness]:
    """All of them, one of each kind."""
    return [MoneyWitness(target), ReadsWitness(target), TailWitness(target)]
