"""What the lobby shows, as plain values. Nothing here asks anybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from countroom.games.service import Game
from countroom.money import format_amount
from countroom.wallet.balances import Shown

GENRES: Final = {
    "slots": "Slot", "table": "Table", "live": "Live table", "crash": "Crash", "instant": "Instant win",
}  # fmt: skip
VOLATILITIES: Final = {"low": 1, "medium": 2, "high": 3}


@dataclass(frozen=True, slots=True)
class Purse:
    """What a player holds in one currency."""

    currency: str
    playable: str
    """Main and bonus money together."""
    parts: tuple[tuple[str, str], ...]
    """By wallet, where there is something in it."""


@dataclass(frozen=True, slots=True)
class Card:
    """A game in the lobby."""

    slug: str
    title: str
    genre: str
    kind: str
    """The genre as the catalogue has it: which picture is shown."""
    volatility: str
    bars: int
    has_demo: bool
    returns: str
    """What comes back of the stakes, as the provider publishes it; empty when it does not."""


def purse(wallets: Sequence[Shown]) -> list[Purse]:
    """Add up what can be played with, by currency."""
    held: dict[str, dict[str, Decimal]] = {}
    for wallet in wallets:
        held.setdefault(wallet.currency, {})[wallet.type] = wallet.balance
    return [
        Purse(
            currency,
            format_amount(sum((amount for kind, amount in parts.items() if kind != "locked"), Decimal(0)), currency),
            tuple((kind, format_amount(amount, currency)) for kind, amount in parts.items() if amount),
        )
        for currency, parts in sorted(held.items())
    ]


def cards(games: Sequence[Game]) -> list[Card]:
    """Return games as they are shown, slots first."""
    return [
        Card(
            game.slug,
            game.title,
            GENRES.get(game.genre, game.genre),
            game.genre,
            game.volatility,
            VOLATILITIES.get(game.volatility, 0),
            game.has_demo,
            "" if game.rtp is None else f"{game.rtp.normalize():f} %",
        )
        for game in sorted(games, key=lambda game: (game.genre != "slots", game.title))
    ]
