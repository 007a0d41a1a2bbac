"""`countroom check`: each promise of the design proved over the live stores."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from countroom import clock
from countroom.postgres import Database
from countroom.proof import Proof
from countroom.settings import Settings
from countroom.wallet import books
from countroom.warehouse import reconcile

PROMISES: Final = {
    "P1": "the books add up",
    "P2": "every key was used once",
    "P3": "no wallet is below zero",
    "P4": "nothing was reversed twice",
    "P5": "what was refused moved nothing",
    "P6": "what is committed is counted",
}


async def prove_all(settings: Settings) -> list[Proof]:
    """Prove P1 to P6 while everything runs, and keep each proof as a row of `proofs`."""
    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=2)
    try:
        proofs = await books.prove(database)
        proofs.append(await asyncio.to_thread(reconcile.compare, settings))
        await _keep(database, proofs)
    finally:
        await database.close()
    return proofs


async def _keep(database: Database, proofs: Sequence[Proof]) -> None:
    async with database.connection() as connection:
        await connection.executemany(
            "INSERT INTO proofs (id, promise, holds, compared, violations) VALUES ($1, $2, $3, $4, $5)",
            [
                (
                    clock.new_id(),
                    proof.promise,
                    proof.holds,
                    proof.compared,
                    msgspec.json.encode(proof.violations).decode(),
                )
                for proof in proofs
            ],
        )
