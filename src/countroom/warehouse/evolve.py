"""Bringing older tables of ClickHouse up to this version: columns are added, and views learn to fill them.

What the files in ``tables/`` say is what there should be. A table that lacks a column of theirs gets it; a view that
gives fewer columns than its query there gets the query. What a newer version has added is left as it is: an older
program that starts later takes nothing back. Landing tables, which keep nothing, lose the dictionaries that they had;
a setting is given to tables that have none of that name.
"""

import re
from typing import Final

from clickhouse_connect.driver.client import Client

_TABLE: Final = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+) \(\n(.*?)\n\)", re.DOTALL)
_VIEW: Final = re.compile(r"CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+) TO \w+ AS\n(.*)", re.DOTALL)
_SETTING: Final = re.compile(r"^SETTINGS (\w+) = (\w+)$", re.MULTILINE)
_NO_COLUMN: Final = ("INDEX ", "CONSTRAINT ", "PROJECTION ")
_DICTIONARY: Final = "LowCardinality("

Columns = dict[str, dict[str, str]]
"""Table or view → its columns → their types."""


def columns_of(client: Client) -> Columns:
    """Return all columns of the database."""
    columns: Columns = {}
    for table, column, kind in client.query(
        "SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"
    ).result_rows:
        columns.setdefault(table, {})[column] = kind
    return columns


def add_missing(client: Client, statement: str, existing: Columns) -> None:
    """Add what a table or view lacks of the statement that makes it; ``existing`` is what there was before."""
    if made := _TABLE.match(statement):
        table, body = made.groups()
        for definition in _definitions(body):
            if table not in existing:
                continue
            kind = existing[table].get(definition.split()[0])
            if kind is None:
                client.command(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {definition}")
            elif table.startswith("landing_") and kind.startswith(_DICTIONARY) and _DICTIONARY not in definition:
                client.command(f"ALTER TABLE {table} MODIFY COLUMN {definition}")
        if table in existing and (setting := _SETTING.search(statement)):
            _set(client, table, *setting.groups())
    elif made := _VIEW.match(statement):
        view, query = made.groups()
        if view in existing:
            wanted = {row[0] for row in client.query(f"DESCRIBE TABLE ({query})").result_rows}
            if wanted - existing[view].keys():
                client.command(f"ALTER TABLE {view} MODIFY QUERY {query}")


def _set(client: Client, table: str, setting: str, value: str) -> None:
    """Give a table a setting, unless somebody has given it that one already, whatever it is."""
    made = client.query(
        "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
        parameters={"table": table},
    ).result_rows[0][0]
    if f" {setting} = " not in made:
        client.command(f"ALTER TABLE {table} MODIFY SETTING {setting} = {value}")


def _definitions(body: str) -> list[str]:
    """Return the definitions of columns between the brackets of a table: one begins on a line of its own."""
    lines = [line.strip().removesuffix(",") for line in body.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith(_NO_COLUMN)]
