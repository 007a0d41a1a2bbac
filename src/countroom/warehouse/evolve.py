"""Bringing older tables of ClickHouse up to this version: columns are added, and views learn to fill them.

What the files in ``tables/`` say is what there should be. A table that lacks a column of theirs gets it; a view that
gives fewer columns than its query there gets the query. What a newer version has added is left as it is: an older
program that starts later takes nothing back.
"""

import re
from typing import Final

from clickhouse_connect.driver.client import Client

_TABLE: Final = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+) \(\n(.*?)\n\)", re.DOTALL)
_VIEW: Final = re.compile(r"CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+) TO \w+ AS\n(.*)", re.DOTALL)
_NO_COLUMN: Final = ("INDEX ", "CONSTRAINT ", "PROJECTION ")


def columns_of(client: Client) -> dict[str, set[str]]:
    """Return the names of all columns of the database, by table or view."""
    columns: dict[str, set[str]] = {}
    for table, column in client.query(
        "SELECT table, name FROM system.columns WHERE database = currentDatabase()"
    ).result_rows:
        columns.setdefault(table, set()).add(column)
    return columns


def add_missing(client: Client, statement: str, existing: dict[str, set[str]]) -> None:
    """Add what a table or view lacks of the statement that makes it; ``existing`` is what there was before."""
    if made := _TABLE.match(statement):
        table, body = made.groups()
        for definition in _definitions(body):
            if table in existing and definition.split()[0] not in existing[table]:
                client.command(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {definition}")
    elif made := _VIEW.match(statement):
        view, query = made.groups()
        if view in existing:
            wanted = {row[0] for row in client.query(f"DESCRIBE TABLE ({query})").result_rows}
            if wanted - existing[view]:
                client.command(f"ALTER TABLE {view} MODIFY QUERY {query}")


def _definitions(body: str) -> list[str]:
    """Return the definitions of columns between the brackets of a table: one begins on a line of its own."""
    lines = [line.strip().removesuffix(",") for line in body.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith(_NO_COLUMN)]
