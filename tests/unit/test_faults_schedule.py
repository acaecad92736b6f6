"""The schedule of the fault runs: the seed decides it, and nothing is left out."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.faults.parts import Broker
from tests.faults.schedule import ALL, Fault, Kind, deck, rounds
from tests.faults.settings import read_settings

BROKERS: tuple[Broker, ...] = ("tansu", "kafka")
SEEDS = range(30)


def first_faults(seed: int, broker: Broker) -> list[Fault]:
    """As many as the deck has cards."""
    every = (fault for each in rounds(seed, broker) for fault in each.faults)
    return list(islice(every, len(deck(broker))))


@pytest.mark.parametrize("broker", BROKERS)
def test_the_same_seed_gives_the_same_schedule(broker: Broker) -> None:
    for seed in SEEDS:
        once, again = (list(islice(rounds(seed, broker), 60)) for _ in range(2))
        assert once == again


@pytest.mark.parametrize("broker", BROKERS)
def test_other_seeds_give_other_schedules(broker: Broker) -> None:
    schedules = {tuple(islice(rounds(seed, broker), 20)) for seed in SEEDS}
    assert len(schedules) == len(SEEDS)


@pytest.mark.parametrize("broker", BROKERS)
def test_everything_comes_once_before_anything_comes_twice(broker: Broker) -> None:
    wanted = sorted((card.kind, card.target) for card in deck(broker))
    assert {kind for kind, _ in wanted} == set(Kind)
    for seed in SEEDS:
        assert sorted((each.kind, each.target) for each in first_faults(seed, broker)) == wanted


def test_the_broker_in_memory_is_never_killed() -> None:
    assert ("kill", "kafka") not in {(card.kind, card.target) for card in deck("tansu")}
    assert ("kill", "kafka") in {(card.kind, card.target) for card in deck("kafka")}


@pytest.mark.parametrize("broker", BROKERS)
def test_faults_of_one_round_hit_different_things(broker: Broker) -> None:
    for seed in SEEDS:
        for each in islice(rounds(seed, broker), 40):
            ways = (Kind.CUT, Kind.DELAY, Kind.STALL)
            hit = [(fault.target, fault.kind in ways) for fault in each.faults]
            assert len(set(hit)) == len(hit)
            assert len(each.faults) == 1 or ALL not in [fault.target for fault in each.faults]


@pytest.mark.parametrize("broker", BROKERS)
def test_a_zombie_sleeps_longer_than_the_group_waits(broker: Broker) -> None:
    from streams.app import SESSION_SECONDS

    for seed in SEEDS:
        for fault in first_faults(seed, broker):
            if fault.kind is Kind.ZOMBIE:
                assert fault.length > SESSION_SECONDS


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--seed", "-1"), "SEED"),
        (("--seed", "seven"), "SEED"),
        (("--minutes", "0"), "MINUTES"),
        (("--minutes", "long"), "MINUTES"),
        (("--broker", "rabbit"), "--broker"),
        (("--rate", "0"), "RATE"),
    ],
)
def test_a_wrong_setting_is_named(
    arguments: tuple[str, ...], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read_settings(arguments)
    assert named in capsys.readouterr().err


def test_a_run_can_be_repeated() -> None:
    settings = read_settings(("--seed", "7", "--minutes", "3", "--broker", "kafka"))
    assert settings.again == "make faults SEED=7 MINUTES=3 BROKER=kafka"
    drawn = read_settings(())
    assert f"SEED={drawn.seed} " in drawn.again
