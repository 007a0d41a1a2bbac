"""The statements of reconciliation, one function each. The first six run in one transaction, and one snapshot."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from asyncpg import Record

from countroom.games.reconciliation.report import Reported
from countroom.postgres import Connection, Database, Transaction

DIFFERENCES_KEPT: Final = 20_000
"""Rows kept of one comparison. Whoever finds more has compared the wrong file, or day."""


async def open_tables(tx: Transaction) -> None:
    """Make the two tables of a comparison, which end with it."""
    await tx.execute(
        """
        CREATE TEMP TABLE reported (
            line bigint, external_id text, type text, status text, amount numeric(18,2), currency text, round_id text,
            player_id text
        ) ON COMMIT DROP
        """
    )
    await tx.execute("CREATE TEMP TABLE compared (LIKE reconciliation_differences) ON COMMIT DROP")
    await tx.execute(
        """
        ALTER TABLE compared
            ALTER reconciliation_id DROP NOT NULL, ALTER number DROP NOT NULL, ADD free_amount numeric(18,2)
        """
    )


async def load(tx: Transaction, lines: AsyncIterator[Reported]) -> None:
    """Copy a report into its table, as it is read."""
    await tx.copy_records_to_table("reported", records=lines, columns=list(Reported._fields))
    await tx.execute("CREATE INDEX ON reported (external_id, line)")
    await tx.execute("ANALYZE reported")


async def compare_lines(tx: Transaction, prefix: str) -> None:
    """Set each line beside what our books have under its id, and say what is otherwise."""
    await tx.execute(
        """
        WITH beside AS (
            SELECT r.*, t.id AS our_id, t.type::text AS our_type, t.status::text AS our_status,
                   t.amount + coalesce(b.amount, 0) AS our_amount, t.currency::text AS our_currency,
                   g.external_id AS our_round, t.user_id AS our_player, t.created_at AS our_created_at,
                   (t.metadata ->> 'free_amount')::numeric AS free_amount, s.external_id AS reversed_by,
                   own.external_id IS NOT NULL AS is_our_reversal, own.amount AS reversed_amount,
                   EXISTS (SELECT FROM reported before
                            WHERE before.external_id = r.external_id AND before.line < r.line) AS is_repeated,
                   EXISTS (SELECT FROM reported undo WHERE undo.external_id = s.external_id AND undo.type = 'reversal')
                       AS is_undone
              FROM reported r
              LEFT JOIN transactions t ON t.external_id = r.external_id AND t.type IN ('bet', 'win')
              LEFT JOIN transactions b ON b.external_id = r.external_id || '/bonus' AND t.id IS NOT NULL
              LEFT JOIN game_rounds g ON g.id = t.game_round_id
              LEFT JOIN tombstones s ON s.target_external_id = r.external_id AND s.outcome <> 'repeated'
              LEFT JOIN tombstones own ON own.external_id = r.external_id AND r.type = 'reversal'
        )
        INSERT INTO compared (kinds, transaction_id, line, their_type, their_status, their_amount, their_currency,
                              their_round, their_player, our_id, our_type, our_status, our_amount, our_currency,
                              our_round, our_player, our_created_at, reversed_by, free_amount)
        SELECT array_remove(CASE
                   WHEN is_repeated THEN ARRAY['twice_there']
                   WHEN type = 'reversal' THEN ARRAY[
                       -- What took nothing back may never have been told, and is a reversal of something unseen.
                       CASE WHEN NOT is_our_reversal AND amount > 0 THEN 'missing_here'
                            WHEN reversed_amount <> 0 AND amount NOT IN (0, abs(reversed_amount)) THEN 'amount' END]
                   WHEN our_id IS NULL THEN ARRAY[
                       -- Where they say that nothing moved in the end, nothing has.
                       CASE WHEN status = 'success' AND amount > 0 AND NOT is_undone THEN 'missing_here' END]
                   ELSE ARRAY[
                       CASE WHEN currency <> our_currency THEN 'currency' END,
                       CASE WHEN amount <> our_amount AND amount IS DISTINCT FROM free_amount THEN 'amount' END,
                       CASE WHEN status <> our_status AND NOT (is_undone AND our_status = 'cancelled') THEN 'status'
                            END,
                       CASE WHEN type NOT IN ('', our_type) THEN 'type' END,
                       CASE WHEN player_id NOT IN ('', our_player::text) THEN 'player' END,
                       CASE WHEN round_id IS DISTINCT FROM our_round THEN 'round' END]
                   END, NULL),
               substr(external_id, length($1) + 1), line, nullif(type, ''), status, amount, currency,
               nullif(round_id, ''), nullif(player_id, ''), our_id, our_type, our_status, our_amount, our_currency,
               our_round, our_player, our_created_at, substr(reversed_by, length($1) + 1), free_amount
          FROM beside
        """,
        prefix,
    )


async def find_unreported(
    tx: Transaction, provider: str, *, begin: datetime, end: datetime, first_id: UUID, last_id: UUID
) -> None:
    """Add what stands in our books and not in the report.

    Ids begin with the time at which they were made, so that a day is a range of the primary key.
    """
    await tx.execute(
        """
        INSERT INTO compared (kinds, transaction_id, our_id, our_type, our_status, our_amount, our_currency, our_round,
                              our_player, our_created_at)
        SELECT ARRAY['missing_there'], substr(t.external_id, length($1) + 2), t.id, t.type, t.status,
               t.amount + coalesce(b.amount, 0), t.currency, g.external_id, t.user_id, t.created_at
          FROM transactions t
          LEFT JOIN transactions b ON b.external_id = t.external_id || '/bonus'
          LEFT JOIN game_rounds g ON g.id = t.game_round_id
         WHERE t.id BETWEEN $4 AND $5 AND t.created_at >= $2 AND t.created_at < $3
           AND t.provider = $1 AND t.type IN ('bet', 'win') AND t.status = 'success'
           AND t.amount + coalesce(b.amount, 0) > 0
           AND starts_with(t.external_id, $1 || ':') AND NOT t.external_id LIKE '%/bonus'
           AND NOT EXISTS (SELECT FROM reported r WHERE r.external_id = t.external_id)
        """,
        provider, begin, end, first_id, last_id,
    )  # fmt: skip


async def counts(tx: Transaction) -> Sequence[Record]:
    """Count what was compared, by the kinds of difference that it has."""
    return await tx.fetch(
        """
        SELECT kinds, count(*) AS count, count(line) AS lines FROM compared GROUP BY kinds
        """
    )


async def sums(tx: Transaction) -> Sequence[Record]:
    """Add up what stands on either side, by currency. A line without a type takes that of our books."""
    return await tx.fetch(
        """
        SELECT currency,
               sum(amount) FILTER (WHERE side = 'theirs' AND type = 'bet') AS their_bets,
               sum(amount) FILTER (WHERE side = 'theirs' AND type = 'win') AS their_wins,
               sum(amount) FILTER (WHERE side = 'ours' AND type = 'bet') AS our_bets,
               sum(amount) FILTER (WHERE side = 'ours' AND type = 'win') AS our_wins
          FROM (SELECT 'theirs' AS side, their_currency AS currency, coalesce(their_type, our_type) AS type,
                       their_amount AS amount
                  FROM compared
                 WHERE their_status = 'success' AND free_amount IS NULL
                   -- A report that lists reversals lets what they take back stand.
                   AND (our_status IS DISTINCT FROM 'cancelled' OR 'status' = ANY(kinds))
                   AND (our_id IS NOT NULL OR 'missing_here' = ANY(kinds))
                UNION ALL
                SELECT 'ours', our_currency, our_type, our_amount
                  FROM compared
                 WHERE our_status = 'success' AND NOT 'twice_there' = ANY(kinds)) both_sides
         WHERE type IN ('bet', 'win')
         GROUP BY currency
         ORDER BY currency
        """
    )


async def insert_reconciliation(
    tx: Transaction, *, reconciliation_id: UUID, provider_id: UUID, values: tuple[Any, ...]
) -> None:
    """Keep what was compared."""
    await tx.execute(
        """
        INSERT INTO reconciliations (id, provider_id, day, time_zone, file_name, file_hash, staff_id, line_count,
                                     matched_count, difference_count, kinds, sums)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        reconciliation_id, provider_id, *values,
    )  # fmt: skip


async def insert_differences(tx: Transaction, reconciliation_id: UUID, gravity: Sequence[str]) -> None:
    """Keep the differences, numbered, the gravest kinds first."""
    await tx.execute(
        """
        INSERT INTO reconciliation_differences
        SELECT $1, row_number() OVER (ORDER BY array_position($2::text[], kinds[1]), line, our_id), kinds,
               transaction_id, line, their_type, their_status, their_amount, their_currency, their_round, their_player,
               our_id, our_type, our_status, our_amount, our_currency, our_round, our_player, our_created_at,
               reversed_by
          FROM compared
         WHERE cardinality(kinds) > 0
         ORDER BY 2
         LIMIT $3
        """,
        reconciliation_id, gravity, DIFFERENCES_KEPT,
    )  # fmt: skip


async def provider(connection: Connection, code: str) -> Record | None:
    """Read who a provider is."""
    return await connection.fetchrow("SELECT id, code, title FROM game_providers WHERE code = $1", code)


async def reconciliations(database: Database, *, before: UUID | None, limit: int) -> Sequence[Record]:
    """Read comparisons, the newest first."""
    return await database.fetch(
        """
        SELECT r.id, p.code AS provider_code, p.title AS provider_title, r.day, r.time_zone, r.file_name, r.file_hash,
               s.name AS staff_name, r.line_count, r.matched_count, r.difference_count, r.kinds, r.sums, r.created_at
          FROM reconciliations r
          JOIN game_providers p ON p.id = r.provider_id
          LEFT JOIN staff s ON s.id = r.staff_id
         WHERE $1::uuid IS NULL OR r.id < $1
         ORDER BY r.id DESC
         LIMIT $2
        """,
        before,
        limit,
    )


async def reconciliation(database: Database, reconciliation_id: UUID) -> Record | None:
    """Read one comparison."""
    return await database.fetchrow(
        """
        SELECT r.id, p.code AS provider_code, p.title AS provider_title, r.day, r.time_zone, r.file_name, r.file_hash,
               s.name AS staff_name, r.line_count, r.matched_count, r.difference_count, r.kinds, r.sums, r.created_at
          FROM reconciliations r
          JOIN game_providers p ON p.id = r.provider_id
          LEFT JOIN staff s ON s.id = r.staff_id
         WHERE r.id = $1
        """,
        reconciliation_id,
    )


async def differences(
    database: Database, reconciliation_id: UUID, *, kind: str | None, after: int, limit: int
) -> Sequence[Record]:
    """Read differences in their order, with the latest note about each."""
    return await database.fetch(
        """
        SELECT d.*, n.note, n.created_at AS noted_at, s.name AS noted_by
          FROM reconciliation_differences d
          LEFT JOIN LATERAL (SELECT note, created_at, staff_id FROM reconciliation_notes n
                              WHERE n.reconciliation_id = d.reconciliation_id AND n.number = d.number
                              ORDER BY n.id DESC LIMIT 1) n ON true
          LEFT JOIN staff s ON s.id = n.staff_id
         WHERE d.reconciliation_id = $1 AND d.number > $3 AND ($2::text IS NULL OR $2 = ANY(d.kinds))
         ORDER BY d.number
         LIMIT $4
        """,
        reconciliation_id, kind, after, limit,
    )  # fmt: skip


async def insert_note(
    tx: Transaction, note_id: UUID, *, reconciliation_id: UUID, number: int, staff_id: UUID, note: str
) -> bool:
    """Keep what was done about a difference; False when there is no such difference."""
    done = await tx.execute(
        """
        INSERT INTO reconciliation_notes (id, reconciliation_id, number, staff_id, note)
        SELECT $1, reconciliation_id, number, $4, $5
          FROM reconciliation_differences
         WHERE reconciliation_id = $2 AND number = $3
        """,
        note_id, reconciliation_id, number, staff_id, note,
    )  # fmt: skip
    return bool(done.endswith(" 1"))
