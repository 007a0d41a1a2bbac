"""What a dialect is given and what it must give: bytes in, bytes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from countroom.games.catalog import Provider
from countroom.wallet.commands import Answer, Command


@dataclass(frozen=True, slots=True)
class Callback:
    """A provider's call, as it came."""

    action: str
    """The last part of the address."""
    headers: Mapping[bytes, bytes]
    """By lower-case name."""
    body: bytes | None
    """None: larger than the dialect's cap, and not read further."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider gets."""

    status: int
    body: bytes
    code: str
    """The outcome in the dialect's own words, for metrics."""


class WalletPort(Protocol):
    """What a dialect may do, once a signature holds."""

    async def apply(self, command: Command) -> Answer:
        """Apply a command; raises its refusal."""
        ...

    async def balance(self, user_id: UUID, currency: str) -> Decimal:
        """Return what the player can play with."""
        ...

    async def game_of_round(self, provider: Provider, user_id: UUID, round_key: str) -> UUID | None:
        """Find in which of the provider's games a player's round is."""
        ...


class Dialect(Protocol):
    """One provider protocol."""

    body_bytes_max: int

    def admits(self, provider: Provider, callback: Callback) -> bool:
        """Whether the signature over the raw bytes holds. Reads nothing; compares in constant time."""
        ...

    async def answer(self, provider: Provider, callback: Callback, wallet: WalletPort) -> Reply:
        """Answer a callback, also one that must be refused; never raises."""
        ...

    def unknown_provider(self) -> Reply:
        """Answer a call to a provider code that does not exist."""
        ...
