"""Dead letters that are retried after a fix are applied once, in order, in every read model."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import clickhouse_connect
import pytest

from compose.local.errors import NotInstalled
from compose.local.service import Child, Command
from compose.processes import Worker, environment_of
from schemas.codec import RawRecord
from schemas.envelope import Draft, document_of
from schemas.limits import partitions_embedded
from tests.builders import at, draft, opened, posted, record_of
from tests.e2e.later_types import OLD_TYPE
from tests.e2e.system import System, event_of, whole_system
from tests.e2e.test_bad_records import Sender

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
USER = "usr_retry"


@dataclass
class LaterWorker(Worker):
    """A worker of the next release."""

    def command(self) -> Command:
        arguments = ("worker", "--ready-file", str(self._mark))
        env = {**self.env, "PYTHONPATH": str(ROOT)}
        return Command((sys.executable, "-P", "-m", "tests.e2e.later_types", *arguments), env)


@dataclass
class Clinic:
    """A running system and its operator."""

    system: System

    def send(self, *records: RawRecord) -> None:
        sender = Sender(self.system)
        for record in records:
            sender.send(record, None, {})
        assert sender.finish() == []

    def operator(self, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        """`streams dead-letters …` as somebody types it."""
        stack = self.system.stack
        env = environment_of(self.system.folder, stack.addresses, partitions_embedded)
        return subprocess.run(
            [sys.executable, "-P", "-m", "compose.cli", "dead-letters", *arguments],
            env={**env, "PATH": "/usr/bin:/bin"},
            input=answer,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def told(self, *arguments: str) -> Any:
        """What it says, as JSON."""
        done = self.operator(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def next_release(self) -> None:
        """The worker ends and one that knows more takes its place."""
        old = self.system.children[0]
        assert isinstance(old.server, Worker)
        old.stop()
        later = LaterWorker(old.server.folder, old.server.env)
        self.system.children[0] = Child(later, self.system.folder / "logs")
        self.system.children[0].wait_ready()

    def ask(self, sql: str, *arguments: Any) -> list[Any]:
        async def main() -> list[Any]:
            connection = await asyncpg.connect(self.system.stack.postgres)
            try:
                return list(await connection.fetch(sql, *arguments))
            finally:
                await connection.close()

        return asyncio.run(main())

    def clickhouse(self, sql: str) -> list[Any]:
        with clickhouse_connect.get_client(dsn=self.system.stack.clickhouse) as client:
            return list(client.query(sql).result_rows)

    def balance(self, account: str) -> str:
        sql = "select amount from balances where user_id = $1 and account = $2"
        return str(self.ask(sql, USER, account)[0][0])

    def states(self, event_id: str) -> dict[str, str]:
        sql = "select projection, state from dead_letters where event_id = $1"
        return {row[0]: row[1] for row in self.ask(sql, event_id)}

    def places(self, *ids: str) -> list[tuple[str, int, str]]:
        """Where these events stand in the log, in its order."""
        return [
            (record.topic, record.partition, event_of(record)["id"])
            for record in self.system.log()
            if record.topic == "bfc.ledger" and event_of(record)["id"] in ids
        ]


@pytest.fixture(scope="module", params=["tansu", pytest.param("kafka", marks=pytest.mark.kafka)])
def clinic(request: pytest.FixtureRequest) -> Iterator[Clinic]:
    folder = Path(tempfile.mkdtemp(prefix="streams-retry-"))
    try:
        with whole_system(folder, kafka=request.param == "kafka") as system:
            yield Clinic(system)
    except NotInstalled as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_wrong_partition_is_made_good(clinic: Clinic) -> None:
    """Retried, the record goes where its key belongs."""
    made = posted("70.00", account="acc_p", user=USER, id="misplaced")
    record = record_of(made)
    wrong = (record.partition + 1) % partitions_embedded
    before = record_of(posted("1.00", account="acc_p", user=USER, id="placed"))
    clinic.send(before, record._replace(partition=wrong))
    clinic.system.rest()
    assert clinic.balance("acc_p") == "1.00"
    (listed,) = clinic.told("list", "--user", USER)["items"]
    assert listed["position"].startswith(f"bfc.ledger:{wrong}:")
    assert listed["reason"].startswith(f"partition: is {wrong}, but the key belongs in")
    assert listed["projection"] == "*"
    first = clinic.operator("retry", listed["position"], "--yes", "--by", "ann", "--why", "moved")
    assert first.stdout == "1 dead letter: retried; the relay puts them into the log\n"
    again = clinic.operator("retry", listed["position"], "--yes")
    assert again.stdout == "no open dead letter is meant; nothing was changed\n"
    clinic.system.rest()
    assert clinic.balance("acc_p") == "71.00"
    assert clinic.places("misplaced") == [
        ("bfc.ledger", number, "misplaced") for number in sorted((wrong, record.partition))
    ]
    rows = clinic.clickhouse("select count(), sum(amount) from transactions where account='acc_p'")
    assert [(count, str(total)) for count, total in rows] == [(2, "71.000000000000000000")]
    (shown,) = clinic.told("show", listed["position"])["items"]
    assert (shown["state"], shown["decidedBy"], shown["decidedWhy"]) == ("resolved", "ann", "moved")
    assert json.loads(shown["value"]["text"])["id"] == "misplaced"
    assert shown["headers"][0]["name"] == "content-type"


def test_a_fold_that_can_apply_it_now_does_and_the_others_leave_it(clinic: Clinic) -> None:
    """An update that overtook the opening of its account: refused by one projection of several."""
    changes = {"name": "Renamed", "currency": "INR"}
    data = {"account": "acc_f", "changes": changes}
    update = draft("bfc.account.updated", data, user=USER, id="overtook", time=at(5))
    clinic.send(record_of(update))
    clinic.system.rest()
    assert clinic.states("overtook") == {"net_worth": "open"}
    notices = clinic.ask("select * from notifications where user_id = $1", USER)
    clinic.send(record_of(opened("acc_f", user=USER, time=at(1), id="opened-f")))
    clinic.system.rest()
    asked = clinic.operator("retry", "--reason", "currency does not change", answer="n\n")
    assert asked.returncode == 1
    assert "1 dead letter: put into the log again? [y/N]" in asked.stdout
    assert clinic.states("overtook") == {"net_worth": "open"}
    said = clinic.operator("retry", "--reason", "currency does not change", answer="y\n")
    assert said.returncode == 0, said.stderr
    clinic.system.rest()
    assert clinic.states("overtook") == {"net_worth": "resolved"}
    names = clinic.ask("select name from accounts where account = 'acc_f'")
    assert [row[0] for row in names] == ["Renamed"]
    seen = clinic.clickhouse("select is_first from events where id = 'overtook' order by offset")
    assert [bool(row[0]) for row in seen] == [True, False]
    after = clinic.ask("select * from notifications where user_id = $1", USER)
    assert len(after) == len(notices) + 1, "one for the opening, none for the repetition"


def test_a_row_that_clickhouse_takes_now_is_there_once(clinic: Clinic) -> None:
    """Refused by the analysts' tables alone; what the others had applied stays as it is."""
    column = "alter table transactions modify column balance_after Nullable(Decimal({}))"
    clinic.clickhouse(column.format("9, 2"))
    large = {"balanceAfter": "12345678901.00"}
    made = posted("2000000.00", account="acc_c", user=USER, id="large", **large)
    clinic.send(record_of(made), record_of(posted("1.00", account="acc_c", user=USER)))
    clinic.system.rest()
    assert clinic.states("large") == {"analytics": "open"}
    assert clinic.balance("acc_c") == "2000001.00"
    clinic.clickhouse(column.format("38, 18"))
    retried = ("retry", "--projection", "analytics", "--topic", "bfc.ledger", "--yes")
    with ThreadPoolExecutor() as pool:
        done = [one.result() for one in [pool.submit(clinic.operator, *retried) for _ in range(3)]]
    assert [one.returncode for one in done] == [0, 0, 0]
    clinic.system.rest()
    assert clinic.states("large") == {"analytics": "resolved"}
    assert clinic.balance("acc_c") == "2000001.00"
    rows = clinic.clickhouse("select amount from transactions where account = 'acc_c' order by 1")
    assert [str(row[0]) for row in rows] == ["1.000000000000000000", "2000000.000000000000000000"]
    assert len(clinic.places("large")) == 2, "three operators at once, one record"


def old(number: int) -> RawRecord:
    """A posting of the version that the first release does not know."""
    made: Draft = posted("1.00", account="acc_o", user=USER, id=f"old-{number}")
    document = document_of(made, "bfc")
    data = {"transaction": f"t{number}", "account": "acc_o", "hundredths": 10**number}
    document |= {"type": OLD_TYPE, "data": data}
    return record_of(made)._replace(value=json.dumps(document).encode())


def test_a_type_that_the_next_release_knows_is_applied_in_order(clinic: Clinic) -> None:
    fine = [record_of(posted("0.01", account="acc_o", user=USER, id=f"new-{n}")) for n in range(4)]
    clinic.send(fine[0], old(1), fine[1], old(2), old(3), fine[2])
    clinic.system.rest()
    assert clinic.balance("acc_o") == "0.03"
    counted = clinic.told("list", "--count", "path", "--reason", "not a known type")
    assert counted == {"counts": [{"path": "type", "count": 3}]}
    early = clinic.operator("retry", "--reason", "is not a known type", "--limit", "1", "--yes")
    assert early.returncode == 0, early.stderr
    clinic.system.rest()
    assert clinic.balance("acc_o") == "0.03"
    counted = clinic.told("list", "--count", "state", "--reason", "known type", "--state", "all")
    assert counted == {
        "counts": [{"state": "open", "count": 3}, {"state": "superseded", "count": 1}]
    }
    clinic.next_release()
    done = clinic.operator("retry", "--reason", "is not a known type", "--yes")
    assert done.stdout.startswith("3 dead letters: retried")
    clinic.send(fine[3])
    clinic.system.rest()
    assert clinic.balance("acc_o") == "11.14"
    rows = clinic.clickhouse(
        "select id from events where user_id = 'usr_retry' and id like 'old-%' order by offset"
    )
    # The first one was refused once more meanwhile, so it stands behind the others.
    assert [row[0] for row in rows] == ["old-2", "old-3", "old-1"]
    amounts = clinic.clickhouse("select amount from transactions where account = 'acc_o'")
    assert Counter(f"{row[0]:.2f}" for row in amounts) == {
        "0.01": 4,
        "0.10": 1,
        "1.00": 1,
        "10.00": 1,
    }
    states = clinic.told("list", "--count", "state", "--reason", "known type", "--state", "all")
    assert states == {
        "counts": [{"state": "resolved", "count": 3}, {"state": "superseded", "count": 1}]
    }


def test_what_is_discarded_stays_listed_with_who_and_why(clinic: Clinic) -> None:
    clinic.send(record_of(posted(user=USER))._replace(value=b"\xff\x1b[2J", headers=[]))
    clinic.system.rest()
    (listed,) = clinic.told("list", "--reason", "CHARACTER (byte 0)")["items"]
    done = clinic.operator("discard", listed["position"], "--why", "a test", "--by", "bo", "--yes")
    assert done.stdout == "1 dead letter: discarded\n", done.stderr
    assert clinic.told("list", "--reason", "CHARACTER (byte 0)")["items"] == []
    shown = clinic.operator("show", listed["position"]).stdout
    assert "by bo: a test" in shown and "00000000  ff 1b 5b 32 4a" in shown
    assert "\x1b" not in shown
    again = clinic.operator("retry", listed["position"], "--yes")
    assert again.stdout == "no open dead letter is meant; nothing was changed\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("retry",), "POSITION: name positions or a filter; --all means every open one"),
        (("retry", "here"), "POSITION: a position is topic:partition:offset, got 'here'"),
        (("retry", "bfc.ledger:0:1", "--all"), "--all: says every open one"),
        (("list", "--topic", "nowhere"), "--topic: 'nowhere' is none of bfc.ledger"),
        (("list", "--state", "lost"), "--state: 'lost' is none of open, retried"),
        (("list", "--since", "yesterday"), "--since: must be an RFC 3339 time"),
        (("list", "--until", "2026-02-30"), "--until: must be a day that exists"),
        (("list", "--count", "colour"), "--count: 'colour' is none of projection"),
        (("discard", "bfc.ledger:0:1", "--why", " "), "--why: must not be empty"),
    ],
    ids=" ".join,
)
def test_errors_name_the_option(clinic: Clinic, arguments: tuple[str, ...], told: str) -> None:
    done = clinic.operator(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {told}"), done.stderr


def test_what_is_not_there_is_said(clinic: Clinic) -> None:
    done = clinic.operator("show", "bfc.ledger:0:999999")
    assert done.returncode == 1
    assert "no dead letter stands at bfc.ledger:0:999999" in done.stderr
