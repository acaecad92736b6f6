"""The local stack as its users see it: from Python and from the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import clickhouse_connect
import jwt
import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from compose.local import Ports, Stack, local_stack
from compose.local.errors import AlreadyRunning, OtherVersion, PortTaken, StartFailed
from compose.local.ports import accepts
from compose.local.service import descendants
from compose.local.state import register_gateway, running

STREAMS = (sys.executable, "-m", "compose.cli")
GONE_SECONDS_MAX = 20.0


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="streams-"))
    yield path
    shutil.rmtree(path)


def streams(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "STREAMS_LOCAL_FOLDER": str(folder)}
    return subprocess.run((*STREAMS, *words), env=environ, capture_output=True, text=True)


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    return [psutil.Process(each) for each in (pid, *descendants(pid))]


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, GONE_SECONDS_MAX)
    assert alive == []


def port_of(address: str) -> int:
    return int(address.rsplit(":", 1)[1])


async def test_the_servers_answer(stack: Stack, database: str, clickhouse_database: str) -> None:
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SHOW fsync") == "on"
    assert (await connection.fetchval("SHOW server_version")).startswith("18.")
    await connection.close()
    with clickhouse_connect.get_client(dsn=stack.clickhouse) as client:
        databases = client.query("SHOW DATABASES").result_columns[0]
    assert clickhouse_database in databases
    assert AdminClient({"bootstrap.servers": stack.kafka}).list_topics(timeout=10).brokers


def test_up_status_down(folder: Path) -> None:
    started = streams("local", "up", "--json", folder=folder)
    try:
        assert started.returncode == 0, started.stderr
        addresses = json.loads(started.stdout)
        assert list(addresses) == ["kafka", "postgres", "clickhouse"]
        found = running(folder)
        assert found is not None
        processes = family(found.supervisor.pid)

        again = streams("local", "up", folder=folder)
        assert again.returncode == 0
        assert all(address in again.stdout for address in addresses.values())
        assert "restart starts with an empty one" in again.stdout

        shown = streams("local", "status", "--json", folder=folder)
        assert json.loads(shown.stdout) == addresses
        assert streams("local", "up", "--kafka", folder=folder).returncode == 1
    finally:
        ended = streams("local", "down", folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert_gone(processes)

    after = streams("local", "status", "--json", folder=folder)
    assert (after.returncode, after.stdout) == (1, "{}\n")
    assert streams("local", "down", folder=folder).returncode == 0


def test_a_restart_keeps_ports_and_data(folder: Path) -> None:
    with local_stack(folder) as first:
        addresses = (first.kafka, first.postgres, first.clickhouse)
        with clickhouse_connect.get_client(dsn=first.clickhouse) as client:
            client.command("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
            client.insert("t", [[1], [2]])
    with local_stack(folder) as second:
        assert (second.kafka, second.postgres, second.clickhouse) == addresses
        with clickhouse_connect.get_client(dsn=second.clickhouse) as client:
            assert client.query("SELECT a FROM t ORDER BY a").result_rows == [(1,), (2,)]


@pytest.mark.parametrize("victim", ["parent", "supervisor"])
def test_a_kill_leaves_nothing_behind(folder: Path, victim: str) -> None:
    # The stack is started in a thread that is over by then: only the process may count.
    script = f"""
import sys, threading
from pathlib import Path
from compose.local import local_stack
opened = local_stack(Path({str(folder)!r}))
thread = threading.Thread(target=lambda: print(opened.__enter__().supervisor_pid, flush=True))
thread.start()
thread.join()
sys.stdin.read()
"""
    parent = subprocess.Popen(
        (sys.executable, "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin and parent.stdout
    supervisor = int(parent.stdout.readline())
    processes = family(supervisor)
    assert {"postgres", "tansu"} <= {each.name().split("-")[0] for each in processes}
    # The postmaster, the engine, the broker, the supervisor, and Postgres' own children.
    assert len(processes) > 6
    assert all(each.is_running() for each in processes)
    os.kill(parent.pid if victim == "parent" else supervisor, signal.SIGKILL)
    # A killed supervisor's remains are its parent's to collect, once that ends.
    assert_gone([each for each in processes if each.pid != supervisor])
    parent.kill()
    parent.communicate()
    assert_gone(processes)
    assert running(folder) is None
    with local_stack(folder) as stack:
        assert accepts(port_of(stack.kafka))


def test_two_stacks_side_by_side(stack: Stack, folder: Path) -> None:
    with local_stack(folder) as other:
        assert other.kafka != stack.kafka
        assert other.postgres != stack.postgres
        with pytest.raises(AlreadyRunning), local_stack(folder):
            pass
        with clickhouse_connect.get_client(dsn=other.clickhouse) as client:
            client.command("CREATE DATABASE only_here")
        with clickhouse_connect.get_client(dsn=stack.clickhouse) as client:
            assert "only_here" not in client.query("SHOW DATABASES").result_columns[0]


async def test_one_server_away_and_back(folder: Path) -> None:
    with local_stack(folder) as stack:
        connection = await asyncpg.connect(stack.postgres)
        await connection.execute("CREATE TABLE t AS SELECT 1 AS a")
        stack.stop("postgres", signal.SIGKILL)
        shown = streams("local", "status", folder=folder)
        assert shown.returncode == 1
        assert "ended by SIGKILL" in shown.stdout
        with pytest.raises((OSError, asyncpg.PostgresError)):
            await asyncpg.connect(stack.postgres)
        stack.start("postgres")
        connection = await asyncpg.connect(stack.postgres)
        assert await connection.fetchval("SELECT a FROM t") == 1
        await connection.close()
        assert streams("local", "status", folder=folder).returncode == 0


def test_a_server_that_dies_by_itself_is_told(folder: Path) -> None:
    with local_stack(folder) as stack:
        broker = psutil.Process(stack.pids["kafka"])
        broker.kill()
        assert_gone([broker])
        # The supervisor answers orders in turn: after this one it has noticed.
        stack.start("postgres")
        found = running(folder)
        assert found is not None
        assert found.ended == {"kafka": "ended by SIGKILL"}
        told = streams("local", "up", folder=folder)
        assert told.returncode == 1
        assert "Kafka ended by SIGKILL" in told.stderr


def test_a_port_asked_for_and_taken(stack: Stack, folder: Path) -> None:
    taken = Ports(kafka=port_of(stack.kafka))
    with pytest.raises(PortTaken, match=str(taken.kafka)), local_stack(folder, ports=taken):
        pass


def test_a_folder_of_another_version(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(OtherVersion, match="PostgreSQL 17"), local_stack(folder):
        pass


def test_a_server_that_cannot_start_is_quoted(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("18\n")
    quoted = r"postgres did not start: ended with status"
    with pytest.raises(StartFailed, match=quoted), local_stack(folder):
        pass
    assert running(folder) is None


def test_a_gateway_shows_among_the_addresses(folder: Path) -> None:
    with local_stack(folder):
        register_gateway(folder, "http://127.0.0.1:4025")
        shown = json.loads(streams("local", "status", "--json", folder=folder).stdout)
        assert shown["gateway"] == "http://127.0.0.1:4025"
        script = f"""
from pathlib import Path
from compose.local.state import register_gateway
register_gateway(Path({str(folder)!r}), "http://127.0.0.1:1")
"""
        subprocess.run((sys.executable, "-c", script), check=True)
        shown = json.loads(streams("local", "status", "--json", folder=folder).stdout)
        assert "gateway" not in shown


def test_a_token(folder: Path) -> None:
    words = ("token", "--user", "usr_17", "--scope", "analyst,operator", "--ttl", "60")
    made = streams(*words, folder=folder)
    assert made.returncode == 0, made.stderr
    secret = folder / "jwt.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    claims = jwt.decode(made.stdout.strip(), secret.read_text(), algorithms=["HS256"])
    assert claims["sub"] == "usr_17"
    assert claims["scope"] == "analyst operator"
    assert claims["tenant"] == "bfc"
    assert claims["exp"] - claims["iat"] == 60
    before = secret.read_text()
    assert streams("token", "--user", "usr_18", folder=folder).returncode == 0
    assert secret.read_text() == before
    refused = streams("token", "--user", "usr_17", "--scope", "king", folder=folder)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: no such scope: king")


@pytest.mark.kafka
def test_the_log_of_apache_kafka_lasts(kafka_stack: Stack) -> None:
    servers = {"bootstrap.servers": kafka_stack.kafka}
    admin = AdminClient(servers)
    admin.create_topics([NewTopic("lasting", 1, 1)])["lasting"].result(20)
    producer = Producer({**servers, "enable.idempotence": True})
    for number in range(100):
        producer.produce("lasting", str(number).encode())
    assert producer.flush(30) == 0
    for how in (None, signal.SIGKILL):
        kafka_stack.stop("kafka", how)
        assert not accepts(port_of(kafka_stack.kafka))
        kafka_stack.start("kafka")
        assert _read("lasting", servers) == [str(number).encode() for number in range(100)]


def _read(topic: str, servers: dict[str, str]) -> list[bytes | None]:
    """All values of its one partition; the client itself waits for a leader after a restart."""
    consumer = Consumer({**servers, "group.id": "reader", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes | None] = []
    while True:
        message = consumer.poll(30)
        assert message is not None, "the broker does not answer"
        error = message.error()
        if error is None:
            values.append(message.value())
        elif error.code() == KafkaError._PARTITION_EOF:
            break
    consumer.close()
    return values
