"""The stores of the tests: the real ones, started once, with a fresh database for each test.

A test that asks for none of these fixtures cannot reach a store: no address is in its
environment, and there is no data folder from which one could be started.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import clickhouse_connect
import psycopg2
import psycopg2.extensions
import pytest
import redis as redis_client
from clickhouse_connect.driver.client import Client
from confluent_kafka.admin import AdminClient

from countroom.embedded import postgres
from countroom.embedded import stores as embedded_stores
from countroom.embedded.kafka import Kafka
from countroom.embedded.process import free_port
from countroom.events.catalog import TABLES
from countroom.kafka import Configuration
from countroom.schema import migrate
from countroom.settings import Settings, load
from folders import data_folder
from sandbox_process import Sandbox

for name in [name for name in os.environ if name.endswith("_URL") or name.startswith("COUNTROOM_")]:
    del os.environ[name]
os.environ["COUNTROOM_DATA"] = "/dev/null/unmarked-tests-have-no-stores"

TEMPLATE = "template_migrated"


class RunningStores(NamedTuple):
    settings: Settings
    database_url: str
    redis_url: str
    clickhouse_url: str


@pytest.fixture(scope="session")
def stores() -> Iterator[RunningStores]:
    """PostgreSQL, Valkey and ClickHouse, started once."""
    # Not what the tests are about, and most of the time that a fresh database takes.
    postgres.SETTINGS["fsync"] = "off"
    with data_folder() as folder, embedded_stores.running(load({"COUNTROOM_DATA": str(folder)}), print) as settings:
        assert settings.database_url
        assert settings.redis_url
        assert settings.clickhouse_url
        yield RunningStores(settings, settings.database_url, settings.redis_url, settings.clickhouse_url)


@pytest.fixture(scope="session")
def administration(stores: RunningStores) -> Iterator[psycopg2.extensions.connection]:
    """A connection on which databases are made; there is a migrated template to make them from."""
    with closing(psycopg2.connect(with_database(stores.database_url, "postgres"))) as connection:
        connection.autocommit = True
        run(connection, f"CREATE DATABASE {TEMPLATE}")
        # In a thread of its own: no event loop of a test is touched.
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(lambda: asyncio.run(migrate.apply(with_database(stores.database_url, TEMPLATE)))).result()
        yield connection


@pytest.fixture
def database_url(stores: RunningStores, administration: psycopg2.extensions.connection) -> Iterator[str]:
    """A fresh PostgreSQL database with the whole schema."""
    database = f"test_{secrets.token_hex(6)}"
    run(administration, f"CREATE DATABASE {database} TEMPLATE {TEMPLATE}")
    yield with_database(stores.database_url, database)
    drop_slots(administration, database)
    run(administration, f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture
def redis_url(stores: RunningStores) -> str:
    """An empty Valkey."""
    with closing(redis_client.Redis.from_url(stores.redis_url)) as client:
        client.flushdb()
    return stores.redis_url


@pytest.fixture(scope="session")
def warehouse_administration(stores: RunningStores) -> Iterator[Client]:
    """A client on which databases are made."""
    with closing(clickhouse_connect.get_client(dsn=stores.clickhouse_url, autogenerate_session_id=False)) as client:
        yield client


@pytest.fixture
def clickhouse_url(stores: RunningStores, warehouse_administration: Client) -> Iterator[str]:
    """A fresh, empty ClickHouse database."""
    database = f"test_{secrets.token_hex(6)}"
    warehouse_administration.command(f"CREATE DATABASE {database}")
    yield with_database(stores.clickhouse_url, database)
    warehouse_administration.command(f"DROP DATABASE {database} SYNC")


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """Apache Kafka, started once."""
    with data_folder() as folder:
        broker = Kafka(folder)
        broker.start()
        yield broker
        broker.stop()


@pytest.fixture
def brokers(kafka: Kafka) -> Configuration:
    """Kafka without a topic of ours and without a group."""
    brokers = {"bootstrap.servers": kafka.url}
    administration = AdminClient(dict(brokers))
    old = [topic for topic in administration.list_topics(timeout=10).topics if topic.removesuffix(".dead") in TABLES]
    for deleted in administration.delete_topics(old).values() if old else ():
        deleted.result(10)
    groups = administration.list_consumer_groups().result(10).valid
    for gone in administration.delete_consumer_groups([one.group_id for one in groups]).values() if groups else ():
        gone.result(10)
    return brokers


@pytest.fixture
def settings(stores: RunningStores, database_url: str, redis_url: str, clickhouse_url: str) -> Settings:
    """Settings as a running process has them, for the fresh stores of this test."""
    return load(
        {
            "COUNTROOM_DATA": str(stores.settings.data_dir),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "CLICKHOUSE_URL": clickhouse_url,
            "COUNTROOM_SECRET_KEY": stores.settings.secret_key or "",
            "COUNTROOM_SANDBOX_PSP_SECRET": stores.settings.sandbox_psp_secret or "",
        }
    )


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """The sandbox PSP and provider, not yet started."""
    made = Sandbox(tmp_path / "data", casino_port=free_port())
    yield made
    if made.process and made.process.poll() is None:
        made.kill()


def with_database(url: str, database: str) -> str:
    """Return the same server's address with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def run(connection: psycopg2.extensions.connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def drop_slots(connection: psycopg2.extensions.connection, database: str) -> None:
    """Drop the replication slots that a test left: a database with slots cannot be dropped."""
    deadline = time.monotonic() + 10
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s",
                (database,),
            )
            left = cursor.fetchall()
            if not left:
                return
            for slot, pid in left:
                try:
                    cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))
                    cursor.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
                except psycopg2.errors.ObjectInUse:
                    assert time.monotonic() < deadline, f"replication slot {slot} stays in use"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was tried, where a test has noted it: a number that nobody sees proves nothing."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "ran":
                terminalreporter.write_line(str(value))
