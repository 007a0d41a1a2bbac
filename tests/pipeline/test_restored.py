"""PostgreSQL restored from a backup: what was read of the past that did not happen is not mixed with what follows."""

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace
from pipeline_rows import books, running_pipeline, warehouse
from relaying import running_relay
from test_consume import running_loader

from countroom.embedded.postgres import Postgres, find_binaries, place_of_cluster
from countroom.events import relay
from countroom.events.backwards import PositionsBackwards
from countroom.events.catalog import PUBLISHED
from countroom.kafka import Configuration
from countroom.schema import migrate
from countroom.settings import Settings
from countroom.warehouse import pipeline, reconcile
from databases import with_database
from folders import data_folder
from patience import until

PASSWORD = "of-a-test"
LOG_BYTES = 64 * 1024 * 1024


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL of this test's own."""
    with data_folder() as folder:
        folder.mkdir()
        made = Postgres(folder, PASSWORD, print)
        made.start()
        yield made
        made.stop()


def back_up(server: Postgres, folder: Path) -> None:
    subprocess.run(
        [find_binaries() / "pg_basebackup", "-h", "127.0.0.1", "-p", str(server.port), "-U", "countroom",
         "-D", folder, "-X", "stream", "-c", "fast"],
        env={"PATH": os.defpath, "PGPASSWORD": PASSWORD}, capture_output=True, check=True,
    )  # fmt: skip


def restore(server: Postgres, folder: Path) -> None:
    """Stop the server, put the backup in the place of its data, and start it."""
    server.stop()
    cluster = place_of_cluster(server.data_dir, print)
    owner = cluster.stat()
    shutil.rmtree(cluster)
    shutil.move(folder, cluster)
    for path in (cluster, *cluster.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    server.start()


def test_relay_and_pipeline_refuse_a_restored_database_and_the_documented_way_goes_on(
    settings: Settings, brokers: Configuration, server: Postgres, clickhouse_url: str, tmp_path: Path
) -> None:
    asyncio.run(migrate.apply(server.url))
    settings = replace(settings, database_url=server.url)
    through_kafka = replace(settings, kafka_servers=brokers["bootstrap.servers"])
    with books(settings) as book:
        user = book.player()
        kept = book.move_many(user, 50)
        with running_relay(settings, brokers), running_loader(settings, brokers):
            until(lambda: bool(book.ask("SELECT 1 FROM relay_copies WHERE topic = 'users'")), 40)
            back_up(server, tmp_path / "backup")
            # What the restored server writes for itself must not reach so far: it is noticed while its log is shorter.
            book.ask(f"SELECT pg_logical_emit_message(false, 'test', repeat('x', {LOG_BYTES}))")
            lost = book.move_many(user, 500)
            assert reconcile.compare(through_kafka, deadline_seconds=40).violations == ()
            # How far the loaders have read, the warehouse knows by the second.
            ((end,),) = book.ask("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
            with warehouse(settings) as client:
                until(lambda: client.query("SELECT max(_version) FROM canaries").result_rows[0][0] >= end, 20)
    restore(server, tmp_path / "backup")
    with books(settings) as book:
        assert book.ask("SELECT count(*) FROM transactions") == [(len(kept),)]
        assert book.ask("SELECT 1 FROM pg_replication_slots") == []  # a backup has none

        with pytest.raises(PositionsBackwards, match=r"Kafka's topics hold changes up to .* restored from a backup"):
            relay.run(server.url, brokers, threading.Event())
        with pytest.raises(PositionsBackwards, match=r"The warehouse holds changes up to .* restored from a backup"):
            pipeline.run(settings, threading.Event())
        ended = dict(book.ask("SELECT role, sentence FROM pipeline_processes WHERE state = 'ended'"))
        assert "Delete the topics and copy the tables anew" in ended["relay"]
        assert "Fill a new warehouse from it" in ended["pipeline"]
        assert book.ask("SELECT 1 FROM pg_replication_slots") == []  # nothing was touched
        with warehouse(settings) as client:  # and what was lost can be looked at
            assert client.query("SELECT count() FROM events_transactions FINAL").first_row == (len(kept) + len(lost),)
            anew = f"{clickhouse_url.rpartition('/')[2]}_anew"
            client.command(f"CREATE DATABASE {anew}")

        # The way of docs/pipeline.md, "After a restore".
        administration = AdminClient(dict(brokers))
        for deleted in administration.delete_topics(list(PUBLISHED)).values():
            deleted.result(10)
        through_kafka = replace(through_kafka, clickhouse_url=with_database(clickhouse_url, anew))
        try:
            with running_relay(through_kafka, brokers, "always"), running_loader(through_kafka, brokers):
                until(lambda: bool(book.ask("SELECT 1 FROM pg_replication_slots WHERE active")), 40)
                more = book.move_many(book.player(), 50)
                book.cancel(*kept[::3])
                proof = reconcile.compare(through_kafka, deadline_seconds=40)
            assert (proof.violations, proof.compared) == ((), len(kept) + len(more) + 2)
            with running_pipeline(replace(through_kafka, kafka_servers=None)):  # and directly
                book.cancel(*more)
                assert reconcile.compare(replace(through_kafka, kafka_servers=None)).violations == ()
        finally:
            with warehouse(settings) as client:
                client.command(f"DROP DATABASE {anew} SYNC")
