"""The promise checks: what one of them found, and how it is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import msgspec

from countroom import clock
from countroom.postgres import Connection, Database

Scope = Literal["full", "incremental"]
"""Over everything, or over what is new since the last proof."""
Progress = Callable[[str], None]
"""Hears what is being proved now, in a few words."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One promise of design.md §1, proved or not over the live stores."""

    promise: str
    """P1 … P6."""
    holds: bool
    compared: int
    """How many things were compared."""
    violations: tuple[str, ...] = ()
    """The first ones, each a sentence with the ids at fault."""
    scope: Scope = "full"
    seconds: float | None = None
    """How long it took, where that was measured."""
    waiting: int = 0
    """Entries of the journal that were new and are left to the next proof."""


@dataclass(frozen=True, slots=True)
class KeptProof(Proof):
    """A row of `proofs`."""

    checked_at: datetime = field(kw_only=True)
    """The moment of what was proved."""


async def keep(connection: Connection, proofs: Sequence[Proof], *, moment: datetime | None = None) -> None:
    """Keep each proof as a row of `proofs`, which the back office, the API and the metrics show.

    ``moment`` is that of the snapshot which was proved; without one it is the present.
    """
    await connection.executemany(
        """
        INSERT INTO proofs (id, promise, holds, compared, violations, scope, seconds, waiting, checked_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9, now()))
        """,
        [
            (
                clock.new_id(),
                proof.promise,
                proof.holds,
                proof.compared,
                msgspec.json.encode(proof.violations).decode(),
                proof.scope,
                proof.seconds,
                proof.waiting,
                moment,
            )
            for proof in proofs
        ],
    )


async def latest(database: Database) -> list[KeptProof]:
    """Return the newest proof of each promise and scope, by promise."""
    rows = await database.fetch(
        """
        WITH RECURSIVE kinds AS (  -- a descent of the index for each, however many rows there are
            (SELECT promise, scope FROM proofs ORDER BY promise, scope LIMIT 1)
             UNION ALL
            SELECT further.promise, further.scope
              FROM kinds
             CROSS JOIN LATERAL (SELECT promise, scope
                                   FROM proofs
                                  WHERE (promise, scope) > (kinds.promise, kinds.scope)
                                  ORDER BY promise, scope
                                  LIMIT 1) AS further
        )
        SELECT newest.*
          FROM kinds
         CROSS JOIN LATERAL (SELECT promise, holds, compared, violations, scope, seconds, waiting, checked_at
                               FROM proofs
                              WHERE promise = kinds.promise AND scope = kinds.scope
                              ORDER BY checked_at DESC
                              LIMIT 1) AS newest
         ORDER BY newest.promise, newest.scope
        """
    )
    return [
        KeptProof(
            row["promise"],
            holds=row["holds"],
            compared=row["compared"],
            violations=tuple(msgspec.json.decode(row["violations"], type=list[str])),
            scope=row["scope"],
            seconds=row["seconds"],
            waiting=row["waiting"],
            checked_at=row["checked_at"],
        )
        for row in rows
    ]


def newest_of_each(proofs: Sequence[KeptProof]) -> list[KeptProof]:
    """Return the newest proof of each promise, whatever its scope."""
    by_age = sorted(proofs, key=lambda proof: proof.checked_at)
    found = {proof.promise: proof for proof in by_age}
    return [found[promise] for promise in sorted(found)]
