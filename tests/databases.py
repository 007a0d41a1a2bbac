"""Fresh databases on the stores of the tests."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from countroom.settings import Settings, load

TEMPLATE: Final = "template_migrated"


class RunningStores(NamedTuple):
    settings: Settings
    database_url: str
    redis_url: str
    clickhouse_url: str

    def settings_for(self, database_url: str, redis_url: str, clickhouse_url: str) -> Settings:
        """Settings as a running process has them, for these databases."""
        return load(
            {
                "COUNTROOM_DATA": str(self.settings.data_dir),
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_url,
                "CLICKHOUSE_URL": clickhouse_url,
                "COUNTROOM_SECRET_KEY": self.settings.secret_key or "",
                "COUNTROOM_SANDBOX_PSP_SECRET": self.settings.sandbox_psp_secret or "",
            }
        )


@contextmanager
def fresh_database(stores: RunningStores, administration: psycopg2.extensions.connection) -> Iterator[str]:
    """A PostgreSQL database with the whole schema, for as long as the block runs."""
    database = f"test_{secrets.token_hex(6)}"
    run(administration, f"CREATE DATABASE {database} TEMPLATE {TEMPLATE}")
    yield with_database(stores.database_url, database)
    drop_slots(administration, database)
    run(administration, f"DROP DATABASE {database} WITH (FORCE)")


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
