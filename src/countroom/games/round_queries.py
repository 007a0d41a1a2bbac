"""The statements about rounds that do not end by themselves, one function each."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Connection, Transaction


async def lock_horizon(tx: Transaction) -> UUID | None:
    """Return up to which id rounds have been looked at, and let nobody else look; None where somebody does."""
    found: UUID | None = await tx.fetchval("SELECT round_id FROM unfinished_horizon FOR UPDATE SKIP LOCKED")
    return found


async def walk(tx: Transaction, after: UUID, before: UUID, limit: int) -> Record:
    """Look at the next rounds in the order of their ids: how many, where that ended, and which of them are open."""
    row = await tx.fetchrow(
        """
        WITH walked AS MATERIALIZED (
            SELECT id, status FROM game_rounds WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3
        )
        SELECT (SELECT count(*) FROM walked) AS rows,
               (SELECT id FROM walked ORDER BY id DESC LIMIT 1) AS last_id,
               ARRAY(SELECT id FROM walked WHERE status = 'open') AS open
        """,
        after,
        before,
        limit,
    )
    assert row is not None
    return row


async def move_horizon(tx: Transaction, round_id: UUID) -> None:
    """Note up to which id rounds have been looked at."""
    await tx.execute("UPDATE unfinished_horizon SET round_id = $1", round_id)


async def insert_unfinished(tx: Transaction, round_ids: Sequence[UUID]) -> None:
    """Note rounds that have not ended."""
    await tx.execute(
        """
        INSERT INTO unfinished_rounds (round_id) SELECT unnest($1::uuid[]) ON CONFLICT (round_id) DO NOTHING
        """,
        round_ids,
    )


async def delete_ended(connection: Connection) -> None:
    """Forget those that have ended meanwhile."""
    await connection.execute(
        """
        DELETE FROM unfinished_rounds u
         USING game_rounds r
         WHERE r.id = u.round_id AND r.status IN ('settled', 'cancelled')
        """
    )


async def unfinished(connection: Connection, after: UUID, limit: int) -> Sequence[Record]:
    """Read rounds that have not ended, the oldest first, with what is proposed for them."""
    return await connection.fetch(
        """
        SELECT r.id, r.external_id, r.provider, coalesce(g.title, 'unknown game') AS game_title, r.user_id,
               r.currency::text, r.bet_amount, r.win_amount, r.status::text, r.opened_at,
               c.action AS proposed_action, s.name AS proposed_by
          FROM unfinished_rounds u
          JOIN game_rounds r ON r.id = u.round_id AND r.status IN ('open', 'unfinished')
          LEFT JOIN games g ON g.id = r.game_id
          LEFT JOIN round_closings c ON c.round_id = r.id AND c.outcome IS NULL
          LEFT JOIN staff s ON s.id = c.proposed_by
         WHERE u.round_id > $1
         ORDER BY u.round_id
         LIMIT $2
        """,
        after,
        limit,
    )


async def count_unfinished(connection: Connection, most: int) -> int:
    """Count rounds that have not ended, as far as ``most``."""
    count: int = await connection.fetchval(
        """
        SELECT count(*)
          FROM (SELECT FROM unfinished_rounds u
                  JOIN game_rounds r ON r.id = u.round_id AND r.status IN ('open', 'unfinished')
                 LIMIT $1) found
        """,
        most,
    )
    return count


async def rounds_called(connection: Connection, external_id: str, limit: int) -> Sequence[UUID]:
    """Find rounds by the provider's id, which is unique in a game only: a look-up by key for each game."""
    rows = await connection.fetch(
        """
        SELECT r.id
          FROM games g,
               LATERAL (SELECT id FROM game_rounds WHERE game_id = g.id AND external_id = $1 LIMIT 1) r
         ORDER BY r.id DESC
         LIMIT $2
        """,
        external_id,
        limit,
    )
    return [row["id"] for row in rows]


async def round_exists(connection: Connection, round_id: UUID) -> bool:
    """Whether there is such a round."""
    return await connection.fetchrow("SELECT FROM game_rounds WHERE id = $1", round_id) is not None


async def insert_closing(
    tx: Transaction, closing_id: UUID, *, round_id: UUID, action: str, reason: str, proposed_by: UUID
) -> bool:
    """Note a proposal. Returns False when another one is open for this round."""
    row = await tx.fetchrow(
        """
        INSERT INTO round_closings (id, round_id, action, reason, proposed_by) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (round_id) WHERE outcome IS NULL DO NOTHING
        RETURNING id
        """,
        closing_id,
        round_id,
        action,
        reason,
        proposed_by,
    )
    return row is not None


async def lock_closing(tx: Transaction, closing_id: UUID) -> Record | None:
    """Read a proposal, and let nobody else decide on it meanwhile."""
    return await tx.fetchrow(
        "SELECT id, round_id, action, reason, proposed_by, outcome FROM round_closings WHERE id = $1 FOR UPDATE",
        closing_id,
    )


async def decide_closing(tx: Transaction, closing_id: UUID, *, outcome: str, decided_by: UUID, at: datetime) -> None:
    """Note what was decided on a proposal."""
    await tx.execute(
        "UPDATE round_closings SET outcome = $2, decided_by = $3, decided_at = $4 WHERE id = $1",
        closing_id,
        outcome,
        decided_by,
        at,
    )


async def closings_of(connection: Connection, round_id: UUID) -> Sequence[Record]:
    """Read all proposals for a round, oldest first, with the names of those who made and decided them."""
    return await connection.fetch(
        """
        SELECT c.id, c.round_id, c.action, c.reason, c.proposed_by, p.name AS proposer, c.proposed_at, c.outcome,
               c.decided_by, d.name AS decider, c.decided_at
          FROM round_closings c
          JOIN staff p ON p.id = c.proposed_by
          LEFT JOIN staff d ON d.id = c.decided_by
         WHERE c.round_id = $1
         ORDER BY c.id
        """,
        round_id,
    )
