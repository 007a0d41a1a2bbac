"""ClickHouse's tables, one file each, created where they are missing."""

import re
from importlib.resources import files
from typing import Final

import clickhouse_connect
import msgspec
from clickhouse_connect.driver.client import Client

from countroom import clickhouse
from countroom.events import contract
from countroom.warehouse import evolve

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


class SchemaDiffersError(Exception):
    """A table through which messages come lacks one of their fields; it would be dropped in silence."""


def verify(client: Client) -> None:
    """Make sure that the landing tables take every field of the contract: ClickHouse leaves out what they lack.

    What lies behind them it checks itself, whenever ``migrate`` names their views. ``migrate`` adds what is missing;
    this finds tables that somebody keeps by other means.

    Raises:
        SchemaDiffersError: one of them does not.
    """
    columns = evolve.columns_of(client)
    for topic, message in contract.MESSAGES.items():
        fields = {field.encode_name for field in msgspec.structs.fields(message)}
        if missing := sorted(fields - columns.get(f"landing_{topic}", {}).keys()):
            raise SchemaDiffersError(
                f"ClickHouse's table landing_{topic} lacks {', '.join(missing)}; add what is missing "
                "(docs/pipeline.md, 'Adding a column'). Until then nothing is loaded, and nothing is lost."
            )


def migrate(clickhouse_url: str) -> None:
    """Create the database that the address names, and every table and column that it lacks. Safe to repeat."""
    database = clickhouse.database_of(clickhouse_url)
    server = clickhouse.without_database(clickhouse_url)
    with clickhouse_connect.get_client(dsn=server, autogenerate_session_id=False) as client:
        client.command(f"CREATE DATABASE IF NOT EXISTS {clickhouse.quoted(database)}")
    with clickhouse.connect(clickhouse_url) as client:
        existing = evolve.columns_of(client)
        for statement in statements():
            evolve.add_missing(client, statement, existing)
            client.command(statement)
