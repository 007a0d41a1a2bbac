"""A database that a test gets is as a new one, whatever the tests before it have done to theirs."""

from contextlib import closing

import psycopg2
import pytest

from countroom.embedded.postgres import find_binaries
from countroom.schema.generate import schema_sql
from databases import Databases

ROWS = """
    INSERT INTO users (id, email, country) VALUES (gen_random_uuid(), 'a@example.test', 'MT');
    INSERT INTO wallet_accounts (id, user_id, currency, type) SELECT gen_random_uuid(), id, 'EUR', 'main' FROM users;
    ANALYZE
"""


def run(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


def dump(url: str) -> str:
    """Everything that is in a database: its schema, and all rows."""
    rows = []
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            rows += [table, *(row for (row,) in cursor.fetchall())]
    return schema_sql(url, find_binaries() / "pg_dump") + "\n".join(rows)


def test_rows_are_removed_and_the_database_is_used_again(databases: Databases) -> None:
    databases.emptied.clear()
    with databases.one() as url:
        new = dump(url)
        run(url, ROWS)
        assert dump(url) != new
    (used,) = databases.emptied
    with databases.one() as url:
        assert databases.emptied == []
        assert not url.endswith(used), "a name of its own"
        assert dump(url) == new


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE wallet_entries DISABLE TRIGGER wallet_entries_append_only",
        "ALTER TABLE payments RENAME COLUMN payment_intent_id TO intent",
        "ALTER TABLE games DROP CONSTRAINT games_slug_unique",
        "ALTER TYPE report_format ADD VALUE 'pdf'",
        "DROP PUBLICATION countroom",
        "CREATE TABLE more (number int)",
        "DROP TABLE reports CASCADE",
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE users SET (fillfactor = 50)",
        "UPDATE schema_migrations SET checksum = '' WHERE number = 1",
        "DELETE FROM schema_migrations WHERE number = 1",
    ],
)
def test_what_changes_more_than_rows_costs_the_database(databases: Databases, statement: str) -> None:
    with databases.one() as url:
        emptied = list(databases.emptied)
        run(url, statement)
    assert databases.emptied == emptied


def test_somebody_who_stays_connected_is_cut_off(databases: Databases) -> None:
    with databases.one() as url:
        left = psycopg2.connect(url)
        left.cursor().execute("LOCK TABLE users")
    with closing(left), pytest.raises(psycopg2.OperationalError):
        left.cursor().execute("SELECT 1")
