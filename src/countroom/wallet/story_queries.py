"""The statements behind a round's story, one function each.

Nothing is indexed by round: that would cost every bet. A round's transactions are its player's from the moment at which
it was opened, and their entries stand in the journal at the moments that the transactions name.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Connection, Transaction


async def round_by_id(connection: Connection, round_id: UUID) -> Record | None:
    """Read a round with the names of its game."""
    return await connection.fetchrow(
        """
        SELECT r.id, r.external_id, r.provider, r.game_id, g.slug AS game_slug, g.title AS game_title, r.session_id,
               r.user_id, r.currency::text, r.bet_amount, r.win_amount, r.bonus_bet_amount, r.status::text,
               r.opened_at, r.closed_at
          FROM game_rounds r
          LEFT JOIN games g ON g.id = r.game_id
         WHERE r.id = $1
        """,
        round_id,
    )


async def scan(
    connection: Connection, user_id: UUID, round_id: UUID, *, after: tuple[datetime, UUID], limit: int
) -> Record:
    """Look at a player's next transactions: how many there were, where that ended, and which are the round's."""
    row = await connection.fetchrow(
        """
        WITH scanned AS MATERIALIZED (
            SELECT id, created_at, game_round_id
              FROM transactions
             WHERE user_id = $1 AND (created_at, id) > ($3, $4)
             ORDER BY created_at, id
             LIMIT $5
        )
        SELECT (SELECT count(*) FROM scanned) AS rows,
               (SELECT created_at FROM scanned ORDER BY created_at DESC, id DESC LIMIT 1) AS last_created_at,
               (SELECT id FROM scanned ORDER BY created_at DESC, id DESC LIMIT 1) AS last_id,
               ARRAY(SELECT id FROM scanned WHERE game_round_id = $2) AS ids
        """,
        user_id, round_id, *after, limit,
    )  # fmt: skip
    assert row is not None
    return row


async def transactions(connection: Connection, ids: Sequence[UUID]) -> Sequence[Record]:
    """Read transactions by id, in the order in which they were made."""
    return await connection.fetch(
        f"{_TRANSACTIONS} WHERE t.id = ANY ($1::uuid[]) ORDER BY t.created_at, t.id", ids
    )  # fmt: skip


async def adjustments(connection: Connection, external_ids: Sequence[str]) -> Sequence[Record]:
    """Read what bets, wins and reversals have left as owed, or paid back of it, by the ids that such rows have."""
    return await connection.fetch(
        f"{_TRANSACTIONS} WHERE t.external_id = ANY ($1::text[]) AND t.type = 'adjustment' ORDER BY t.created_at, t.id",
        external_ids,
    )


async def reversals(connection: Connection, external_ids: Sequence[str]) -> Sequence[Record]:
    """Read what has undone these transactions; of each, the one reversal that counts."""
    return await connection.fetch(
        """
        SELECT id, external_id, target_external_id, outcome, amount, shortfall, answer_balance, created_at
          FROM tombstones
         WHERE target_external_id = ANY ($1::text[]) AND outcome <> 'repeated'
         ORDER BY created_at, id
        """,
        external_ids,
    )


async def entries(
    connection: Connection, wallet_id: UUID, low: int, high: int, transaction_ids: Sequence[UUID]
) -> Sequence[Record]:
    """Read the lines that these transactions have in a part of a wallet's journal."""
    return await connection.fetch(
        """
        SELECT e.transaction_id, e.sequence, e.amount, e.balance_after, e.created_at, w.type::text AS wallet_type
          FROM wallet_entries e
          JOIN wallet_accounts w ON w.id = e.wallet_account_id
         WHERE e.wallet_account_id = $1 AND e.sequence BETWEEN $2 AND $3 AND e.transaction_id = ANY ($4::uuid[])
         ORDER BY e.sequence
        """,
        wallet_id, low, high, transaction_ids,
    )  # fmt: skip


async def lock_main_wallets(tx: Transaction, round_ids: Sequence[UUID]) -> None:
    """Lock the main wallets of these rounds' players, in id order, the one order in which anything locks them."""
    await tx.execute(
        """
        SELECT FROM wallet_accounts
         WHERE id IN (SELECT w.id
                        FROM game_rounds r
                        JOIN wallet_accounts w
                          ON w.user_id = r.user_id AND w.currency = r.currency AND w.type = 'main'
                       WHERE r.id = ANY ($1::uuid[]) AND r.status = 'open')
         ORDER BY id
           FOR UPDATE
        """,
        round_ids,
    )


async def mark_unfinished(tx: Transaction, round_ids: Sequence[UUID]) -> Sequence[UUID]:
    """Mark those rounds that are open, and raise the versions of their players' purses; return which they were."""
    rows = await tx.fetch(
        """
        WITH marked AS (
            UPDATE game_rounds
               SET status = 'unfinished'
             WHERE id = ANY ($1::uuid[]) AND status = 'open'
            RETURNING id, user_id, currency
        ), raised AS (
            UPDATE wallet_accounts w
               SET version = version + 1
             WHERE w.type = 'main'
               AND (w.user_id, w.currency) IN (SELECT user_id, currency FROM marked)
        )
        SELECT id FROM marked
        """,
        round_ids,
    )
    return [row["id"] for row in rows]


_TRANSACTIONS = """
    SELECT t.id, t.external_id, t.wallet_account_id, t.wallet_type::text, t.type::text, t.status::text, t.amount,
           t.answer_balance, t.created_at, t.metadata ->> 'award' AS award, t.metadata ->> 'free_amount' AS free_amount
      FROM transactions t
"""
