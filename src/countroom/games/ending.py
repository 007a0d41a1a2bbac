"""How game sessions end. A bet needs an open one; wins and reversals never ask (P7)."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from countroom.games import session_queries as queries
from countroom.postgres import Database, Transaction
from countroom.schema.enumerations import GameSessionEnd

PLAYERS_AT_A_TIME: Final = 50
"""Whose purses one transaction locks: their bets wait for some milliseconds meanwhile."""


async def end_sessions_of(tx: Transaction, user_id: UUID, reason: GameSessionEnd) -> int:
    """End every open game session of a player at once, and with them their launch tokens; return how many.

    For whatever takes the right to play away and is not the account's status: leaving "active" does this by itself,
    in the database. Bets of the sessions are refused from the commit on; wins and reversals are taken as ever.
    """
    await queries.lock_players(tx, [user_id])
    return await queries.end_sessions(tx, user_id, reason)


async def end_overdue_sessions(
    database: Database, *, idle: timedelta, lifetime: timedelta, now: datetime
) -> Counter[GameSessionEnd]:
    """End the sessions that nobody has played for ``idle``, or that have been open for ``lifetime``; count why.

    A few players at a time, each time in a transaction of its own: a thousand that end at once stop nobody's bets.
    """
    ended: Counter[GameSessionEnd] = Counter()
    idle_since, opened_since = now - idle, now - lifetime
    while True:
        async with database.connection() as connection:
            players = await queries.overdue_players(
                connection, idle_since=idle_since, opened_since=opened_since, count=PLAYERS_AT_A_TIME
            )
        if not players:
            return ended
        async with database.transaction() as tx:
            await queries.lock_players(tx, players)
            rows = await queries.end_overdue(tx, players, idle_since=idle_since, opened_since=opened_since)
        ended.update(row["reason"] for row in rows)
        if not rows:
            return ended  # all of them have played meanwhile
