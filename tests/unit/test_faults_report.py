"""What a fault run says at its end."""

from __future__ import annotations

from tests.faults.report import Recovery, Report
from tests.faults.schedule import Fault, Kind
from tests.faults.settings import Settings

SETTINGS = Settings(seed=7, minutes=3.0, broker="tansu", rate=100.0, keep=False)
KILL = Fault(Kind.KILL, "worker", 0.0, 1.0, 3)
CUT = Fault(Kind.CUT, "postgres", 0.0, 0.0, 3)


def ended(**also: object) -> Report:
    report = Report(SETTINGS, faults=[KILL, KILL, CUT], events=35_210, differences=[])
    report.recoveries = [Recovery(KILL, 2.0), Recovery(KILL, 6.0)]
    for name, value in also.items():
        setattr(report, name, value)
    return report


def test_a_run_without_differences_passes() -> None:
    report = ended()
    assert report.passed
    wanted = "faults: PASS seed=7 broker=tansu 3.0 min, 3 faults, 35210 events, 0 differences"
    assert report.lines()[-1] == wanted


def test_a_difference_fails_the_run_and_is_shown() -> None:
    report = ended(differences=["balances usr_1/acc_1: expected 5, found 6"])
    assert not report.passed
    assert "  difference: balances usr_1/acc_1: expected 5, found 6" in report.lines()
    assert report.lines()[-1].startswith("faults: FAIL seed=7")


def test_what_was_not_compared_did_not_pass() -> None:
    report = ended(differences=None)
    assert not report.passed
    assert "not compared" in report.verdict()


def test_what_broke_is_told_in_full_and_in_the_verdict() -> None:
    report = ended(differences=None, broken="no progress for 30 s:\n  rules stands at 4")
    assert "    rules stands at 4" in report.lines()
    assert report.lines()[-1].endswith("not compared, no progress for 30 s")


def test_recoveries_are_counted_by_fault() -> None:
    rows = {line[:24].strip(): line[24:].split() for line in ended().lines() if len(line) > 50}
    assert rows["kill worker"] == ["2", "2", "4.0", "6.0"]
    assert rows["cut postgres"] == ["1", "0", "-", "-"]
    assert rows["all"] == ["3", "2", "4.0", "6.0"]
