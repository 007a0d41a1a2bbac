"""The sandbox's slot: three reels, five lines, and odds that anybody can count.

A reel stops at each of its places with the same chance, and what it shows decides what is paid: nothing is drawn
first and dressed up afterwards. All 15,625 places of three reels can be gone through, so the return is an exact
number; each of the three paytables gives back 96 % of the stakes.
"""

import random
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import prod
from typing import Final, Literal

import msgspec

Volatility = Literal["low", "medium", "high"]

SYMBOLS: Final = ("coin", "clover", "bell", "ledger", "gem", "crown", "seven")
"""From the one that comes most often to the one that comes least."""
ROWS: Final = 3
REELS: Final = tuple(
    tuple(SYMBOLS[int(digit)] for digit in strip)
    # The same symbols on each reel, 8, 5, 4, 3, 2, 2 and 1 of them, in an order of its own.
    for strip in ("1301010530102420621023540", "5302021012041350120361040", "3026105040103240123201051")
)
"""What is on the reels, from top to bottom; below the last place comes the first."""
STOPS: Final = prod(len(reel) for reel in REELS)
"""In how many ways the reels can stop, each with the same chance."""
LINES: Final = ((1, 1, 1), (0, 0, 0), (2, 2, 2), (0, 1, 2), (2, 1, 0))
"""Which row of each reel a line goes through; a fifth of the stake is on each."""
THREE: Final[dict[Volatility, tuple[int, ...]]] = {
    # What three of a kind on a line pay, times the stake of the line, in the order of SYMBOLS.
    "low": (8, 10, 20, 50, 120, 250, 800),
    "medium": (5, 8, 30, 72, 150, 400, 1_000),
    "high": (4, 10, 16, 70, 200, 450, 2_500),
}
TWO: Final[dict[Volatility, int]] = {"low": 3, "medium": 2, "high": 1}
"""What coins on the first two reels of a line pay, where the third shows something else."""


class LineWin(msgspec.Struct, frozen=True):
    """A line that paid."""

    line: int
    """Its number, from 0."""
    symbol: str
    count: int
    pays: int
    """Times the stake of the line."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Where the reels stopped, and what that paid."""

    window: tuple[tuple[str, ...], ...]
    """What each reel shows, from top to bottom."""
    lines: tuple[LineWin, ...]
    multiplier: Decimal
    """Of the whole stake."""


def spin(volatility: Volatility, chance: random.Random) -> Stop:
    """Let the reels stop somewhere."""
    return stop(volatility, chance.randrange(STOPS))


@cache
def stop(volatility: Volatility, number: int) -> Stop:
    """Return what the reels show and pay in one of the ways in which they can stop."""
    columns = []
    for reel in REELS:
        number, place = divmod(number, len(reel))
        columns.append(tuple(reel[(place + row) % len(reel)] for row in range(ROWS)))
    won = []
    for line, rows in enumerate(LINES):
        first, second, third = (column[row] for column, row in zip(columns, rows, strict=True))
        if first == second == third:
            won.append(LineWin(line, first, 3, THREE[volatility][SYMBOLS.index(first)]))
        elif first == second == SYMBOLS[0]:
            won.append(LineWin(line, first, 2, TWO[volatility]))
    return Stop(tuple(columns), tuple(won), Decimal(sum(one.pays for one in won)) / len(LINES))


def return_to_player(volatility: Volatility) -> Fraction:
    """Return what a stake of one gives back on average.

    Every line meets every place of each reel equally often, so that counting symbols is enough; a test goes through
    all the ways to stop instead, and comes to the same.
    """
    three = sum(
        prod(reel.count(symbol) for reel in REELS) * pays
        for symbol, pays in zip(SYMBOLS, THREE[volatility], strict=True)
    )
    first, second, third = REELS
    coin = SYMBOLS[0]
    two = first.count(coin) * second.count(coin) * (len(third) - third.count(coin)) * TWO[volatility]
    return Fraction(three + two, STOPS)


def described(volatility: Volatility) -> dict[str, object]:
    """Publish the odds: the reels, the lines and what they pay."""
    two = LineWin(0, SYMBOLS[0], 2, TWO[volatility])
    three = [LineWin(0, symbol, 3, pays) for symbol, pays in zip(SYMBOLS, THREE[volatility], strict=True)]
    pays = [{"symbol": one.symbol, "count": one.count, "pays": one.pays} for one in (two, *three)]
    return {"reels": REELS, "lines": LINES, "line_pays": pays}
