"""Making seals: the journal up to a moment behind which nothing can come any more.

An entry is dated by the database's clock after its transaction has got its id (it has written the wallet).
So: take a moment of that clock, less what it may be set back by, and a transaction id; wait until every
transaction with an earlier id has ended. Whatever is written from then on has a later id, was dated after
that id was given, and so lies behind the moment. No lock is taken that a writer could meet.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Final

from countroom.postgres import Database, Transaction
from countroom.refusal import Refusal
from countroom.wallet.seals import queries
from countroom.wallet.seals.form import ANY_TIME, NO_SEAL, Cutter, Seal, merkle_root

CLOCKS_DIFFER_MAX: Final = timedelta(seconds=10)
"""What the database's clock may be behind what it was: set back, or another machine's after a failover. Machines
that keep time by NTP differ by milliseconds; an entry dated by a worse clock comes behind a seal, and the
check says so."""
OPEN_SECONDS_MAX: Final = 30.0
"""How long transactions are waited for. A pass of the wallet takes milliseconds; what stays open longer is
something else, and sealing a minute later costs nothing."""
SEAL_ENTRIES: Final = 250_000
"""About so many a seal: some 25 MB that PostgreSQL sorts in memory, and about two seconds of work."""
_POLL_SECONDS: Final = 0.02


class TransactionsStayOpen(Refusal):
    """A transaction has been open for too long to seal behind it: the journal is sealed when it has ended."""

    kind = "unavailable"
    code = "transactions_stay_open"


class NothingSealed(Refusal):
    """Nothing has been sealed yet."""

    kind = "missing"
    code = "nothing_sealed"


async def head(database: Database) -> Seal:
    """Return the last seal.

    Raises:
        NothingSealed: there is none.
    """
    async with database.transaction() as tx:
        await queries.print_as_hashed(tx)
        found = await queries.last_seal(tx)
    if found is None:
        raise NothingSealed
    return found


async def make(
    database: Database,
    *,
    clocks_differ_max: timedelta = CLOCKS_DIFFER_MAX,
    open_seconds_max: float = OPEN_SECONDS_MAX,
    seal_entries: int = SEAL_ENTRIES,
) -> AsyncGenerator[Seal]:
    """Seal what the journal holds and no seal covers yet, oldest first; give each seal when it is committed.

    Each seal is one transaction: who stops in between, or is killed, leaves whole seals. Several may seal
    at once; they take turns.

    Raises:
        TransactionsStayOpen: nothing was sealed.
    """
    until = await _settled_moment(database, clocks_differ_max, open_seconds_max)
    while True:
        async with database.transaction() as tx:
            await queries.lock_sealing(tx)
            sealed = await _seal_next(tx, until, seal_entries)
        if sealed is None:
            return
        yield sealed


async def make_for(database: Database, seconds: float) -> None:
    """Seal like :func:`make`, and stop after about so long; the next time goes on from there.

    Raises:
        TransactionsStayOpen: nothing was sealed.
    """
    deadline = time.monotonic() + seconds
    async with aclosing(make(database)) as making:
        async for _ in making:
            if time.monotonic() > deadline:
                return


async def _settled_moment(database: Database, clocks_differ_max: timedelta, open_seconds_max: float) -> str:
    """Return a moment before which the journal does not change any more."""
    deadline = time.monotonic() + open_seconds_max
    async with database.transaction() as tx:
        await queries.print_as_hashed(tx)
        moment, transaction_id = await queries.mark(tx, clocks_differ_max)
    while True:
        async with database.transaction() as tx:
            if await queries.everything_before_has_ended(tx, transaction_id):
                return moment
        if time.monotonic() > deadline:
            raise TransactionsStayOpen
        await asyncio.sleep(_POLL_SECONDS)


async def _seal_next(tx: Transaction, until: str, seal_entries: int) -> Seal | None:
    await queries.print_as_hashed(tx)
    await queries.read_by_time(tx)
    previous = await queries.last_seal(tx)
    starts_at = previous.ends_at if previous else ANY_TIME
    ends_at = until
    # The first guess is good where the journal is stored by time; elsewhere each guess parts what is left.
    allowed = seal_entries
    while (end := await queries.end_of_about(tx, starts_at, ends_at, allowed)) is not None:
        ends_at = end
        allowed = 2 * seal_entries
    cutter = Cutter()
    await queries.read_lines(tx, starts_at, ends_at, cutter.take)
    cutter.finish()
    if not cutter.blocks:
        return None
    root = merkle_root([block.hash for block in cutter.blocks])
    number = previous.number + 1 if previous else 1
    seal = Seal(number, starts_at, ends_at, cutter.entries, root, NO_SEAL)
    seal = replace(seal, hash=seal.hash_after(previous.hash if previous else NO_SEAL))
    await queries.insert_seal(tx, seal, cutter.blocks)
    return seal
