"""`make bench-peer`: all contestants on one broker in one go, in turns, each one's tables checked.

Time counts from the moment a contestant has its first events in hand to the moment its last
checkpoint is seen in the database; starting and joining a group are not in it, for anybody.
"""

from __future__ import annotations

import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.measure import figure
from tests.benchmarks.options import INTERRUPTED, Options, options_of, parser
from tests.benchmarks.peer import events, log
from tests.benchmarks.peer.heat import Failed, Heat, heat, say
from tests.benchmarks.peer.pair import EVENTS as PAIR_EVENTS
from tests.benchmarks.peer.pair import Joined, pair
from tests.benchmarks.peer.programs import CONTESTANTS, FAUST, LIMIT, OURS, PYTHON, Contestant
from tests.benchmarks.peer.verify import Verifier
from tests.benchmarks.report import Report
from tests.benchmarks.stand import stand

NAME = "peer"
SUMMARY = "one job, exactly once in PostgreSQL: our engine, frameworks, and a program by hand"

#: Not a contestant of the rounds: it has a longer log.
PAIR = "ours-x2"
NAMES = (*(each.name for each in CONTESTANTS), PAIR)

Heats = dict[str, list[Heat]]


def run(options: Options, report: Report) -> None:
    """Everybody."""
    compete(options, report, NAMES)


@dataclass(frozen=True)
class Competed:
    """What everybody did, and who did not get through with exact tables, and why."""

    done: Heats
    failures: dict[str, str]


def compete(options: Options, report: Report, names: Sequence[str]) -> Competed:
    """Let those run who are named, and tell."""
    chosen = [each for each in CONTESTANTS if each.name in names]
    heats: Heats = defaultdict(list)
    joined: list[Joined] = []
    failures: dict[str, str] = {}
    try:
        if chosen:
            _rounds(options, chosen, heats, failures)
        if PAIR in names:
            _pairs(options, joined, failures)
    finally:  # what was done before somebody lost patience, too
        _tell_rounds(report, options, heats)
        if joined:
            _tell_pairs(report, joined)
        for name, why in failures.items():
            report.note(f"{name} FAILED: {why}")
        _tell_ratios(report, heats, joined)
    return Competed(heats, failures)


def _rounds(
    options: Options, chosen: Sequence[Contestant], heats: Heats, failures: dict[str, str]
) -> None:
    """Round by round, so that what disturbs the machine for a while disturbs everybody."""
    records = events.made(options.scaled(events.EVENTS))
    verifier = Verifier(events.by_partition(records))
    with stand(kafka=options.kafka) as place:
        log.fill(place.stack.kafka, records)
        for number in range(1, options.runs + 1):
            for contestant in chosen:
                if contestant.name in failures:
                    continue
                try:
                    done = heat(place, contestant, verifier)
                except Failed as error:
                    failures[contestant.name] = str(error)
                    say(f"round {number}: {contestant.name}: failed")
                    continue
                heats[contestant.name].append(done)
                exact = "exact" if not done.differences else "NOT EXACT"
                say(f"round {number}: {contestant.name}: {done.rate:,.0f}/s, {exact}")
                if done.differences:
                    failures[contestant.name] = "; ".join(done.differences)


def _pairs(options: Options, joined: list[Joined], failures: dict[str, str]) -> None:
    records = events.made(options.scaled(PAIR_EVENTS))
    verifier = Verifier(events.by_partition(records))
    with stand(kafka=options.kafka) as place:
        log.fill(place.stack.kafka, records)
        del records
        for number in range(1, options.runs + 1):
            try:
                done = pair(place, verifier)
            except Failed as error:
                failures[PAIR] = str(error)
                break
            joined.append(done)
            say(f"run {number}: {PAIR}: {done.alone:,.0f}/s alone, {done.together:,.0f}/s together")
            if done.differences:
                failures[PAIR] = "; ".join(done.differences)


def _tell_rounds(report: Report, options: Options, heats: Heats) -> None:
    limit = {number: done.rate for number, done in enumerate(heats.get(LIMIT, ()))}
    rows = []
    for name, done in heats.items():
        of_limit = [each.rate / limit[n] for n, each in enumerate(done) if n in limit]
        trees = ("worker", "postgres", "broker", "all")
        rows.append(
            [
                name,
                float(median(each.events for each in done)),
                figure([each.rate for each in done]),
                figure(of_limit) if of_limit else None,
                *(figure([each.cpu[tree] for each in done]) for tree in trees),
                figure([each.usage.peak_mib["worker"] for each in done]),
                "yes" if not any(each.differences for each in done) else "NO",
            ]
        )
    if not rows:
        return
    report.table(
        f"Peer job: medians of {max(map(len, heats.values()))} rounds (least–most),"
        f" {options.broker}",
        [
            "contestant",
            "events",
            "events/s",
            "× limit",
            "CPU s/100k: worker",
            "postgres",
            "broker",
            "all",
            "worker MiB",
            "exact",
        ],
        rows,
    )
    report.data["peer"] = {
        name: [
            {
                "events": each.events,
                "seconds": each.seconds,
                "cpu_per_100k": each.cpu,
                "peak_mib": each.usage.peak_mib,
                "exact": not each.differences,
            }
            for each in done
        ]
        for name, done in heats.items()
    }
    report.note(
        "From the first events in hand to the last checkpoint. Contestants that are slow read the"
        " first part of the log alone."
    )


def _tell_pairs(report: Report, joined: Sequence[Joined]) -> None:
    report.table(
        "Two workers of ours, the second joining in the middle",
        ["events", "one: events/s", "two: events/s", "two/one", "longest pause, s", "exact"],
        [
            [
                float(joined[0].events),
                figure([each.alone for each in joined]),
                figure([each.together for each in joined]),
                figure([each.ratio for each in joined]),
                figure([each.pause for each in joined]),
                "yes" if not any(each.differences for each in joined) else "NO",
            ]
        ],
    )


def _tell_ratios(report: Report, heats: Heats, joined: Sequence[Joined]) -> None:
    """What the goals are about; the ratio to the limit last."""
    rates = {name: median(each.rate for each in done) for name, done in heats.items()}
    cpu = {name: median(each.cpu["all"] for each in done) for name, done in heats.items()}
    frameworks = [each.name for each in CONTESTANTS if each.framework and each.name in rates]
    rows: list[list[str | float | None]] = []
    if OURS in rates and frameworks:
        best = max(frameworks, key=lambda name: rates[name])
        rows.append([f"rate: ours / best framework ({best})", "≥ 4", rates[OURS] / rates[best]])
    if OURS in rates and FAUST in rates:
        rows.append(["rate: ours / Faust per event", "≥ 100", rates[OURS] / rates[FAUST]])
    if OURS in rates and LIMIT in rates:
        rows.append(["CPU per event: ours / limit", "≤ 1.4", cpu[OURS] / cpu[LIMIT]])
    if joined:
        rows.append(["rate: two workers / one", "≥ 1.15", median(each.ratio for each in joined)])
    if rows:
        report.table("Against the goals", ["what", "goal", "is"], rows)
    if (ratio := to_limit(heats)) is not None:
        report.note(f"ratio to the limit: {ratio:.2f}")


def to_limit(heats: Heats) -> float | None:
    """The median of the rounds' ratios of ours to the limit."""
    pairs = zip(heats.get(OURS, ()), heats.get(LIMIT, ()), strict=False)
    ratios = [ours.rate / limit.rate for ours, limit in pairs]
    return median(ratios) if ratios else None


def main(arguments: Sequence[str]) -> int:
    """The exit code is 0 when everybody got through with exact tables, 1 otherwise."""
    made = parser(SUMMARY)
    made.prog = "python -m tests.benchmarks.peer.run"
    made.add_argument("--only", default=",".join(NAMES), help=f"of: {','.join(NAMES)}")
    given = made.parse_args(arguments)
    names = given.only.split(",")
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        made.error(f"--only: {', '.join(unknown)}: known are {', '.join(NAMES)}")
    if not PYTHON.exists():
        made.error(f"{PYTHON} is missing: `make bench-peer` makes it")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report, options = Report(), options_of(given)
    report.data["options"] = options.facts()
    try:
        return 1 if compete(options, report, names).failures else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if given.json is not None:
            report.write(given.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
