"""The books, proved again from outside: P1 to P5 over everything, at one moment, while bets flow.

Each statement gives what it compared and the first violations, as sentences that name the ids.
It shares nothing with the write path but the tables, so that a bug there is not repeated here.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from countroom.postgres import Database, Transaction
from countroom.proof import Proof

VIOLATIONS_SHOWN: Final = 10
"""Of each statement: enough to see a pattern."""


@dataclass(frozen=True, slots=True)
class _Claim:
    promise: str
    statement: str
    """Names a file in `statements/`, which gives one row: compared, violations text[]."""


_CLAIMS: Final = (
    _Claim("P1", "balance_is_sum_of_entries"),
    _Claim("P1", "sequence_has_no_gap"),
    _Claim("P1", "balances_equal_flows"),
    _Claim("P2", "keys_are_unique"),
    _Claim("P3", "never_negative"),
    _Claim("P4", "reversed_once"),
    _Claim("P5", "transaction_is_its_entries"),
    _Claim("P5", "sums_follow_transactions"),
)


async def prove(database: Database) -> list[Proof]:
    """Prove P1 to P5 on one REPEATABLE READ snapshot."""
    async with database.transaction(snapshot=True) as tx:
        return await prove_within(tx)


async def prove_within(tx: Transaction) -> list[Proof]:
    """Prove P1 to P5 as a transaction sees them."""
    found: dict[str, tuple[int, list[str]]] = {}
    for claim in _CLAIMS:
        compared, violations = await _run(tx, claim.statement)
        before = found.get(claim.promise, (0, []))
        found[claim.promise] = (before[0] + compared, before[1] + violations)
    return [
        Proof(promise, not violations, compared, tuple(violations[:VIOLATIONS_SHOWN]))
        for promise, (compared, violations) in found.items()
    ]


async def _run(tx: Transaction, statement: str) -> tuple[int, list[str]]:
    sql = files("countroom.wallet").joinpath("statements", f"{statement}.sql").read_text("utf-8")
    row = await tx.fetchrow(sql, VIOLATIONS_SHOWN)
    assert row is not None
    return row["compared"], list(row["violations"])
