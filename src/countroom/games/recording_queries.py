"""The statements about what providers called, one function each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Database


async def write_minutes(
    database: Database, minute: datetime, process: UUID, *, providers: Sequence[str], answers: Sequence[str],
    refusals: Sequence[str], seconds: Sequence[str],
) -> None:  # fmt: skip
    """Write a process's counts of a minute over what it has written of it before."""
    async with database.connection() as connection:
        await connection.execute(
            """
            INSERT INTO provider_minutes (minute, process, provider, answers, refusals, seconds)
            SELECT $1, $2, provider, answers::jsonb, refusals::jsonb, seconds::bigint[]
              FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS new (provider, answers, refusals, seconds)
                ON CONFLICT (provider, minute, process) DO UPDATE
                   SET answers = excluded.answers, refusals = excluded.refusals, seconds = excluded.seconds
            """,
            minute, process, providers, answers, refusals, seconds,
        )  # fmt: skip


async def write_exchanges(database: Database, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add calls with their answers."""
    async with database.connection() as connection:
        await connection.executemany(
            """
            INSERT INTO provider_exchanges (id, provider, answered_at, action, method, query, headers, body, body_bytes,
                                            status, code, answer, answer_bytes, microseconds, key_print)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
            """,
            rows,
        )


async def forget_more_than(database: Database, providers: Sequence[str], most: int) -> None:
    """Forget the older calls of these providers, where there are more than so many."""
    async with database.connection() as connection:
        await connection.execute(
            """
            DELETE FROM provider_exchanges e
             USING unnest($1::text[]) AS asked (provider),
                   LATERAL (SELECT id FROM provider_exchanges
                             WHERE provider = asked.provider ORDER BY id DESC OFFSET $2 LIMIT 1) AS last
             WHERE e.provider = asked.provider AND e.id <= last.id
            """,
            providers,
            most,
        )


async def forget_older(database: Database, *, minutes_before: datetime, exchanges_before: datetime) -> None:
    """Forget what is too old."""
    async with database.connection() as connection:
        await connection.execute("DELETE FROM provider_minutes WHERE minute < $1", minutes_before)
        await connection.execute("DELETE FROM provider_exchanges WHERE answered_at < $1", exchanges_before)


async def minutes(database: Database, since: datetime, provider: str | None) -> Sequence[Record]:
    """Read the counts of one provider, or of all, of each minute and process."""
    return await database.fetch(
        """
        SELECT provider, minute, answers, refusals, seconds
          FROM provider_minutes
         WHERE minute >= $1 AND ($2::text IS NULL OR provider = $2)
        """,
        since,
        provider,
    )


async def exchanges(database: Database, provider: str, *, limit: int, fine_codes: Sequence[str]) -> Sequence[Record]:
    """Read a provider's last calls, newest first; those with one of these codes are left out."""
    return await database.fetch(
        """
        SELECT id, answered_at, action, method, query, headers, body, body_bytes, status, code, answer, answer_bytes,
               microseconds, key_print
          FROM provider_exchanges
         WHERE provider = $1 AND code <> ALL ($3::text[])
         ORDER BY id DESC
         LIMIT $2
        """,
        provider,
        limit,
        fine_codes,
    )


async def exchanges_naming(database: Database, provider: str, text: str, limit: int) -> Sequence[Record]:
    """Read those of a provider's kept calls whose body has this text in it, oldest first."""
    return await database.fetch(
        """
        SELECT id, answered_at, action, method, query, headers, body, body_bytes, status, code, answer, answer_bytes,
               microseconds, key_print
          FROM provider_exchanges
         WHERE provider = $1 AND position($2 IN body) > 0
         ORDER BY id
         LIMIT $3
        """,
        provider,
        text,
        limit,
    )


async def keys_seen(database: Database, provider: str) -> Sequence[Record]:
    """Read when each key has last signed one of the calls that are kept."""
    return await database.fetch(
        """
        SELECT key_print, max(answered_at) AS seen_at
          FROM provider_exchanges
         WHERE provider = $1 AND key_print IS NOT NULL
         GROUP BY key_print
        """,
        provider,
    )


async def last_calls(database: Database) -> Sequence[Record]:
    """Read when each provider has called last, of the calls that are kept."""
    return await database.fetch(
        """
        SELECT p.code, last.answered_at
          FROM game_providers p,
               LATERAL (SELECT answered_at FROM provider_exchanges
                         WHERE provider = p.code ORDER BY id DESC LIMIT 1) AS last
        """
    )
