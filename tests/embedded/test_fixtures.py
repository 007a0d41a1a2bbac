"""The fixtures that every other test stands on."""

import os

import asyncpg
import redis.asyncio

from countroom import clickhouse, settings
from countroom.embedded import stores as embedded_stores


async def test_each_test_has_a_fresh_migrated_database(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM users") == 0
        assert await connection.fetchval("SELECT count(*) FROM pg_publication") == 1
        await connection.execute("SELECT pg_create_logical_replication_slot('left_behind', 'pgoutput')")
    finally:
        await connection.close()


async def test_a_slot_left_by_one_test_is_not_met_by_the_next(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_replication_slots") == 0
    finally:
        await connection.close()


async def test_valkey_and_clickhouse_are_empty_and_answer(redis_url: str, clickhouse_url: str) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert await client.dbsize() == 0
    warehouse = await clickhouse.connect_async(clickhouse_url)
    async with warehouse:
        assert (await warehouse.query("SHOW TABLES")).result_rows == []


def test_a_test_that_asks_for_no_store_cannot_start_or_reach_one() -> None:
    assert not {name for name in os.environ if name.endswith("_URL")}
    try:
        with embedded_stores.running(settings.load(os.environ)):
            raise AssertionError
    except NotADirectoryError:
        pass
