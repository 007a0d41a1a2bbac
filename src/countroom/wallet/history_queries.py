"""The statements behind a wallet's history, one function each.

Only keys are used that are there anyway: an entry is found by its wallet and sequence, a transaction by its id.
A page names the range of sequences that it looks at, so that no statement walks further than that.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Connection

_MATCHING: Final = """
    SELECT e.sequence, e.created_at, e.amount, e.balance_after, t.id AS transaction_id, t.type, t.status, t.fee,
           t.provider, t.game_id, t.game_round_id, t.payment_id, t.external_id, t.metadata ->> 'kind' AS kind
      FROM wallet_entries e,
           LATERAL (SELECT * FROM transactions WHERE id = e.transaction_id LIMIT 1) t
     WHERE e.wallet_account_id = $1
       AND e.sequence BETWEEN $2 AND $3
       AND ($5::transaction_type[] IS NULL OR t.type = ANY ($5))
       AND ($6::transaction_status[] IS NULL OR t.status = ANY ($6))
       AND ($7::uuid IS NULL OR t.game_id = $7)
       AND ($8::uuid IS NULL OR t.game_round_id = $8)
"""
_EXPLAINED: Final = """
    SELECT page.*, g.slug AS game_slug, g.title AS game_title, r.external_id AS round_external_id
      FROM page
      LEFT JOIN LATERAL (SELECT slug, title FROM games WHERE id = page.game_id LIMIT 1) g ON true
      LEFT JOIN LATERAL (SELECT external_id FROM game_rounds WHERE id = page.game_round_id LIMIT 1) r ON true
     ORDER BY page.sequence
"""


async def player_exists(connection: Connection, user_id: UUID) -> bool:
    """Whether there is such an account."""
    return await connection.fetchrow("SELECT FROM users WHERE id = $1", user_id) is not None


async def wallets_of_player(connection: Connection, user_id: UUID) -> Sequence[Record]:
    """Read a player's wallets, by currency and type."""
    return await connection.fetch(
        """
        SELECT id, user_id, currency, type, balance, sequence, created_at
          FROM wallet_accounts
         WHERE user_id = $1
         ORDER BY currency, type
        """,
        user_id,
    )


async def wallet_of_player(connection: Connection, user_id: UUID, wallet_id: UUID) -> Record | None:
    """Read one wallet, if it is this player's."""
    return await connection.fetchrow(
        """
        SELECT id, user_id, currency, type, balance, sequence, created_at
          FROM wallet_accounts
         WHERE id = $2
           AND user_id = $1
        """,
        user_id,
        wallet_id,
    )


async def game_by_slug(connection: Connection, slug: str) -> UUID | None:
    """Return the id of a game."""
    found: UUID | None = await connection.fetchval("SELECT id FROM games WHERE slug = $1", slug)
    return found


async def round_opened_at(connection: Connection, round_id: UUID, user_id: UUID) -> datetime | None:
    """Return when a round of this player was opened; None when there is no such round of theirs."""
    found: datetime | None = await connection.fetchval(
        "SELECT opened_at FROM game_rounds WHERE id = $1 AND user_id = $2", round_id, user_id
    )
    return found


async def last_entries(
    connection: Connection, wallet_ids: Sequence[UUID], moment: datetime, look_ahead: int
) -> Sequence[Record]:
    """Read the last entry of each wallet that is not after a moment: nulls where there is none.

    The sequence is halved until two neighbours have the moment between them: some twenty look-ups by key in
    a wallet with a million entries. Clocks of several machines are never quite equal, so of the next
    ``look_ahead`` entries the last one that is not after the moment counts.
    """
    return await connection.fetch(
        """
        WITH RECURSIVE search (wallet_id, low, high) AS (
            SELECT id, 0::bigint, sequence + 1 FROM wallet_accounts WHERE id = ANY ($1::uuid[])
             UNION ALL
            SELECT search.wallet_id,
                   CASE WHEN entry.created_at <= $2 THEN middle ELSE low END,
                   CASE WHEN entry.created_at <= $2 THEN high ELSE middle END
              FROM search
             CROSS JOIN LATERAL (SELECT (low + high) / 2) AS half (middle)
              LEFT JOIN LATERAL (SELECT created_at
                                   FROM wallet_entries
                                  WHERE wallet_account_id = search.wallet_id AND sequence <= middle
                                  ORDER BY sequence DESC
                                  LIMIT 1) AS entry ON true
             WHERE high - low > 1
        )
        SELECT search.wallet_id, entry.sequence, entry.balance_after
          FROM search
          LEFT JOIN LATERAL (SELECT sequence, balance_after
                               FROM wallet_entries
                              WHERE wallet_account_id = search.wallet_id
                                AND sequence <= search.low + $3
                                AND created_at <= $2
                              ORDER BY sequence DESC
                              LIMIT 1) AS entry ON true
         WHERE search.high - search.low = 1
        """,
        wallet_ids,
        moment,
        look_ahead,
    )


async def newest_entries(
    connection: Connection,
    wallet_id: UUID,
    *,
    low: int,
    high: int,
    limit: int,
    types: Sequence[str] | None,
    statuses: Sequence[str] | None,
    game_id: UUID | None,
    round_id: UUID | None,
) -> Sequence[Record]:
    """Read those entries of a range that match, the newest of them if there are more than ``limit``; oldest first."""
    return await connection.fetch(
        f"WITH page AS ({_MATCHING} ORDER BY e.sequence DESC LIMIT $4) {_EXPLAINED}",
        wallet_id, low, high, limit, types, statuses, game_id, round_id,
    )  # fmt: skip


async def oldest_entries(
    connection: Connection,
    wallet_id: UUID,
    *,
    low: int,
    high: int,
    limit: int,
    types: Sequence[str] | None,
    statuses: Sequence[str] | None,
    game_id: UUID | None,
    round_id: UUID | None,
) -> Sequence[Record]:
    """Read those entries of a range that match, the oldest of them if there are more than ``limit``; oldest first."""
    return await connection.fetch(
        f"WITH page AS ({_MATCHING} ORDER BY e.sequence LIMIT $4) {_EXPLAINED}",
        wallet_id, low, high, limit, types, statuses, game_id, round_id,
    )  # fmt: skip
