"""The live stores hold what the specification says: specification.toml against each of them."""

import asyncio
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from clickhouse_connect.driver.client import Client
from litestar.testing import AsyncTestClient
from redis.asyncio import Redis

from countroom import clickhouse, clock
from countroom import redis as redis_tap
from countroom.postgres import Database
from countroom.settings import Settings
from countroom.wallet.balances import BalanceCache
from countroom.wallet.commands import Command, Deposit
from countroom.wallet.service import Batcher
from countroom.warehouse import schema as warehouse_schema
from countroom.web.app import create_app

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
    return [key for key in keys if not any(_belongs(key, family) for family in SPECIFICATION["redis"])]


def _belongs(key: str, family: str) -> bool:
    beginning = family.partition("{")[0]
    return key.startswith(beginning) and len(key) > len(beginning)


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


async def test_redis_holds_the_families_of_the_specification_and_no_other(settings: Settings) -> None:
    user_id = await _register_and_sign_in(settings)
    await _move_money(settings, user_id)
    assert settings.redis_url
    async with redis_tap.connect(settings.redis_url) as redis:
        keys = [str(key) for key in await redis.keys()]
        lives = [await redis.ttl(key) for key in keys]

    assert keys_outside_the_families(keys) == []
    assert {family for family in SPECIFICATION["redis"] if not any(_belongs(key, family) for key in keys)} == set()
    assert all(seconds > 0 for seconds in lives)
    assert keys_outside_the_families(["sessions:1"]) == ["sessions:1"]


async def _register_and_sign_in(settings: Settings) -> UUID:
    who = {"email": "ada@example.com", "password": "a long enough passphrase"}
    async with AsyncTestClient(create_app(settings)) as client:
        opened = await client.post(
            "/api/v1/players", json={**who, "country": "MT", "birth_date": "1990-12-10", "currency": "EUR"}
        )
        assert opened.status_code == 201, opened.text
        signed_in = await client.post("/api/v1/sign-in", json=who)
        assert signed_in.status_code == 200, signed_in.text
        return UUID(opened.json()["id"])


async def _move_money(settings: Settings, user_id: UUID) -> None:
    assert settings.database_url
    assert settings.redis_url
    redis = redis_tap.connect(settings.redis_url)
    database = await Database.connect(settings.database_url)
    try:
        async with redis, BalanceCache(redis) as cache, Batcher(database, on_change=cache.changed) as batcher:
            deposit = Deposit(key="specification-1", amount=Decimal("12.50"), payment_id=clock.new_id())
            await batcher.submit(Command("test", user_id, "EUR", (deposit,)))
            async with asyncio.timeout(10):
                await _until_cached(redis)
    finally:
        await database.close()


async def _until_cached(redis: Redis) -> None:
    while not await redis.keys("wallet:balance:*"):  # noqa: ASYNC110 - written in the background, by somebody else
        await asyncio.sleep(0.01)
