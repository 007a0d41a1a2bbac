"""The statements about game sessions that open, begin and end, one function each.

Whoever opens or ends a session locks the player's main wallets first, in id order: the write path does so before it
updates the sums of sessions, and a trigger does so after each change of a session.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Connection, Transaction
from countroom.schema.enumerations import GameSessionEnd


async def hold_account(tx: Transaction, user_id: UUID) -> None:
    """Keep an account's status as it is until the end of the transaction; others may hold it, too."""
    await tx.execute("SELECT FROM users WHERE id = $1 FOR SHARE", user_id)


async def lock_players(tx: Transaction, user_ids: Sequence[UUID]) -> None:
    """Lock the players' main wallets in id order, the one order in which anything locks them."""
    await tx.execute(
        "SELECT FROM wallet_accounts WHERE user_id = ANY($1::uuid[]) AND type = 'main' ORDER BY id FOR UPDATE", user_ids
    )


async def insert_session(
    tx: Transaction, session_id: UUID, *, user_id: UUID, game_id: UUID, currency: str, token_hash: bytes
) -> None:
    """Open a game session."""
    await tx.execute(
        """
        INSERT INTO game_sessions (id, user_id, game_id, provider_session_id, currency, token_hash)
        VALUES ($1, $2, $3, $1::uuid::text, $4, $5)
        """,
        session_id, user_id, game_id, currency, token_hash,
    )  # fmt: skip


async def insert_entered(tx: Transaction, new_id: UUID, session_id: UUID, game_id: UUID) -> None:
    """Open a session of another game for whoever plays this one; it carries this one's id as the provider's."""
    await tx.execute(
        """
        INSERT INTO game_sessions (id, user_id, game_id, provider_session_id, currency)
        SELECT $1, user_id, $3, id::text, currency FROM game_sessions WHERE id = $2
        """,
        new_id,
        session_id,
        game_id,
    )


async def is_open(connection: Connection, session_id: UUID) -> bool:
    """Whether a session is open."""
    status: str | None = await connection.fetchval("SELECT status FROM game_sessions WHERE id = $1", session_id)
    return status == "open"


async def entered(connection: Connection, session_id: UUID, user_id: UUID, game_id: UUID) -> UUID | None:
    """Find the session of another game that was opened from this one, open or not."""
    found: UUID | None = await connection.fetchval(
        """
        SELECT id
          FROM game_sessions
         WHERE user_id = $2 AND game_id = $3 AND provider_session_id = $1::uuid::text
         ORDER BY opened_at DESC
         LIMIT 1
        """,
        session_id,
        user_id,
        game_id,
    )
    return found


async def end_sessions(tx: Transaction, user_id: UUID, reason: GameSessionEnd, *, game_id: UUID | None = None) -> int:
    """End a player's open sessions, of one game and what was entered from it, or all; return how many."""
    ended: int = await tx.fetchval(
        """
        WITH ended AS (
            UPDATE game_sessions s
               SET status = 'closed', closed_at = now(), ended_because = $3
             WHERE s.user_id = $1 AND s.status = 'open'
               AND ($2::uuid IS NULL OR s.game_id = $2
                    OR s.provider_session_id IN (SELECT id::text FROM game_sessions
                                                  WHERE user_id = $1 AND game_id = $2 AND status = 'open'))
            RETURNING s.id
        )
        SELECT count(*) FROM ended
        """,
        user_id,
        game_id,
        reason,
    )
    return ended


async def plays(connection: Connection, user_id: UUID, game_id: UUID) -> bool:
    """Whether a player has an open session of a game."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM game_sessions WHERE user_id = $1 AND game_id = $2 AND status = 'open')",
        user_id,
        game_id,
    )
    return found


async def use_token(tx: Transaction, token_hash: bytes, launched_since: datetime) -> Record | None:
    """Use a launch token up, if it still can be; return what it stands for."""
    return await tx.fetchrow(
        """
        UPDATE game_sessions s
           SET token_used_at = now()
          FROM games g, users u
         WHERE s.token_hash = $1 AND s.status = 'open' AND s.token_used_at IS NULL AND s.opened_at >= $2
           AND g.id = s.game_id AND u.id = s.user_id
        RETURNING s.id, s.user_id, g.slug, s.currency::text, u.country
        """,
        token_hash,
        launched_since,
    )


async def token_state(connection: Connection, token_hash: bytes) -> Record | None:
    """Read what became of a launch token."""
    return await connection.fetchrow(
        """
        SELECT s.token_used_at IS NOT NULL AS is_used, p.code AS provider_code
          FROM game_sessions s
          JOIN games g ON g.id = s.game_id
          JOIN game_providers p ON p.id = g.provider_id
         WHERE s.token_hash = $1
        """,
        token_hash,
    )


async def note_first_use(connection: Connection, session_id: UUID) -> None:
    """Note that a protocol that carries the token in each call has begun to."""
    await connection.execute(
        "UPDATE game_sessions SET token_used_at = now() WHERE id = $1 AND token_used_at IS NULL", session_id
    )


async def overdue_players(
    connection: Connection, *, idle_since: datetime, opened_since: datetime, count: int
) -> Sequence[UUID]:
    """Find players with sessions that have been idle, or open, for too long."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT user_id
          FROM (SELECT user_id
                  FROM game_sessions
                 WHERE status = 'open'
                 GROUP BY user_id, coalesce(provider_session_id, id::text)
                HAVING max(coalesce(last_played_at, opened_at)) < $1 OR min(opened_at) < $2) overdue
         LIMIT $3
        """,
        idle_since,
        opened_since,
        count,
    )
    return [row["user_id"] for row in rows]


async def end_overdue(
    tx: Transaction, user_ids: Sequence[UUID], *, idle_since: datetime, opened_since: datetime
) -> Sequence[Record]:
    """End these players' sessions that have been idle, or open, for too long; return each one's reason.

    What was entered from a session lives and ends with it. A session that was never begun has failed.
    """
    return await tx.fetch(
        """
        WITH overdue AS (
            SELECT user_id, coalesce(provider_session_id, id::text) AS family,
                   CASE WHEN min(opened_at) < $3 THEN 'lifetime'
                        WHEN bool_and(last_played_at IS NULL AND token_used_at IS NULL) THEN 'unused'
                        ELSE 'idle'
                   END::game_session_end AS reason
              FROM game_sessions
             WHERE status = 'open' AND user_id = ANY($1::uuid[])
             GROUP BY user_id, coalesce(provider_session_id, id::text)
            HAVING max(coalesce(last_played_at, opened_at)) < $2 OR min(opened_at) < $3
        )
        UPDATE game_sessions s
           SET status = CASE o.reason WHEN 'unused' THEN 'failed' ELSE 'closed' END::game_session_status,
               closed_at = now(), ended_because = o.reason
          FROM overdue o
         WHERE s.status = 'open' AND s.user_id = o.user_id AND coalesce(s.provider_session_id, s.id::text) = o.family
        RETURNING s.ended_because AS reason
        """,
        user_ids,
        idle_since,
        opened_since,
    )
