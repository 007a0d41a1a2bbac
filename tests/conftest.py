"""The stores of the tests: the real ones, started once, with a fresh database for each test.

A test that asks for none of these fixtures cannot reach a store: no address is in its
environment, and there is no data folder from which one could be started.
"""

import asyncio
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
import psycopg2
import pytest
import redis as redis_client
from clickhouse_connect.driver.client import Client
from confluent_kafka.admin import AdminClient

from certificates import with_tls
from contract_matrix import matrix
from countroom.embedded import kafka as embedded_kafka
from countroom.embedded import postgres
from countroom.embedded import stores as embedded_stores
from countroom.embedded.kafka import Kafka
from countroom.embedded.process import free_port
from countroom.events.catalog import PUBLISHED
from countroom.kafka import Configuration
from countroom.schema import migrate
from countroom.settings import Settings, load
from databases import TEMPLATE, Databases, RunningStores, with_database
from folders import data_folder
from sandbox_process import Sandbox

for name in [name for name in os.environ if name.endswith("_URL") or name.startswith("COUNTROOM_")]:
    del os.environ[name]
# What Java starts here lives for minutes: a second compiler and a parallel collector cost more than they give.
embedded_kafka.ENVIRONMENT["JAVA_TOOL_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
# Where this is set, each process that a test starts would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["COUNTROOM_DATA"] = "/dev/null/unmarked-tests-have-no-stores"

LONG: Final = (
    "test_kill_kafka", "test_kill_anything", "test_debezium", "test_consume", "test_histories", "test_play",
    "test_live", "test_openapi", "test_up", "test_dashboard", "test_kafka", "test_kill_the_write_path", "test_relay",
    "test_readme",
)  # fmt: skip
"""The files whose tests take longest, ten seconds and more, the longest first."""


@pytest.fixture(scope="session")
def stores() -> Iterator[RunningStores]:
    """PostgreSQL, Valkey and ClickHouse, started once."""
    # Not what the tests are about, and most of the time that a fresh database takes.
    postgres.SETTINGS["fsync"] = "off"
    # What is said on the command line cannot be changed while the server runs, and a test loses a slot.
    del postgres.SETTINGS["max_slot_wal_keep_size"]
    with data_folder() as folder, embedded_stores.running(load({"COUNTROOM_DATA": str(folder)}), print) as settings:
        assert settings.database_url
        assert settings.redis_url
        assert settings.clickhouse_url
        yield RunningStores(settings, settings.database_url, settings.redis_url, settings.clickhouse_url)


@pytest.fixture(scope="session")
def databases(stores: RunningStores) -> Iterator[Databases]:
    """Migrated databases, made from a template."""
    with closing(psycopg2.connect(with_database(stores.database_url, "postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {TEMPLATE}")
        # In a thread of its own: no event loop of a test is touched.
        with ThreadPoolExecutor(max_workers=1) as pool:
            pool.submit(lambda: asyncio.run(migrate.apply(with_database(stores.database_url, TEMPLATE)))).result()
        yield Databases(stores.database_url, connection)


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A PostgreSQL database with the whole schema, and nothing in it."""
    with databases.one() as url:
        yield url


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
    with data_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded_kafka, "PROPERTIES", with_tls(folder, embedded_kafka.PROPERTIES))
        broker = Kafka(folder)
        broker.start()
        yield broker
        broker.stop()


@pytest.fixture
def brokers(kafka: Kafka) -> Configuration:
    """Kafka without a topic of ours and without a group."""
    brokers = {"bootstrap.servers": kafka.url}
    administration = AdminClient(dict(brokers))
    old = [topic for topic in administration.list_topics(timeout=10).topics if topic.removesuffix(".dead") in PUBLISHED]
    for deleted in administration.delete_topics(old).values() if old else ():
        deleted.result(10)
    groups = administration.list_consumer_groups().result(10).valid
    for gone in administration.delete_consumer_groups([one.group_id for one in groups]).values() if groups else ():
        gone.result(10)
    return brokers


@pytest.fixture
def settings(stores: RunningStores, database_url: str, redis_url: str, clickhouse_url: str) -> Settings:
    """Settings as a running process has them, for the fresh stores of this test."""
    return stores.settings_for(database_url, redis_url, clickhouse_url)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """The sandbox PSP and provider, not yet started."""
    made = Sandbox(tmp_path / "data", casino_port=free_port())
    yield made
    if made.process and made.process.poll() is None:
        made.kill()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest: a test that starts last costs all of its time.

    xdist gives each worker a part of the list, all equally long. The first part begins with everything that needs
    Kafka, so that one worker alone starts it; each of the others begins with its share of the long ones.
    """
    workers: int = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    first = sorted((item for item in items if item.path.stem in LONG), key=lambda item: LONG.index(item.path.stem))
    needing = [item for item in items if "kafka" in getattr(item, "fixturenames", ())]
    long = [item for item in first if item not in needing]
    begun = {*needing, *long}
    short = iter([item for item in items if item not in begun])
    others = max(workers - 1, 1)
    parts = [long[number::others] for number in range(others)]
    parts = [[*needing, *parts[0]]] if workers == 1 else [needing, *parts]
    for number, part in enumerate(parts):
        part.extend(islice(short, max(len(items) * (number + 1) // workers - sum(map(len, parts[: number + 1])), 0)))
    items[:] = [*chain.from_iterable(parts), *short]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was tried, where a test has noted it: a number that nobody sees proves nothing."""
    told = [
        pair for outcome in ("passed", "failed") for pair in _properties(terminalreporter.getreports(outcome), outcome)
    ]
    for _, name, value in told:
        if name == "ran":
            terminalreporter.write_line(str(value))
    for line in matrix([(outcome, *value) for outcome, name, value in told if name == "contract"]):
        terminalreporter.write_line(line)


def _properties(reports: list[pytest.TestReport], outcome: str) -> Iterator[tuple[str, str, Any]]:
    for report in reports:
        for name, value in report.user_properties:
            if report.when == "call":
                yield outcome, name, value
