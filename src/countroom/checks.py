"""`countroom check`: each promise of the design proved over the live stores.

What can be proved is in parts, each in the room that knows how. A new part has a name here, a
branch in `_prove`, and its promises in `PROMISES`.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, Literal, get_args

from countroom.postgres import Database
from countroom.proof import Progress, Proof, keep
from countroom.settings import Settings
from countroom.wallet import incremental, seals
from countroom.wallet.books import say_nothing
from countroom.warehouse import reconcile

Part = Literal["books", "seals", "warehouse"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
"""In the order in which they are proved."""

PROMISES: Final = {
    "P1": "the books add up",
    "P2": "every key was used once",
    "P3": "no wallet is below zero",
    "P4": "nothing was reversed twice",
    "P5": "what was refused moved nothing",
    "P6": "what is committed is counted",
    "seals": "the journal is as it was sealed",
}

FULL_EVERY: Final = timedelta(hours=24)
"""The books are proved over everything so often: what an incremental proof cannot find stays no longer unseen."""
BEGIN_EVERY: Final = timedelta(minutes=10)
"""While there is no mark to go on from, each proof is a full one, and no more often than this."""


async def prove(
    settings: Settings,
    parts: Sequence[Part] = PARTS,
    *,
    is_incremental: bool = False,
    head: str | None = None,
    progress: Progress = say_nothing,
) -> list[Proof]:
    """Prove the promises of some parts while everything runs; each proof becomes a row of `proofs`.

    With ``is_incremental`` the books are proved over what is new since their last proof, and the warehouse over the
    days that changed; the seals know only the whole. ``head`` is the hash of a seal that was kept elsewhere and must
    still be there.
    """
    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=2)
    try:
        return [
            proof
            for part in PARTS
            if part in parts
            for proof in await _prove(
                part, settings, database, is_incremental=is_incremental, head=head, progress=progress
            )
        ]
    finally:
        await database.close()


async def _prove(
    part: Part, settings: Settings, database: Database, *, is_incremental: bool, head: str | None, progress: Progress
) -> Sequence[Proof]:
    if part == "books":
        prover = incremental.prove if is_incremental else incremental.prove_fully
        return await prover(database, progress=progress)
    began = time.perf_counter()
    if part == "seals":
        proof = await seals.prove(
            database, head=head, progress=lambda compared, of: progress(f"seals: {compared:,} of {of:,} entries")
        )
    else:
        progress("P6 PostgreSQL and ClickHouse agree")
        proof = await asyncio.to_thread(reconcile.compare, settings, is_incremental=is_incremental)
    proofs = [replace(proof, seconds=time.perf_counter() - began)]
    async with database.connection() as connection:
        await keep(connection, proofs)
    return proofs


async def find_differences(settings: Settings) -> reconcile.Comparison:
    """Prove P6 over everything and name every row that differs; the proof becomes a row of `proofs`."""
    began = time.perf_counter()
    found = await asyncio.to_thread(reconcile.find, settings)
    proof = replace(found.proof, seconds=time.perf_counter() - began)
    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=1)
    try:
        async with database.connection() as connection:
            await keep(connection, [proof])
    finally:
        await database.close()
    return replace(found, proof=proof)


async def prove_warehouse_by_timer(settings: Settings) -> list[Proof]:
    """Prove P6 over the days that changed; over everything once a day, and as long as that does not hold."""
    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=1)
    try:
        held = await database.fetchrow(
            """
            SELECT holds FROM proofs
             WHERE promise = 'P6' AND scope = 'full' AND checked_at > now() - $1::interval
             ORDER BY checked_at DESC LIMIT 1
            """,
            FULL_EVERY,
        )
    finally:
        await database.close()
    return await prove(settings, ["warehouse"], is_incremental=held is not None and held["holds"])


async def prove_books_by_timer(settings: Settings) -> list[Proof]:
    """Prove what is new in the books, as far as time allows. Where nothing has been proved yet, that is everything."""
    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=2)
    try:
        if not await incremental.has_begun(database) and await _was_proved_fully(database, BEGIN_EVERY):
            return []
        return await incremental.prove(database, seconds_max=settings.books_proof_seconds)
    finally:
        await database.close()


async def prove_books_fully_by_timer(settings: Settings) -> list[Proof]:
    """Prove everything in the books when that is due."""
    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=1)
    try:
        if not await incremental.has_begun(database) or await _was_proved_fully(database, FULL_EVERY):
            return []
        return await incremental.prove_fully(database)
    finally:
        await database.close()


async def _was_proved_fully(database: Database, within: timedelta) -> bool:
    row = await database.fetchrow(
        "SELECT FROM proofs WHERE promise = 'P1' AND scope = 'full' AND checked_at > now() - $1::interval LIMIT 1",
        within,
    )
    return row is not None
