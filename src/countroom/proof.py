"""The promise checks: what one of them found, and how it is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from countroom import clock
from countroom.postgres import Connection

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
    seconds: float = 0.0
    """How long it took."""


async def keep(connection: Connection, proofs: Sequence[Proof], *, moment: datetime | None = None) -> None:
    """Keep each proof as a row of `proofs`, which the back office, the API and the metrics show.

    ``moment`` is that of the snapshot which was proved; without one it is the present.
    """
    await connection.executemany(
        """
        INSERT INTO proofs (id, promise, holds, compared, violations, scope, seconds, checked_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8, now()))
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
                moment,
            )
            for proof in proofs
        ],
    )
