"""The PostgreSQL tap: opening, closing, transactions. Nothing else connects for business."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from countroom.pipelined import PipelinedConnection

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
"""A connection on which statements can be run."""
Transaction: TypeAlias = Connection
"""A connection inside an open transaction: what a room's functions receive, and cannot open."""

_open_transactions: ContextVar[int] = ContextVar("open_transactions", default=0)


def transaction_is_open() -> bool:
    """Whether this task has a transaction open; network calls assert that it has not."""
    return _open_transactions.get() > 0


async def _leave_as_it_is(_: object) -> None:
    """Give a connection back as it is."""


class Database:
    """A pool of connections, and the one way to open a transaction."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", url: str, settings: Mapping[str, str]) -> None:
        self.pool = pool
        self._url = url
        self._settings = settings

    @classmethod
    async def connect(
        cls, url: str, *, size_max: int = 10, point_reads_only: bool = False, statement_seconds: float | None = None
    ) -> Self:
        """Open a pool. Connections are made as they are needed, ``size_max`` at most.

        A statement that takes longer than ``statement_seconds`` is given up and its transaction
        rolled back. With ``point_reads_only`` the planner is told that every statement names its rows by key:
        a plan made while a table was small must not scan it when it has grown.
        """
        settings = {"timezone": "UTC", "jit": "off", "application_name": "countroom"}
        if point_reads_only:
            settings |= {
                "plan_cache_mode": "force_generic_plan",
                "enable_seqscan": "off",
                "enable_hashjoin": "off",
                "enable_mergejoin": "off",
            }
        pool = await asyncpg.create_pool(
            url, min_size=1, max_size=size_max, server_settings=settings, command_timeout=statement_seconds,
            # Nothing here sets anything for a session, so there is nothing to reset at each return: the
            # driver's own way is one more round trip each time.
            reset=_leave_as_it_is,
        )  # fmt: skip
        return cls(pool, url, settings)

    def pipelined(self, statements: Sequence[str], *, statement_seconds: float) -> PipelinedConnection:
        """Return one more connection, on which statements follow each other without waiting; close it yourself."""
        return PipelinedConnection(
            self._url, statements, settings=self._settings, statement_seconds=statement_seconds
        )  # fmt: skip

    async def close(self) -> None:
        """Close the pool; running statements may finish."""
        await self.pool.close()

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False, read_only: bool | None = None) -> AsyncIterator[Transaction]:
        """Run the block in one transaction: committed at its end, rolled back if it raises.

        With ``snapshot`` it is REPEATABLE READ, every statement sees one moment, and it is read-only
        unless ``read_only`` is False.
        """
        async with self.pool.acquire() as connection:
            token = _open_transactions.set(_open_transactions.get() + 1)
            try:
                async with connection.transaction(
                    isolation="repeatable_read" if snapshot else "read_committed",
                    readonly=snapshot if read_only is None else read_only,
                ):
                    yield connection
            finally:
                _open_transactions.reset(token)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Borrow a connection for single statements, each its own transaction."""
        async with self.pool.acquire() as connection:
            yield connection

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        """Run one reading statement."""
        return await self.pool.fetch(statement, *arguments)

    async def fetchrow(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """Run one reading statement that gives at most one row."""
        return await self.pool.fetchrow(statement, *arguments)
