"""The books, proved since the last proof: what a minute has added is read, and nothing else.

How it is known what is new, and that nothing is left out:

- A **mark** holds, of each wallet, the sequence, balance and receivable up to which its journal has
  been read. What is new of a wallet is what its journal has beyond its mark. A journal is written under
  its wallet's lock together with the wallet, so this is exact, whatever commits in whichever order.
- What has no place in a journal, tombstones and transactions without an entry, is found by its moment.
  A transaction that was open at the last snapshot may have written an earlier moment than the
  snapshot's, and may commit after it. So the **horizon** is kept: a moment that is earlier than any
  moment written by a transaction which the last snapshot did not show. `_settle` finds it. It takes a
  transaction id M, then waits until every older transaction has ended: the snapshot that is taken then
  shows all of them. Whoever it does not show has a later id than M, and a pass writes the database's
  own clock, read when its transaction has its id: its moment is later than the one at which M was taken.
  Only the ids of rows, by whose order the last minutes are found, are made by a process's own clock,
  before it writes: the horizon is earlier by `ID_AGE_MAX`. When an older transaction does not end, the
  horizon stays where it was, and more is read again.
- Everything is read on one REPEATABLE READ snapshot, and marks, horizon and proofs are written by the
  same transaction. Either all of it counts or nothing.

A violation does not hold the marks back: no minute is read twice. It stays nevertheless, because an
incremental proof says that the last full proof held and so has everything since: it carries on what
was found before it, until a full proof holds. That one sets the marks anew: what was put right lies before them.

What it cannot find is an old row that was falsified in place: it does not look at old rows. The full
proof does, and so do the seals.
"""

import asyncio
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from countroom.postgres import Database, Transaction
from countroom.proof import Progress, Proof, keep
from countroom.wallet import books
from countroom.wallet.books import VIOLATIONS_SHOWN, Claim, say_nothing, statement

SETTLE_SECONDS: Final = 1.0
"""How long transactions that are open may keep a proof from beginning; a pass takes a few hundredths."""
SETTLE_POLL_SECONDS: Final = 0.005
ID_AGE_MAX: Final = timedelta(seconds=10)
"""So much older than the moment of its row may an id be: it is made when a pass decides, hundredths of a second
before it writes, and by the clock of another machine. Beyond it, a transaction without an entry is left to
the full proof; nothing that has an entry depends on it."""
ROUNDS_BACK: Final = timedelta(hours=1)
"""Touched rounds that were opened longer ago are left to the full proof: their transactions lie among all
that their player has done since."""
PLAYER_ROWS_MAX: Final = 2_000
"""So many older transactions of a player are read, beyond those that are new, to find those of touched rounds."""
WORK_MEMORY: Final = "32MB"
"""What one sort or hash may hold; beyond it PostgreSQL goes to disk."""
WINDOW_MEMORY: Final = "64MB"
"""What of the window stays in memory: a hundred thousand bets, beyond which PostgreSQL goes to disk."""

Horizon = tuple[datetime, UUID]
"""The moment from which on is read, and the least UUIDv7 of it."""


async def prove(database: Database, *, progress: Progress = say_nothing) -> list[Proof]:
    """Prove P1 to P5 over what is new since the last proof; each proof becomes a row of `proofs`.

    The first time, when there is no mark yet, it proves everything and sets the marks. A second prover waits for
    the first.
    """
    if not await has_begun(database):
        return await _prove_anew(database, progress)
    progress("waiting for transactions that are open")
    settled = await _settle(database)
    async with database.transaction(snapshot=True, read_only=False) as tx:
        await _exclude_other_provers(tx)
        moment = await tx.fetchval("SELECT clock_timestamp()")  # not before the snapshot
        horizon = await read_horizon(tx)
        assert horizon is not None
        proofs = await prove_within(tx, horizon, progress=progress)
        await _advance(tx, settled)
        await keep(tx, proofs, moment=moment)
    return proofs


async def prove_fully(database: Database, *, progress: Progress = say_nothing) -> list[Proof]:
    """Prove P1 to P5 over everything; each proof becomes a row of `proofs`.

    It disturbs no incremental proof, unless there is none to go on from, or what was broken may now hold: then
    it sets the marks.
    """
    async with database.transaction() as tx:
        has_to_begin = await read_horizon(tx) is None or await _is_broken(tx)
    if has_to_begin:
        return await _prove_anew(database, progress)
    async with database.transaction(snapshot=True, read_only=False) as tx:
        moment = await _moment_before(tx)
        proofs = await books.prove_within(tx, progress=progress)
        await keep(tx, proofs, moment=moment)
    return proofs


async def _prove_anew(database: Database, progress: Progress) -> list[Proof]:
    """Prove everything and set the marks; those that are there already stay where something is broken."""
    progress("waiting for transactions that are open")
    settled = await _settle(database)
    async with database.transaction(snapshot=True, read_only=False) as tx:
        await _exclude_other_provers(tx)
        moment = await _moment_before(tx)
        horizon = await read_horizon(tx)
        proofs = await books.prove_within(tx, progress=progress)
        read_from = settled or (horizon and horizon[0])
        if read_from is not None and (horizon is None or all(proof.holds for proof in proofs)):
            await tx.execute(statement("incremental/begin"))
            await tx.execute(
                "INSERT INTO book_horizon (snapshot, read_from) VALUES (pg_current_snapshot(), $1)", read_from
            )
        await keep(tx, proofs, moment=moment)
    return proofs


async def _exclude_other_provers(tx: Transaction) -> None:
    """Wait until no other prover is under way. The lock goes with the transaction, whatever becomes of it.

    LOCK takes no snapshot, so this may come before that; an advisory lock's SELECT would take one.
    """
    await tx.execute("LOCK TABLE book_horizon IN EXCLUSIVE MODE")


async def _moment_before(tx: Transaction) -> datetime:
    """Return a moment that is not after the transaction's snapshot, which this takes."""
    moment: datetime = await tx.fetchval("SELECT statement_timestamp()")
    return moment


async def has_begun(database: Database) -> bool:
    """Whether the marks have been set."""
    return await database.fetchrow("SELECT FROM book_horizon") is not None


async def prove_within(tx: Transaction, horizon: Horizon, *, progress: Progress = say_nothing) -> list[Proof]:
    """Prove P1 to P5 over what is new, as a transaction sees it; the marks stay."""
    await tx.execute(f"SET LOCAL work_mem = '{WORK_MEMORY}'; SET LOCAL temp_buffers = '{WINDOW_MEMORY}'")
    began = time.perf_counter()
    await _read_window(tx, horizon, progress)
    reading = time.perf_counter() - began
    read_from, _ = horizon
    claims = (
        Claim("P1", "incremental/journals_continue"),
        Claim("P1", "incremental/receivables_follow"),
        Claim("P1", "incremental/transactions_have_wallets"),
        Claim("P2", "incremental/keys_stand_once"),
        Claim("P3", "incremental/never_negative"),
        Claim("P4", "incremental/outcomes_count_once"),
        Claim("P5", "incremental/transaction_is_its_entries"),
        Claim("P5", "incremental/rounds_follow", (read_from - ROUNDS_BACK, PLAYER_ROWS_MAX)),
        Claim("P5", "incremental/sessions_follow"),
    )
    first, *others = await books.run(tx, claims, scope="incremental", progress=progress)
    # What all of them work on is read once; the first bears its time.
    proofs = [replace(first, seconds=(first.seconds or 0.0) + reading), *others]
    return [await _carry_on(tx, proof) for proof in proofs]


async def _settle(database: Database) -> datetime | None:
    """Wait until all transactions that are open have ended.

    Returns the horizon of a snapshot that is taken from now on: what it does not show has a later moment.
    None: one of them stays open.
    """
    async with database.connection() as connection:
        # now() is when this statement's transaction began, which is before it took its id.
        row = await connection.fetchrow("SELECT now() AS moment, pg_current_xact_id()::text::bigint AS id")
        assert row is not None
        deadline = time.monotonic() + SETTLE_SECONDS
        while await connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint") <= row["id"]:
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(SETTLE_POLL_SECONDS)
        moment: datetime = row["moment"]
        return moment - ID_AGE_MAX


async def read_horizon(tx: Transaction) -> Horizon | None:
    """Return from which moment on tombstones and transactions are new; None: there is no mark yet."""
    row = await tx.fetchrow("SELECT read_from FROM book_horizon")
    if row is None:
        return None
    read_from: datetime = row["read_from"]
    return read_from, UUID(int=int(read_from.timestamp() * 1000) << 80)


async def _read_window(tx: Transaction, horizon: Horizon, progress: Progress) -> None:
    """Fill the temporary tables of `window.sql`."""
    read_from, least_id = horizon
    progress("reading what is new")
    await tx.execute(statement("incremental/window"))
    await tx.execute(statement("incremental/read_wallets"))
    # How many rows there are is all that a plan has to know.
    await tx.execute("SET LOCAL default_statistics_target = 1; ANALYZE changed_wallets")
    # Everything else is found by a key, and what was found is joined as sets, whatever the planner believes
    # about tables that grow. (A nested loop that LATERAL asks for is one all the same.)
    await tx.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off")
    await tx.execute(statement("incremental/read_entries"))
    await tx.execute(statement("incremental/read_tombstones"), read_from)
    await tx.execute("ANALYZE new_entries, new_tombstones")
    await tx.execute(statement("incremental/read_recent_transactions"), read_from, least_id)
    await tx.execute(statement("incremental/read_earlier_transactions"))
    await tx.execute("ANALYZE touched_transactions")
    await tx.execute(statement("incremental/read_rounds"), least_id)
    await tx.execute("ANALYZE touched_rounds")
    await tx.execute(statement("incremental/read_sessions"))


async def _carry_on(tx: Transaction, proof: Proof) -> Proof:
    """Add what earlier proofs found since the last full proof that held: it is not over by itself."""
    text = await tx.fetchval(
        """
        SELECT violations
          FROM proofs
         WHERE promise = $1 AND NOT holds
           AND checked_at > coalesce((SELECT max(checked_at) FROM proofs
                                       WHERE promise = $1 AND scope = 'full' AND holds), '-infinity')
         ORDER BY checked_at DESC
         LIMIT 1
        """,
        proof.promise,
    )
    if text is None:
        return proof
    earlier = msgspec.json.decode(text, type=list[str])
    violations = tuple(dict.fromkeys([*earlier, *proof.violations]))
    return replace(proof, holds=False, violations=violations[:VIOLATIONS_SHOWN])


async def _is_broken(tx: Transaction) -> bool:
    """Whether an incremental proof would carry something on."""
    nothing = (Proof(promise, holds=True, compared=0) for promise in ("P1", "P2", "P3", "P4", "P5"))
    return any([not (await _carry_on(tx, proof)).holds for proof in nothing])


async def _advance(tx: Transaction, settled: datetime | None) -> None:
    """Move the marks to what the wallets say now, and the horizon as far as it is known."""
    await tx.execute(statement("incremental/advance_wallets"))
    await tx.execute(statement("incremental/advance_sessions"))
    await tx.execute(
        "UPDATE book_horizon SET snapshot = pg_current_snapshot(), read_from = coalesce($1, read_from)", settled
    )
