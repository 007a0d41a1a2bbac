"""The ClickHouse tap: one client, clickhouse-connect over HTTP, everywhere."""

from typing import Final

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.client import Client

INSERT_SETTINGS: Final = {
    # Pinned: servers since 26.2 deduplicate inserts and since 26.3 make small ones asynchronous
    # unless told otherwise. Exactness here is identity + version, not insert tokens.
    "async_insert": 0,
    "wait_end_of_query": 1,
}


def connect(url: str) -> Client:
    """Open a client. Raises clickhouse_connect's errors when the server cannot be reached."""
    return clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False, tz_mode="aware")


async def connect_async(url: str) -> AsyncClient:
    """Open an asynchronous client, for web processes."""
    return await clickhouse_connect.get_async_client(dsn=url, autogenerate_session_id=False, tz_mode="aware")
