"""The statements of sealing, one function each. Times travel as text: what is hashed is what PostgreSQL prints."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Transaction
from countroom.wallet.seals.form import Block, Seal

SORT_MEMORY: Final = "64MB"
"""For the entries of a seal, in PostgreSQL; what needs more is sorted on disk."""
_SEALING: Final = 0x7365616C73  # "seals": nothing else in this database locks this number


async def print_as_hashed(tx: Transaction) -> None:
    """Have this transaction print times in the one form that is hashed."""
    await tx.execute("SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'")


async def read_by_time(tx: Transaction) -> None:
    """Have this transaction read the journal by its index on time, and with one process: the other cores are busy.

    That index gives pages in their order on disk, which is nearly that of time: `end_of_about` relies on it.
    """
    await tx.execute(
        f"""
        SET LOCAL work_mem = '{SORT_MEMORY}';
        SET LOCAL max_parallel_workers_per_gather = 0;
        SET LOCAL enable_seqscan = off;
        SET LOCAL enable_indexscan = off;
        SET LOCAL enable_indexonlyscan = off;
        """
    )


async def mark(tx: Transaction, margin: timedelta) -> tuple[str, str]:
    """Return the moment ``margin`` ago, and a transaction id later than any other there is.

    That id is this transaction's own. The end of a snapshot (`pg_snapshot_xmax`) would not do: it follows the
    last id that has *ended*, and transactions under way may have later ones.
    """
    row = await tx.fetchrow("SELECT (clock_timestamp() - $1::interval)::text, pg_current_xact_id()::text", margin)
    assert row is not None
    return row[0], row[1]


async def everything_before_has_ended(tx: Transaction, transaction_id: str) -> bool:
    """Whether each transaction with an earlier id has ended, so that what it wrote can be read."""
    has_ended: bool = await tx.fetchval(
        "SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8", transaction_id
    )
    return has_ended


async def lock_sealing(tx: Transaction) -> None:
    """Let nobody else seal until this transaction ends. No other lock is taken: nothing that bets waits for it."""
    await tx.execute("SELECT pg_advisory_xact_lock($1)", _SEALING)


async def last_seal(tx: Transaction) -> Seal | None:
    """Read the head of the chain."""
    row = await tx.fetchrow(
        """
        SELECT number, starts_at::text, ends_at::text, entries, root, hash
          FROM seals
         ORDER BY number DESC
         LIMIT 1
        """
    )
    return Seal(*row.values()) if row else None


async def seals_after(tx: Transaction, number: int, limit: int) -> list[Seal]:
    """Read the seals that follow a number, in order."""
    rows = await tx.fetch(
        """
        SELECT number, starts_at::text, ends_at::text, entries, root, hash
          FROM seals
         WHERE number > $1
         ORDER BY number
         LIMIT $2
        """,
        number,
        limit,
    )
    return [Seal(*row.values()) for row in rows]


async def blocks_of(tx: Transaction, first: int, last: int) -> dict[int, list[Block]]:
    """Read the blocks of the seals between two numbers, in order, by seal."""
    rows = await tx.fetch(
        r"""
        SELECT seal_number, entries, hash,
               format(E'%s\t%s\t%s\t', first_created_at, first_wallet_account_id, first_sequence) AS first
          FROM seal_blocks
         WHERE seal_number BETWEEN $1 AND $2
         ORDER BY seal_number, number
        """,
        first,
        last,
    )
    blocks: dict[int, list[Block]] = {}
    for row in rows:
        blocks.setdefault(row["seal_number"], []).append(Block(row["first"].encode(), row["entries"], row["hash"]))
    return blocks


async def sealed_entries(tx: Transaction) -> int:
    """Return how many entries all seals hold."""
    entries: int = await tx.fetchval("SELECT coalesce(sum(entries), 0)::bigint FROM seals")
    return entries


async def end_of_about(tx: Transaction, starts_at: str, ends_at: str, entries: int) -> str | None:
    """Return an end between two moments before which about so many entries lie; None when there are no more.

    It follows the entry that comes after so many on disk. Where the journal is not stored by time (it was
    restored in another order), it is only some moment between the two.
    """
    end: str | None = await tx.fetchval(
        """
        SELECT (created_at + interval '1 microsecond')::text
          FROM (SELECT created_at
                  FROM wallet_entries
                 WHERE created_at >= $1::text::timestamptz AND created_at < $2::text::timestamptz
                OFFSET $3 LIMIT 1) AS nth
         WHERE created_at + interval '1 microsecond' > $1::text::timestamptz
           AND created_at + interval '1 microsecond' < $2::text::timestamptz
        """,
        starts_at,
        ends_at,
        entries - 1,
    )
    return end


async def read_lines(tx: Transaction, starts_at: str, ends_at: str, take: Callable[[Sequence[bytes]], None]) -> None:
    """Give ``take`` the entries from a moment on and before another, in order, as lines, some at a time."""
    rest = b""

    async def split(data: bytes) -> None:
        nonlocal rest
        *lines, rest = (rest + data).split(b"\n")
        take(lines)

    await tx.copy_from_query(
        """
        SELECT created_at, wallet_account_id, sequence, transaction_id, amount, balance_after
          FROM wallet_entries
         WHERE created_at >= $1::text::timestamptz AND created_at < $2::text::timestamptz
         ORDER BY created_at, wallet_account_id, sequence
        """,
        starts_at,
        ends_at,
        output=split,
    )
    assert rest == b""


async def insert_seal(tx: Transaction, seal: Seal, blocks: Sequence[Block]) -> None:
    """Add a seal and its blocks."""
    await tx.execute(
        """
        INSERT INTO seals (number, starts_at, ends_at, entries, root, hash)
        VALUES ($1, $2::text::timestamptz, $3::text::timestamptz, $4, $5, $6)
        """,
        seal.number,
        seal.starts_at,
        seal.ends_at,
        seal.entries,
        seal.root,
        seal.hash,
    )
    firsts = [block.first.decode().split("\t") for block in blocks]
    await tx.execute(
        """
        INSERT INTO seal_blocks (seal_number, number, first_created_at, first_wallet_account_id, first_sequence,
                                 entries, hash)
        SELECT $1, position - 1, created_at::timestamptz, wallet_account_id::uuid, sequence::bigint, entries, hash
          FROM unnest($2::text[], $3::text[], $4::text[], $5::integer[], $6::bytea[]) WITH ORDINALITY
            AS new (created_at, wallet_account_id, sequence, entries, hash, position)
        """,
        seal.number,
        [first[0] for first in firsts],
        [first[1] for first in firsts],
        [first[2] for first in firsts],
        [block.entries for block in blocks],
        [block.hash for block in blocks],
    )


async def facts_about(tx: Transaction, wallet_ids: Sequence[UUID], sequences: Sequence[int]) -> Sequence[Record]:
    """Read entries with what the rest of the books says about each: its neighbours, wallet and transaction."""
    return await tx.fetch(
        """
        SELECT e.wallet_account_id, e.sequence, e.amount, e.balance_after, e.created_at::text,
               b.sequence IS NOT NULL AS has_before, b.balance_after AS balance_before,
               b.created_at > e.created_at AS is_before_the_one_before,
               a.sequence IS NOT NULL AS has_after, a.balance_after - a.amount AS balance_wanted_after,
               w.user_id, w.sequence AS wallet_sequence, w.balance AS wallet_balance,
               t.id IS NOT NULL AS has_transaction, t.user_id AS transaction_user_id, t.type AS transaction_type,
               e.created_at < t.created_at AS is_before_transaction,
               e.created_at > t.created_at AND t.status = 'success' AND t.type <> 'withdrawal' AS is_after_transaction,
               e.created_at = t.created_at AND abs(e.amount) NOT IN
                   (abs(t.amount), abs(t.amount + t.fee), abs(t.amount - t.fee)) AS is_not_transactions_amount,
               e.transaction_id
          FROM unnest($1::uuid[], $2::bigint[]) AS asked (wallet_account_id, sequence)
          JOIN LATERAL (
               SELECT * FROM wallet_entries
                WHERE wallet_account_id = asked.wallet_account_id AND sequence = asked.sequence LIMIT 1) e ON true
          LEFT JOIN LATERAL (
               SELECT * FROM wallet_entries
                WHERE wallet_account_id = e.wallet_account_id AND sequence = e.sequence - 1 LIMIT 1) b ON true
          LEFT JOIN LATERAL (
               SELECT * FROM wallet_entries
                WHERE wallet_account_id = e.wallet_account_id AND sequence = e.sequence + 1 LIMIT 1) a ON true
          LEFT JOIN LATERAL (SELECT * FROM wallet_accounts WHERE id = e.wallet_account_id LIMIT 1) w ON true
          LEFT JOIN LATERAL (SELECT * FROM transactions WHERE id = e.transaction_id LIMIT 1) t ON true
         ORDER BY e.wallet_account_id, e.sequence
        """,
        wallet_ids,
        sequences,
    )


async def missing_entries(tx: Transaction, limit: int) -> Sequence[Record]:
    """Find entries that wallets count and the journal lacks, and between which moments they were.

    Walks through the journal's primary key: for when something is known to be missing.
    """
    return await tx.fetch(
        """
        WITH short AS (
            SELECT w.id, w.sequence
              FROM wallet_accounts w
              LEFT JOIN (SELECT wallet_account_id, count(*) AS entries FROM wallet_entries GROUP BY wallet_account_id) c
                     ON c.wallet_account_id = w.id
             WHERE coalesce(c.entries, 0) < w.sequence
             LIMIT $1
        ), lines AS (
            SELECT s.id, e.sequence, e.created_at,
                   lag(e.sequence, 1, 0::bigint) OVER journal AS sequence_before,
                   lag(e.created_at) OVER journal AS created_before
              FROM short s
              JOIN wallet_entries e ON e.wallet_account_id = s.id
            WINDOW journal AS (PARTITION BY s.id ORDER BY e.sequence)
        )
        SELECT id AS wallet_account_id, sequence_before + 1 AS first, sequence - 1 AS last,
               coalesce(created_before, '-infinity')::text AS not_before, created_at::text AS not_after
          FROM lines
         WHERE sequence > sequence_before + 1
         UNION ALL
        SELECT s.id, coalesce(max(e.sequence), 0) + 1, s.sequence,
               coalesce(max(e.created_at), '-infinity')::text, 'infinity'
          FROM short s
          LEFT JOIN wallet_entries e ON e.wallet_account_id = s.id
         GROUP BY s.id, s.sequence
        HAVING coalesce(max(e.sequence), 0) < s.sequence
         LIMIT $1
        """,
        limit,
    )
