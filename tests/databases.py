"""Databases with the whole schema and nothing in them, one for each test.

A new one is nine hundred files, which take longer to make than most tests to run. So a database that a test has
left as it found it is emptied and renamed instead: its tables get new files, as in a new database. One in which a test
has changed anything but rows (a constraint, a trigger, a publication, what the migrations had filled in) is dropped.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import psycopg2.extensions

from countroom.settings import Settings, load

TEMPLATE: Final = "template_migrated"
OURS: Final = 16384
"""Where PostgreSQL begins to number what its users make; what is below came with it."""
PATIENCE_SECONDS: Final = 10.0

SHAPE: Final = """
    SELECT 'class ' || (to_jsonb(c) - '{relfilenode,relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,
                                        relminmxid}'::text[])::text
      FROM pg_class c WHERE oid >= %(ours)s AND relpersistence <> 't'
""" + "".join(
    # Whatever is made, changed or dropped leaves its trace in one of these; `xmin` is who wrote a row.
    f" UNION ALL SELECT '{catalog} ' || xmin::text || ctid::text FROM {catalog} WHERE {which}"
    for catalog, which in {
        "pg_attribute": "attrelid >= %(ours)s",
        "pg_attrdef": "true",
        "pg_constraint": "oid >= %(ours)s",
        "pg_depend": "objid >= %(ours)s",
        "pg_enum": "true",
        "pg_event_trigger": "true",
        "pg_extension": "true",
        "pg_index": "indexrelid >= %(ours)s",
        "pg_namespace": "nspname !~ '^pg_(toast_)?temp'",
        "pg_proc": "oid >= %(ours)s",
        "pg_publication": "true",
        "pg_publication_rel": "true",
        "pg_rewrite": "oid >= %(ours)s",
        "pg_sequence": "true",
        "pg_trigger": "oid >= %(ours)s",
        "pg_type": "oid >= %(ours)s",
    }.items()
)


class RunningStores(NamedTuple):
    """The stores of a worker."""

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


class Databases:
    """Gives databases and takes them back. ``administration`` is a connection that may make and drop them."""

    def __init__(self, server_url: str, administration: psycopg2.extensions.connection) -> None:
        self.server_url = server_url
        self.administration = administration
        self.emptied: list[str] = []
        with self._connected(TEMPLATE) as cursor:
            cursor.execute("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'")
            tables = [name for (name,) in cursor.fetchall()]
            filled = _filled(cursor, tables)
            self.tables = [name for name in tables if name not in filled]
            self.shape = _shape(cursor, filled)
        self.filled = filled

    def url(self, database: str) -> str:
        """Return the address of a database."""
        return with_database(self.server_url, database)

    @contextmanager
    def one(self) -> Iterator[str]:
        """Give the address of a database for the length of the block."""
        database = f"test_{secrets.token_hex(6)}"
        if self.emptied:
            self._run(f"ALTER DATABASE {self.emptied.pop()} RENAME TO {database}")
        else:
            self._run(f"CREATE DATABASE {database} TEMPLATE {TEMPLATE}")
        yield self.url(database)
        self._disconnect(database)
        self._drop_slots(database)
        if self._empty(database):
            self.emptied.append(database)
        else:
            self._run(f"DROP DATABASE {database} WITH (FORCE)")

    def _empty(self, database: str) -> bool:
        """Remove all rows; return whether the database is then as a new one."""
        try:
            with self._connected(database) as cursor:
                cursor.execute("SELECT pg_stat_reset(); SET session_replication_role = replica")  # no trigger refuses
                if written := _filled(cursor, self.tables):
                    cursor.execute(f"TRUNCATE {', '.join(written)} RESTART IDENTITY CASCADE")
                return _shape(cursor, self.filled) == self.shape
        except psycopg2.Error:  # a table is not there, or is another
            return False

    def _disconnect(self, database: str) -> None:
        """End what a test has left connected, and wait until it is gone."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND backend_type <> 'walsender'",
            database,
        ):
            assert time.monotonic() < deadline, f"somebody stays connected to {database}"
            time.sleep(0.002)

    def _drop_slots(self, database: str) -> None:
        """Drop the replication slots that a test left: a database with slots can be neither renamed nor dropped."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while left := self._run("SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s", database):
            for slot, pid in left:
                try:
                    self._run("SELECT pg_terminate_backend(%s)", pid)
                    self._run("SELECT pg_drop_replication_slot(%s)", slot)
                except psycopg2.errors.ObjectInUse:
                    assert time.monotonic() < deadline, f"replication slot {slot} stays in use"

    @contextmanager
    def _connected(self, database: str) -> Iterator[psycopg2.extensions.cursor]:
        with closing(psycopg2.connect(self.url(database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def _run(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with self.administration.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []


def with_database(url: str, database: str) -> str:
    """Return the same server's address with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _filled(cursor: psycopg2.extensions.cursor, tables: list[str]) -> list[str]:
    """Return the tables that have rows."""
    cursor.execute(f"SELECT {', '.join(f'EXISTS (SELECT FROM {name})' for name in tables)}")
    found = cursor.fetchone()
    assert found is not None
    return [name for name, has_rows in zip(tables, found, strict=True) if has_rows]


def _shape(cursor: psycopg2.extensions.cursor, filled: list[str]) -> str:
    """Sum up all that a database is besides rows, and the rows that the migrations have written."""
    rows = "".join(f" UNION ALL SELECT '{name} ' || t::text FROM {name} t" for name in filled)
    cursor.execute(f"SELECT md5(string_agg(line, chr(10) ORDER BY line)) FROM ({SHAPE}{rows}) AS all_of_it (line)",
                   {"ours": OURS})  # fmt: skip
    found = cursor.fetchone()
    assert found is not None
    return str(found[0])
