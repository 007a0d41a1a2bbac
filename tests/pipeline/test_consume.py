"""Loading from Kafka: every message once in effect, whatever is killed or moved; what cannot be stored is kept."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from pipeline_rows import books, warehouse
from relaying import process, running_relay
from test_load import message

from countroom import kafka as tap
from countroom.kafka import Configuration
from countroom.settings import Settings
from countroom.warehouse import consume, dead_letters, schema
from countroom.warehouse.dead_letters import ContractBrokenError
from patience import until

LOADER = """
import os, threading
from countroom.settings import load
from countroom.warehouse import consume
consume.run(load(os.environ), {"bootstrap.servers": os.environ["SERVERS"]}, threading.Event())
"""
COUNTED = "SELECT count(), uniqExact(transaction_id) FROM events_transactions FINAL"


@contextmanager
def running_loader(settings: Settings, brokers: Configuration) -> Iterator[threading.Thread]:
    stop = threading.Event()
    thread = threading.Thread(target=consume.run, args=(settings, brokers, stop), daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def put(brokers: Configuration, topic: str, *bodies: bytes | None) -> None:
    tap.ensure_topics(brokers, [topic], copies_max=1)
    producer = tap.producer(brokers)
    for number, body in enumerate(bodies):
        producer.produce(topic, body, str(number))
    assert producer.flush(20) == 0


def drained(settings: Settings, brokers: Configuration) -> None:
    """Load everything that is there, in this thread."""
    consume.run(settings, brokers, threading.Event(), drain=True)


def test_loaders_that_come_go_and_are_killed_lose_and_double_nothing(
    settings: Settings, brokers: Configuration
) -> None:
    with books(settings) as book, running_relay(settings, brokers):
        user = book.player()
        users = [user, *(book.player() for _ in range(11))]
        ids = [identity for one in users for identity in book.move_many(one, 200)]
        with process(LOADER, settings, brokers) as first:
            for step in range(2):
                with running_loader(settings, brokers):  # takes over a share, and gives it back
                    ids += [identity for one in users for identity in book.move_many(one, 100)]
                    book.cancel(*ids[step::5])
                    with warehouse(settings) as client:
                        until(lambda: bool(client.command("EXISTS TABLE events_transactions")))
                        until(lambda: bool(client.query("SELECT 1 FROM events_transactions").result_rows), 40)
                if step == 1:
                    first.send_signal(signal.SIGKILL)
                book.cancel(*ids[step + 2 :: 5])
        lsn = int(book.ask("SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0])
        book.ask("SELECT pg_logical_emit_message(true, 'countroom', 'test')")
        until(
            lambda: bool(book.ask("SELECT 1 FROM pg_replication_slots WHERE confirmed_flush_lsn - '0/0' >= %s", (lsn,)))
        )
        drained(settings, brokers)
        held = book.ask("SELECT status::text, count(*) FROM transactions GROUP BY 1 ORDER BY 1")
        with warehouse(settings) as client:
            assert client.query(COUNTED).first_row == (len(ids), len(ids))
            loaded = client.query("SELECT status, count() FROM events_transactions FINAL GROUP BY 1 ORDER BY 1")
            assert loaded.result_rows == held
            assert client.query("SELECT count() FROM players FINAL").first_row == (12,)
            behind = client.query(
                "SELECT sum(end_offset - next_offset) FROM loaded_partitions FINAL WHERE topic != 'canaries'"
            ).first_row
            assert behind == (0,)
        assert book.ask("SELECT count(*) FROM dead_letters") == [(0,)]


def test_poison_goes_to_the_table_and_the_topic_of_dead_letters_and_its_neighbours_are_loaded(
    settings: Settings, brokers: Configuration
) -> None:
    assert settings.database_url
    good = [message(number).body for number in range(20)]
    poison: list[bytes | None] = [
        None,  # a tombstone
        b"",
        b"[]",
        b"\x00",
        b'{"a": "' + b"x" * 600_000 + b'"}',
        message(1, created_at="2026-13-03T00:00:00.000000Z").body,
        message(1, status="asleep").body,
        json.dumps({"foreign": True}).encode(),
    ]
    put(brokers, "users", *good[:10], *poison, *good[10:])
    for _ in range(2):  # the second time nothing is left to load
        drained(settings, brokers)
    with books(settings) as book, warehouse(settings) as client:
        assert client.query("SELECT count() FROM players FINAL").first_row == (20,)
        kept = book.ask("SELECT partition, position, body, reason FROM dead_letters WHERE outcome IS NULL")
        assert sorted(bytes(body) for _, _, body, _ in kept) == sorted(body or b"" for body in poison)
        with closing(Consumer({**brokers, "group.id": "mourner", "enable.auto.commit": False})) as mourner:
            ends = tap.ends(brokers, "mourner", ["users.dead"])
            mourner.assign([TopicPartition(topic, number, 0) for topic, number in ends])
            copies = mourner.consume(len(poison), timeout=20)
        places = set()
        for one in copies:
            said: dict[str, bytes] = dict(one.headers() or [])  # type: ignore[arg-type]
            places.add((int(said["partition"]), int(said["offset"]), one.value() or b"", said["reason"].decode()))
        assert places == {(partition, offset, bytes(body), reason) for partition, offset, body, reason in kept}


def test_a_broken_topic_stops_the_loader_and_its_offsets_stay(
    settings: Settings, brokers: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "OPEN_MAX", 3)
    put(brokers, "users", *[message(number, status="asleep").body for number in range(10)])
    for _ in range(2):
        with pytest.raises(ContractBrokenError, match="countroom dead-letters list"):
            drained(settings, brokers)
    ends = tap.ends(brokers, consume.GROUP, ["users"])
    assert not tap.wait_until_read(brokers, consume.GROUP, ends, deadline=0)


def test_a_topic_that_was_deleted_and_made_again_is_loaded_from_its_beginning(
    settings: Settings, brokers: Configuration
) -> None:
    put(brokers, "users", *[message(number).body for number in range(30)])
    drained(settings, brokers)
    administration = AdminClient(dict(brokers))
    for deleted in administration.delete_topics(["users"]).values():
        deleted.result(10)
    put(brokers, "users", *[message(number).body for number in range(5)])
    drained(settings, brokers)
    with warehouse(settings) as client:
        assert client.query("SELECT count() FROM players FINAL").first_row == (35,)


def countroom(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200",
        "COUNTROOM_DATA": str(settings.data_dir), "DATABASE_URL": settings.database_url or "",
        "CLICKHOUSE_URL": settings.clickhouse_url or "", "REDIS_URL": settings.redis_url or "",
    }  # fmt: skip
    command = [sys.executable, "-m", "countroom", "dead-letters", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_dead_letters_are_listed_shown_retried_and_discarded(settings: Settings) -> None:
    assert settings.database_url
    assert settings.clickhouse_url
    schema.migrate(settings.clickhouse_url)
    keep = dead_letters.DeadLetters(settings.database_url).keep
    keep(message(7), "refused while a table was wrong")
    keep(message(8, status="asleep"), "breaks the contract")
    healed, hopeless = [
        letter.id for letter in dead_letters.listed(settings.database_url, settled=False, limit=9)[::-1]
    ]

    listed = countroom(settings, "list")
    assert listed.stdout.count("refused while a table was wrong") == listed.stdout.count(str(hopeless)) == 1
    assert '"status": "asleep"' in countroom(settings, "show", str(hopeless)).stdout
    retried = countroom(settings, "retry")
    assert (retried.returncode, retried.stdout.count(f"{healed} stored")) == (1, 1)
    assert countroom(settings, "discard", str(hopeless), "--reason", " ").returncode == 1
    assert countroom(settings, "discard", str(hopeless), "--reason", "a joke").returncode == 0
    assert countroom(settings, "discard", str(hopeless), "--reason", "again").returncode == 1
    assert "discarded a joke" in countroom(settings, "list", "--settled").stdout
    with warehouse(settings) as client:
        assert client.query("SELECT count() FROM players FINAL").first_row == (1,)
