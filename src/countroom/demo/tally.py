"""What the bots have done, counted while they play."""

from collections import Counter, deque
from decimal import Decimal
from typing import Final

import msgspec

LATENCIES_KEPT: Final = 5_000
"""The newest; percentiles are over these."""
FINDINGS_KEPT: Final = 10


class Summary(msgspec.Struct, frozen=True):
    """What a simulation did. Amounts are decimal strings in each currency's main unit."""

    players: int
    seconds: float
    rounds: int
    bets: int
    wins: int
    reversals: int
    retries: int
    deposits: int
    sign_outs: int
    wins_after_sign_out: int
    refusals: int
    """Answers of "no" that were asked for: a stake above the balance, a declined payment, a late bet."""
    errors: int
    """Answers that should not have been given."""
    unavailable: int
    """Requests that nobody answered, or only with "not now"."""
    p50_ms: float
    """Half of the signed callbacks were answered within this."""
    p99_ms: float
    staked: dict[str, str]
    """Bets that stood, by currency."""
    won: dict[str, str]
    findings: list[str]
    """The first errors, in words."""

    @property
    def ok(self) -> bool:
        """Whether something was played and every answer was as it should be."""
        return self.rounds > 0 and self.errors == 0 and self.unavailable == 0


class Tally:
    """Counts for one simulation."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.staked: dict[str, Decimal] = {}
        self.won: dict[str, Decimal] = {}
        self.findings: list[str] = []
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def count(self, what: str, number: int = 1) -> None:
        """Add to a counter of the summary."""
        self.counts[what] += number

    def error(self, finding: str) -> None:
        """Count an answer that should not have been given, and keep the first ones in words."""
        self.counts["errors"] += 1
        if len(self.findings) < FINDINGS_KEPT:
            self.findings.append(finding)

    def answered(self, milliseconds: float) -> None:
        """Note how long a callback took."""
        self._latencies.append(milliseconds)

    def stake(self, currency: str, amount: Decimal) -> None:
        """Add a bet that stood."""
        self.count("bets")
        self.staked[currency] = self.staked.get(currency, Decimal(0)) + amount

    def win(self, currency: str, amount: Decimal) -> None:
        """Add a win."""
        self.count("wins")
        self.won[currency] = self.won.get(currency, Decimal(0)) + amount

    def percentile(self, share: float) -> float:
        """Return a percentile of the newest latencies in milliseconds; 0 without any."""
        ordered = sorted(self._latencies)
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else 0.0

    def summary(self, *, players: int, seconds: float) -> Summary:
        """Return the figures so far."""
        names = ("rounds", "bets", "wins", "reversals", "retries", "deposits", "sign_outs", "wins_after_sign_out",
                 "refusals", "errors", "unavailable")  # fmt: skip
        return Summary(
            players=players,
            seconds=round(seconds, 1),
            **{name: self.counts[name] for name in names},
            p50_ms=self.percentile(0.50),
            p99_ms=self.percentile(0.99),
            staked={currency: str(amount) for currency, amount in sorted(self.staked.items())},
            won={currency: str(amount) for currency, amount in sorted(self.won.items())},
            findings=list(self.findings),
        )
