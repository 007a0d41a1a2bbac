"""ClickHouse's tables, one file each, created where they are missing."""

import re
from importlib.resources import files
from typing import Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from countroom import clickhouse

LAST_TABLE: Final = "landing_users_to_players"
"""The table that is made last: where it is, all are."""

_COMMENT: Final = re.compile(r"--[^\n]*")


def statements() -> list[str]:
    """Return the statements that make the schema, in an order in which they can be run.

    A table's file ends with what depends on that table, so files need no order among themselves.
    """
    tables = sorted((entry for entry in files(__package__).joinpath("tables").iterdir()), key=lambda entry: entry.name)
    texts = [_COMMENT.sub("", table.read_text()) for table in tables if table.name.endswith(".sql")]
    return [statement.strip() for text in texts for statement in text.split(";") if statement.strip()]


def ensure(client: Client, clickhouse_url: str) -> None:
    """Create the tables if nobody has done so yet; one cheap question otherwise."""
    if not client.command(f"EXISTS TABLE {LAST_TABLE}"):
        migrate(clickhouse_url)


def migrate(clickhouse_url: str) -> None:
    """Create the database that the address names, and every table that it lacks. Safe to repeat."""
    database = clickhouse.database_of(clickhouse_url)
    server = clickhouse.without_database(clickhouse_url)
    with clickhouse_connect.get_client(dsn=server, autogenerate_session_id=False) as client:
        client.command(f"CREATE DATABASE IF NOT EXISTS {clickhouse.quoted(database)}")
    with clickhouse.connect(clickhouse_url) as client:
        for statement in statements():
            client.command(statement)
