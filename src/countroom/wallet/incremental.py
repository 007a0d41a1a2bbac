"""The books, proved since the last proof: what a minute has added is read, and nothing else.

No comparison is between players, so it is done in **parts**, some players at a time, and a proof by the timer
ends when its time is over: who was read last waits for the next one. A part is read on one REPEATABLE READ snapshot,
and its marks and what it found broken are written by the same transaction: either all of it counts or nothing. The
snapshot is a short one, because PostgreSQL prunes no row of a busy wallet while an older one is held, and bets pay
for that.

How it is known what is new, and that nothing is left out:

- A **mark** holds, of each wallet, the sequence, balance and receivable up to which its journal has
  been read. What is new of a wallet is what its journal has beyond its mark. A journal is written under
  its wallet's lock together with the wallet, so this is exact, whatever commits in whichever order. A player
  of whom one wallet is not as its mark says has something new, however long he waits.
- What has no place in a journal is found by its moment: a player's transactions without an entry, and tombstones.
  A transaction that was open at the last snapshot may have written an earlier moment than the
  snapshot's, and may commit after it. So a **horizon** is kept, one of each player and one of the tombstones: a
  moment that is earlier than any moment written by a transaction which the last snapshot did not show. `_settle`
  finds it. It takes a transaction id M, then waits until every older transaction has ended: a snapshot that is
  taken from then on shows all of them. Whoever it does not show has a later id than M, and a pass writes the
  database's own clock, read when its transaction has its id: its moment is later than the one at which M was taken.
  When an older transaction does not end, the horizon stays where it was, and more is read again.
- A player who has such transactions, and no wallet that has changed, is found by walking past all transactions in
  the order of their ids, each once, up to those that may still be under way. Ids are made by a process's own clock
  before it writes, so the horizon is earlier by `ID_AGE_MAX`: whoever has an older id than it has committed.

A violation does not hold the marks back: no minute is read twice. It stays nevertheless, because an
incremental proof says that the last full proof held and so has everything since: it carries on what
was found before it, until a full proof holds. That one sets the marks anew: what was put right lies before them.

What it cannot find is an old row that was falsified in place: it does not look at old rows. The full
proof does, and so do the seals.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
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
before it writes, and by the clock of another machine. Beyond it, a transaction without an entry, of a player whose
wallets have not changed, is left to the full proof; nothing else depends on it."""
ROUNDS_BACK: Final = timedelta(hours=1)
"""Touched rounds that were opened so long before their player was last read are left to the full proof: their
transactions lie among all that their player has done since."""
PLAYER_ROWS_MAX: Final = 2_000
"""So many older transactions of a player are read, beyond those that are new, to find those of touched rounds."""
WORK_MEMORY: Final = "32MB"
"""What one sort or hash may hold; beyond it PostgreSQL goes to disk."""
WINDOW_MEMORY: Final = "64MB"
"""What of the window stays in memory: a hundred thousand bets, beyond which PostgreSQL goes to disk."""
ENTRIES_A_PART: Final = 50_000
"""About a second beside bets: so long a snapshot is held. The entries of one player are not divided."""
IDS_A_PROOF: Final = 500_000
"""So many transactions are walked past in search of players whose wallets have not changed: a quarter of a second."""


@dataclass(slots=True)
class Part:
    """What is proved on one snapshot."""

    players: list[UUID] = field(default_factory=list)
    entries: int = 0
    """So many new ones they had when they were chosen."""
    gone: Sequence[UUID] = ()
    """Wallets that have a mark and are not there."""
    read_from: datetime | None = None
    """From when on tombstones are new; None: another part reads them."""
    seen_id: UUID | None = None
    """Up to this one, transactions have been walked past in search of players whose wallets have not changed."""


async def prove(database: Database, *, seconds_max: float = math.inf, progress: Progress = say_nothing) -> list[Proof]:
    """Prove P1 to P5 over what is new since the last proof; each proof becomes a row of `proofs`.

    But for the first, no part is begun that is not likely to end within ``seconds_max``; the proofs say how many
    entries wait for the next one. The first time, when there is no mark yet, it proves everything and sets the marks.
    A second prover waits for the first.
    """
    if not await has_begun(database):
        return await _prove_anew(database, progress)
    deadline = time.monotonic() + seconds_max
    progress("waiting for transactions that are open")
    settled = await _settle(database)
    parts: list[Part] | None = None
    so_far: list[Proof] = []
    while True:
        async with database.transaction(snapshot=True, read_only=False) as tx:
            await _exclude_other_provers(tx)
            moment = await tx.fetchval("SELECT clock_timestamp()")  # not before the snapshot
            if parts is None:
                progress("looking for what is new")
                parts = await _choose(tx, None if settled is None else _least_id(settled), ENTRIES_A_PART)
                await _advance_horizon(tx, settled, parts[0])
            began = time.monotonic()
            part, *parts = parts
            waiting = sum(part.entries for part in parts)
            found = await _prove_part(tx, part, partial(_say, progress, waiting))
            await _advance(tx, settled)
            so_far = [_add(*pair) for pair in zip(so_far, found, strict=True)] if so_far else found
            now = time.monotonic()
            if not parts or now + (now - began) > deadline:
                proofs = [replace(proof, waiting=waiting) for proof in so_far]
                await keep(tx, proofs, moment=moment)
                return proofs
            # The last part's proof is kept for all, and carries on what is kept here.
            await keep(tx, [proof for proof in found if not proof.holds], moment=moment)


def _say(progress: Progress, waiting: int, sentence: str) -> None:
    progress(f"{sentence}; {waiting:,} new entries after these" if waiting else sentence)


async def prove_fully(database: Database, *, progress: Progress = say_nothing) -> list[Proof]:
    """Prove P1 to P5 over everything; each proof becomes a row of `proofs`.

    It disturbs no incremental proof, unless there is none to go on from, or what was broken may now hold: then
    it sets the marks.
    """
    async with database.transaction() as tx:
        has_to_begin = await _read_horizon(tx) is None or await _is_broken(tx)
    if has_to_begin:
        return await _prove_anew(database, progress)
    async with database.connection() as connection:
        moment = await _moment_before(connection)
    proofs = await books.prove(database, progress=progress)
    async with database.connection() as connection:
        await keep(connection, proofs, moment=moment)
    return proofs


async def _prove_anew(database: Database, progress: Progress) -> list[Proof]:
    """Prove everything and set the marks; those that are there already stay where something is broken."""
    progress("waiting for transactions that are open")
    settled = await _settle(database)
    async with database.transaction(snapshot=True, read_only=False) as tx:
        await _exclude_other_provers(tx)
        moment = await _moment_before(tx)
        horizon = await _read_horizon(tx)
        proofs = await books.prove_within(tx, progress=progress)
        read_from = settled or horizon
        if read_from is not None and (horizon is None or all(proof.holds for proof in proofs)):
            await tx.execute(statement("incremental/begin"))
            await tx.execute(
                "INSERT INTO book_horizon (begun_snapshot, begun_from, read_from, seen_id) "
                "VALUES (pg_current_snapshot(), $1, $1, $2)",
                read_from,
                _least_id(read_from),
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


async def prove_within(tx: Transaction) -> list[Proof]:
    """Prove P1 to P5 over what is new, as a transaction sees it; the marks stay."""
    (part,) = await _choose(tx, UUID(int=2**128 - 1), math.inf)
    return await _prove_part(tx, part, say_nothing)


async def _choose(tx: Transaction, last_id: UUID | None, entries_a_part: float) -> list[Part]:
    """Return all players of whom something is new, in parts, of which there is at least one.

    Transactions up to ``last_id`` have all committed; None: it is not known of any.
    """
    await tx.execute(f"SET LOCAL work_mem = '{WORK_MEMORY}'")
    horizon = await tx.fetchrow("SELECT read_from, seen_id FROM book_horizon")
    assert horizon is not None
    unread = await tx.fetchrow(statement("incremental/find_unread"), horizon["seen_id"], last_id, IDS_A_PROOF)
    assert unread is not None
    rows = await tx.fetch(statement("incremental/choose_players"))
    changed = {row["user_id"] for row in rows}
    unmoved = [player for player in unread["players"] if player not in changed]
    parts = [part := Part(unmoved, read_from=horizon["read_from"], seen_id=unread["seen_id"])]
    for row in rows:
        if row["user_id"] is None:
            part.gone = row["gone"]
            continue
        if part.entries and part.entries + row["entries"] > entries_a_part:
            parts.append(part := Part())
        part.players.append(row["user_id"])
        part.entries += row["entries"]
    return parts


def _least_id(moment: datetime) -> UUID:
    """Return the least UUIDv7 of a moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


async def _prove_part(tx: Transaction, part: Part, progress: Progress) -> list[Proof]:
    began = time.perf_counter()
    await _read_window(tx, part, progress)
    reading = time.perf_counter() - began
    claims = (
        Claim("P1", "incremental/journals_continue"),
        Claim("P1", "incremental/receivables_follow"),
        Claim("P1", "incremental/transactions_have_wallets"),
        Claim("P2", "incremental/keys_stand_once"),
        Claim("P3", "incremental/never_negative"),
        Claim("P4", "incremental/outcomes_count_once"),
        Claim("P5", "incremental/transaction_is_its_entries"),
        Claim("P5", "incremental/rounds_follow", (ROUNDS_BACK, PLAYER_ROWS_MAX)),
        Claim("P5", "incremental/sessions_follow"),
    )
    first, *others = await books.run(tx, claims, scope="incremental", progress=progress)
    # What all of them work on is read once; the first bears its time.
    proofs = [replace(first, seconds=(first.seconds or 0.0) + reading), *others]
    return [await _carry_on(tx, proof) for proof in proofs]


def _add(before: Proof, part: Proof) -> Proof:
    """Return the proof of a part, with what was compared before it. What was broken before it is carried on."""
    return replace(
        part, compared=before.compared + part.compared, seconds=(before.seconds or 0.0) + (part.seconds or 0.0)
    )


async def _settle(database: Database) -> datetime | None:
    """Wait until all transactions that are open have ended.

    Returns the horizon of every snapshot that is taken from now on: what it does not show has a later moment.
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


async def _read_horizon(tx: Transaction) -> datetime | None:
    """Return from which moment on tombstones and transactions are new; None: there is no mark yet."""
    moment: datetime | None = await tx.fetchval("SELECT read_from FROM book_horizon")
    return moment


async def _read_window(tx: Transaction, part: Part, progress: Progress) -> None:
    """Fill the temporary tables of `window.sql`."""
    progress("reading what is new")
    await tx.execute(f"SET LOCAL temp_buffers = '{WINDOW_MEMORY}'; SET LOCAL work_mem = '{WORK_MEMORY}'")
    await tx.execute(statement("incremental/window"))
    # Everything is found by a key, and what was found is joined as sets, whatever the planner believes
    # about tables that grow. (A nested loop that LATERAL asks for is one all the same.)
    await tx.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off")
    await tx.execute(statement("incremental/read_players"), part.players)
    # How many rows there are is all that a plan has to know.
    await tx.execute("SET LOCAL default_statistics_target = 1; ANALYZE chosen_players")
    await tx.execute(statement("incremental/read_wallets"), part.gone)
    await tx.execute("ANALYZE changed_wallets")
    await tx.execute(statement("incremental/read_entries"))
    if part.read_from is not None:
        await tx.execute(statement("incremental/read_tombstones"), part.read_from)
    await tx.execute("ANALYZE new_entries, new_tombstones")
    await tx.execute(statement("incremental/read_transactions"))
    await tx.execute(statement("incremental/read_earlier_transactions"))
    await tx.execute("ANALYZE touched_transactions")
    await tx.execute(statement("incremental/read_rounds"))
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
    """Move the marks to what the part's wallets and sessions say now, and its players' horizons as far as is known."""
    await tx.execute(statement("incremental/advance_wallets"))
    await tx.execute(statement("incremental/advance_sessions"))
    await tx.execute(statement("incremental/advance_players"), settled)


async def _advance_horizon(tx: Transaction, settled: datetime | None, first: Part) -> None:
    await tx.execute(
        "UPDATE book_horizon SET read_from = coalesce($1, read_from), seen_id = $2", settled, first.seen_id
    )
