"""The books, proved again from outside: P1 to P5 while bets flow.

Each statement sees one moment, and gives what it compared and the first violations, as sentences that name the ids. It
shares nothing with the write path but the tables, so that a bug there is not repeated here. What one statement
claims does not rest on another's, so each may have a snapshot of its own: while one is held, PostgreSQL prunes no row
of a busy wallet, and bets pay for that.

This is the full proof: everything is read, and PostgreSQL does the work within bounded memory.
`incremental` proves what is new since the last proof, and keeps the proofs.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final

from countroom.postgres import Database, Transaction
from countroom.proof import Progress, Proof, Scope

VIOLATIONS_SHOWN: Final = 10
"""Of each statement: enough to see a pattern."""
WORK_MEMORY: Final = "64MB"
"""What one sort or hash of a full proof may hold, a hash twice as much; beyond it PostgreSQL goes to disk.
Several run at once: half a gigabyte in all over ten million entries (docs/books.md)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A part of a promise that one statement proves."""

    promise: str
    statement: str
    """Names a file in `statements/`, which gives one row: compared, violations text[]."""
    arguments: tuple[Any, ...] = ()
    """What it takes after the number of violations to show."""

    @property
    def sentence(self) -> str:
        """What is being proved, for people who wait."""
        return f"{self.promise} {self.statement.rpartition('/')[2].replace('_', ' ')}"


CLAIMS: Final = (
    Claim("P1", "balance_is_sum_of_entries"),
    Claim("P1", "sequence_has_no_gap"),
    Claim("P1", "balances_equal_flows"),
    Claim("P1", "receivables_are_accounted"),
    Claim("P1", "nothing_is_orphaned"),
    Claim("P2", "keys_are_unique"),
    Claim("P3", "never_negative"),
    Claim("P4", "reversed_once"),
    Claim("P4", "withdrawals_end_once"),
    Claim("P5", "transaction_is_its_entries"),
    Claim("P5", "sums_follow_transactions"),
)


def say_nothing(_sentence: str) -> None:
    """Show no progress."""


async def prove(database: Database, *, progress: Progress = say_nothing) -> list[Proof]:
    """Prove P1 to P5 over everything, each statement on a snapshot of its own, and leave no trace of it."""
    proofs = []
    for claim in CLAIMS:
        async with database.transaction(snapshot=True) as tx:
            await _spare_others(tx)
            proofs.append(await _ask(tx, claim, scope="full", progress=progress))
    return _by_promise(proofs)


async def prove_within(tx: Transaction, *, progress: Progress = say_nothing) -> list[Proof]:
    """Prove P1 to P5 over everything, as a transaction sees it."""
    await _spare_others(tx)
    return await run(tx, CLAIMS, scope="full", progress=progress)


async def _spare_others(tx: Transaction) -> None:
    await tx.execute(f"SET LOCAL work_mem = '{WORK_MEMORY}'")
    # One core's worth: the others are for bets.
    await tx.execute("SET LOCAL max_parallel_workers_per_gather = 0")


async def run(tx: Transaction, claims: Iterable[Claim], *, scope: Scope, progress: Progress) -> list[Proof]:
    """Run each claim's statement and give a proof a promise."""
    return _by_promise([await _ask(tx, claim, scope=scope, progress=progress) for claim in claims])


async def _ask(tx: Transaction, claim: Claim, *, scope: Scope, progress: Progress) -> Proof:
    progress(claim.sentence)
    began = time.perf_counter()
    row = await tx.fetchrow(statement(claim.statement), VIOLATIONS_SHOWN, *claim.arguments)
    assert row is not None
    violations = tuple(row["violations"])
    return Proof(
        claim.promise,
        holds=not violations,
        compared=row["compared"],
        violations=violations,
        scope=scope,
        seconds=time.perf_counter() - began,
    )


def _by_promise(proofs: Iterable[Proof]) -> list[Proof]:
    """Join the proofs of each promise's claims."""
    found: dict[str, Proof] = {}
    for proof in proofs:
        so_far = found.setdefault(proof.promise, Proof(proof.promise, holds=True, compared=0, scope=proof.scope))
        found[proof.promise] = replace(
            so_far,
            holds=so_far.holds and proof.holds,
            compared=so_far.compared + proof.compared,
            violations=(*so_far.violations, *proof.violations)[:VIOLATIONS_SHOWN],
            seconds=(so_far.seconds or 0.0) + (proof.seconds or 0.0),
        )
    return list(found.values())


def statement(name: str) -> str:
    """Return the text of a file in `statements/`."""
    return files("countroom.wallet").joinpath("statements", f"{name}.sql").read_text("utf-8")
