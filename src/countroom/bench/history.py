"""Years of bets, written at once: what a wallet's tables look like when they have grown."""

import asyncio
from collections.abc import Callable
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from countroom.schema import migrate

TABLES: Final = ("transactions", "wallet_entries", "game_rounds")
_INDEXES: Final = """
SELECT c.relname AS table_name, coalesce(k.conname, i.relname) AS name, k.conname IS NOT NULL AS is_constraint,
       CASE WHEN k.conname IS NULL THEN pg_get_indexdef(x.indexrelid)
            ELSE format('ALTER TABLE %I ADD CONSTRAINT %I %s', c.relname, k.conname, pg_get_constraintdef(k.oid))
        END AS definition
  FROM pg_index x
  JOIN pg_class c ON c.oid = x.indrelid
  JOIN pg_class i ON i.oid = x.indexrelid
  LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.contype IN ('p', 'u')
 WHERE c.relname = ANY($1)
 ORDER BY c.relname, i.relname
"""


async def grow(url: str, database: str, *, players: int, bets: int, say: Callable[[str], None]) -> str:
    """Make a database with players who have made so many bets together; return its address.

    The books of it balance: every bet has its transaction, journal line and round, and the wallets
    and sessions hold what is left. Indexes are made at the end, which is many times faster.
    """
    grown_url = urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
    administration = await asyncpg.connect(url)
    await administration.execute(f"CREATE DATABASE {database}")
    await administration.close()
    await migrate.apply(grown_url)
    connection = await _connect(grown_url)
    sql = files("countroom.bench")
    await connection.execute(sql.joinpath("game.sql").read_text("utf-8"))
    await connection.execute(sql.joinpath("players.sql").read_text("utf-8").replace("{players}", str(players)))
    each = bets // players
    if each:
        indexes = await connection.fetch(_INDEXES, list(TABLES))
        for index in indexes:
            await connection.execute(
                f'ALTER TABLE {index["table_name"]} DROP CONSTRAINT "{index["name"]}" CASCADE'
                if index["is_constraint"]
                else f'DROP INDEX "{index["name"]}"'
            )
        say(f"writing {each * players:,} bets of the past")
        history = sql.joinpath("history.sql").read_text("utf-8").replace("{bets}", str(each))
        await _at_once(grown_url, [statement for statement in history.split(";\n") if statement.strip()])
        say("making their indexes")
        await _at_once(grown_url, [index["definition"] for index in indexes])
    await connection.execute("VACUUM (ANALYZE, FREEZE)" if each else "ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()
    return grown_url


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    settings = {"synchronous_commit": "off", "maintenance_work_mem": "512MB", "jit": "off", "timezone": "UTC"}
    return await asyncpg.connect(url, server_settings=settings)


async def _at_once(url: str, statements: list[str], *, connections: int = 2) -> None:
    """Run statements that do not need each other."""
    left = list(reversed(statements))

    async def run() -> None:
        connection = await _connect(url)
        while left:
            await connection.execute(left.pop())
        await connection.close()

    await asyncio.gather(*(run() for _ in range(connections)))
