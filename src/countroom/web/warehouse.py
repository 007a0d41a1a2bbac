"""The way of the web to figures at rest, and the one answer when there is none."""

import asyncio

from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import Error as ClickHouseError

from countroom import clickhouse
from countroom.refusal import Refusal


class WarehouseUnavailable(Refusal):
    """The warehouse cannot be reached; figures come back when it does."""

    kind = "unavailable"
    code = "warehouse_unavailable"


class Warehouse:
    """The ClickHouse client, opened when it is first needed: a web process starts without a warehouse, too."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def __call__(self) -> AsyncClient:
        """Return the client.

        Raises:
            WarehouseUnavailable: ClickHouse does not answer.
        """
        async with self._opening:  # those who come first at once share one client
            try:
                if self._client is None:
                    self._client = await clickhouse.connect_async(self._url)
            except (ClickHouseError, OSError) as error:
                raise WarehouseUnavailable from error
            return self._client

    async def close(self) -> None:
        """Close the client if there is one."""
        if self._client is not None:
            await self._client.close()
