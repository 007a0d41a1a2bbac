"""The sandbox provider's games and what they pay. Every figure here is published at /games/{slug}.

Slots have reels (slot.py); the other games draw a multiplier of the stake from a table.
"""

import random
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from itertools import accumulate
from typing import Final, Literal

from countroom.demo import slot
from countroom.demo.slot import Volatility

Genre = Literal["slots", "table", "live", "crash", "instant"]

CHANCES: Final = 1_000_000
"""A weight is so many chances in a million."""

PAYTABLES: Final[dict[Volatility, tuple[tuple[Decimal, int], ...]]] = {
    # (multiplier of the stake, chances in a million); whatever is left pays nothing. Each returns 96 %.
    "low": (
        (Decimal("0.5"), 200_000), (Decimal(1), 200_000), (Decimal(2), 140_000), (Decimal(5), 50_000),
        (Decimal(10), 9_000), (Decimal(20), 1_500), (Decimal(50), 200),
    ),
    "medium": (
        (Decimal(1), 150_000), (Decimal(2), 100_000), (Decimal(5), 40_000), (Decimal(10), 15_000),
        (Decimal(25), 5_200), (Decimal(100), 1_000), (Decimal(500), 60),
    ),
    "high": (
        (Decimal(1), 80_000), (Decimal(3), 50_000), (Decimal(10), 15_000), (Decimal(50), 4_000),
        (Decimal(200), 1_400), (Decimal(1_000), 100),
    ),
}  # fmt: skip

WHOLE_CURRENCIES: Final = frozenset({"ISK", "JPY", "KRW"})
"""Currencies without a minor unit (ISO 4217): their stakes and wins are whole."""


@dataclass(frozen=True, slots=True)
class SandboxGame:
    """A game of the sandbox provider."""

    slug: str
    title: str
    volatility: Volatility
    genre: Genre
    symbols: str = ""
    """What it shows, one character each, of the characters that every system has a font for; slots have reels."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was drawn."""

    multiplier: Decimal
    """Of the stake; zero is a lost round."""
    reels: slot.Stop | None = None
    """Of a slot."""


GAMES: Final = (
    SandboxGame("golden-ledger", "Golden Ledger", "medium", "slots"),
    SandboxGame("count-room-classic", "Count Room Classic", "low", "slots"),
    SandboxGame("northern-lights", "Northern Lights", "high", "slots"),
    SandboxGame("sakura-reels", "Sakura Reels", "medium", "slots"),
    SandboxGame("harbour-roulette", "Harbour Roulette", "low", "table", "●○◆⚓★"),
    SandboxGame("studio-baccarat", "Studio Baccarat", "low", "live", "♠♥♦♣♛"),
    SandboxGame("rocket-run", "Rocket Run", "high", "crash", "☄☾✦★☀"),
    SandboxGame("lucky-scratch", "Lucky Scratch", "medium", "instant", "☘♥★♦♛"),
)
BY_SLUG: Final = {game.slug: game for game in GAMES}

_CUMULATED: Final = {name: tuple(accumulate(weight for _, weight in rows)) for name, rows in PAYTABLES.items()}


def return_to_player(game: SandboxGame) -> Fraction:
    """Return what a stake of one gives back on average, exactly as the paytable says."""
    if game.genre == "slots":
        return slot.return_to_player(game.volatility)
    rows = PAYTABLES[game.volatility]
    return sum((Fraction(multiplier) * weight for multiplier, weight in rows), Fraction()) / CHANCES


def play(game: SandboxGame, chance: random.Random) -> Outcome:
    """Draw the outcome of a round."""
    if game.genre == "slots":
        stopped = slot.spin(game.volatility, chance)
        return Outcome(stopped.multiplier, stopped)
    return Outcome(draw(game.volatility, chance))


def draw(volatility: Volatility, chance: random.Random) -> Decimal:
    """Draw a multiplier of the stake; zero is a lost round."""
    number = chance.randrange(CHANCES)
    for (multiplier, _), edge in zip(PAYTABLES[volatility], _CUMULATED[volatility], strict=True):
        if number < edge:
            return multiplier
    return Decimal(0)


def win_of(stake: Decimal, multiplier: Decimal, currency: str) -> Decimal:
    """Return what a stake wins, cut to the currency's smallest unit in the house's favour."""
    return (stake * multiplier).quantize(unit(currency), rounding=ROUND_DOWN)


def unit(currency: str) -> Decimal:
    """Return the smallest amount of a currency, in its main unit."""
    return Decimal(1) if currency in WHOLE_CURRENCIES else Decimal("0.01")
