"""The live stores hold what the specification says: specification.toml against each of them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from clickhouse_connect.driver.client import Client

from countroom import clickhouse
from countroom.warehouse import schema as warehouse_schema

SPECIFICATION: dict[str, Any] = tomllib.loads(Path(__file__).with_name("specification.toml").read_text())

TYPES = {
    # What each kind of the specification is in PostgreSQL (format_type; a domain gives its base).
    "uuid": r"uuid",
    "string": r"text|character varying(\(\d+\))?",
    "currency": r"character\(3\)",
    "decimal(18,2)": r"numeric\(18,2\)",
    "jsonb": r"jsonb",
    "boolean": r"boolean",
    "timestamp": r"timestamp(\(\d\))? with(out)? time zone",
    "enum": r".+",
}

COLUMNS = """
SELECT c.relname AS table_name, a.attname AS name, a.attnotnull OR t.typnotnull AS never_null,
       coalesce(format_type(nullif(t.typbasetype, 0), t.typtypmod), format_type(a.atttypid, a.atttypmod)) AS type,
       (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
  JOIN pg_type t ON t.oid = a.atttypid
 WHERE a.attnum > 0 AND NOT a.attisdropped
"""

KEYS = """
SELECT c.conrelid::regclass::text AS table_name, c.contype::text AS kind, c.confrelid::regclass::text AS target,
       array(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(number, place)
               JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place) AS columns
  FROM pg_constraint c
 WHERE c.contype IN ('p', 'u', 'f') AND c.connamespace = 'public'::regnamespace
"""


async def differences_in_postgresql(database_url: str) -> list[str]:
    """Return a sentence for each thing that the specification names and PostgreSQL has otherwise."""
    connection = await asyncpg.connect(database_url)
    try:
        columns = {(row["table_name"], row["name"]): row for row in await connection.fetch(COLUMNS)}
        keys = [(row["table_name"], row["kind"], row["columns"], row["target"]) for row in await connection.fetch(KEYS)]
    finally:
        await connection.close()
    found = []
    for table, wanted in SPECIFICATION["postgresql"].items():
        if (table, "p", wanted["primary_key"], "-") not in keys:
            found.append(f"{table}: the primary key is not {wanted['primary_key']}")
        found += [
            f"{table}: {names} is not unique" for names in wanted["unique"] if (table, "u", names, "-") not in keys
        ]
        for name, column in wanted["columns"].items():
            live = columns.get((table, name))
            if live is None:
                found.append(f"{table}.{name} is missing")
                continue
            found += [f"{table}.{name}: {what}" for what in _wrong_with(column, live)]
            target = column.get("references")
            if target and (table, "f", [name], target) not in keys:
                found.append(f"{table}.{name} does not reference {target}")
    return found


def _wrong_with(column: dict[str, Any], live: asyncpg.Record) -> list[str]:
    found = []
    if not re.fullmatch(TYPES[column["type"]], live["type"]):
        found.append(f"is {live['type']}, not {column['type']}")
    if column.get("nullable") and live["never_null"]:
        found.append("can never be null")
    labels = live["labels"] or []
    if (column["type"] == "enum") != bool(labels):
        found.append(f"is {live['type']}, not {column['type']}")
    wanted = column.get("values")
    if wanted and not (labels[: len(wanted)] == wanted if column.get("more_may_follow") else labels == wanted):
        found.append(f"has the values {labels}, not {wanted}")
    return found


def differences_in_clickhouse(client: Client) -> list[str]:
    """Return a sentence for each column that the specification names and ClickHouse has otherwise."""
    rows = client.query("SELECT table, name, type FROM system.columns WHERE database = currentDatabase()").result_rows
    columns = {(table, name): kind for table, name, kind in rows}
    found = []
    for table, wanted in SPECIFICATION["clickhouse"].items():
        for name, kind in wanted.items():
            live = columns.get((table, name))
            if live is None:
                found.append(f"{table}.{name} is missing")
            elif kind != "open" and not re.fullmatch(rf"{re.escape(kind)}(\(.*\))?", live):
                found.append(f"{table}.{name} is {live}, not {kind}")
    return found


def keys_outside_the_families(keys: list[str]) -> list[str]:
    """Return the keys that belong to no family of the specification."""
    families = [re.escape(family.split("{")[0]) + r"\S+" for family in SPECIFICATION["redis"]]
    return [key for key in keys if not any(re.fullmatch(family, key) for family in families)]


async def test_postgresql_is_what_the_specification_says(database_url: str) -> None:
    assert await differences_in_postgresql(database_url) == []


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("ALTER TABLE payments RENAME COLUMN payment_intent_id TO intent", "payments.payment_intent_id is missing"),
        ("ALTER TABLE games DROP CONSTRAINT games_slug_unique", "games: ['slug'] is not unique"),
        (
            "ALTER TABLE reports ALTER COLUMN definition TYPE text USING definition::text",
            "reports.definition: is text, not jsonb",
        ),
        (
            "ALTER TYPE report_format ADD VALUE 'pdf'",
            "reports.format: has the values ['csv', 'excel', 'json', 'pdf'], not ['csv', 'excel', 'json']",
        ),
        (
            "ALTER TABLE games DROP CONSTRAINT games_provider_exists",
            "games.provider_id does not reference game_providers",
        ),
    ],
)
async def test_a_changed_postgresql_is_noticed(database_url: str, change: str, difference: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(change)
    await connection.close()

    assert await differences_in_postgresql(database_url) == [difference]


def test_clickhouse_is_what_the_specification_says_and_a_renamed_column_is_noticed(clickhouse_url: str) -> None:
    warehouse_schema.migrate(clickhouse_url)
    client = clickhouse.connect(clickhouse_url)
    try:
        assert differences_in_clickhouse(client) == []

        client.command("ALTER TABLE daily_kpi RENAME COLUMN active_users TO players")

        assert differences_in_clickhouse(client) == ["daily_kpi.active_users is missing"]
    finally:
        client.close()
