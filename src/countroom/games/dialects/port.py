"""What a dialect is given and what it must give: bytes in, bytes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, Protocol
from uuid import UUID

from countroom.games.catalog import Provider
from countroom.games.sessions import PlayedSession, Told
from countroom.wallet.commands import Answer, Command

ANSWER_SECONDS: Final = 0.8
"""In which a callback is answered, or refused so that the provider asks again: the shortest time-out of any
protocol here is a second, and its network wants some of it."""


@dataclass(frozen=True, slots=True)
class Callback:
    """A provider's call, as it came."""

    action: str
    """What follows the provider's code in the address, without the query."""
    headers: Mapping[bytes, bytes]
    """By lower-case name."""
    body: bytes | None
    """None: larger than the dialect's cap, and not read further."""
    method: str = "POST"
    query: bytes = b""
    """What follows the question mark, as it came."""


@dataclass(frozen=True, slots=True)
class Seat:
    """For whom and where a test call asks."""

    user_id: UUID
    session_id: UUID
    game: str
    """The game's slug."""
    currency: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider gets."""

    status: int
    body: bytes
    code: str
    """The outcome in the dialect's own words, for metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What protocols disagree about. Everything else is the same for all of them, and is the wallet's.

    The common suite of tests reads what to expect from here, and so does the table in docs/dialects.md.
    """

    unit: str
    """In which amounts are written."""
    sign: str
    """What is signed, how, and where the signature is."""
    late_bet: Literal["refused", "accepted, moves nothing"]
    """A bet that was reversed before it came."""
    replay_balance: Literal["first", "current"]
    """The balance that a repeat shows."""
    second_reversal: Literal["accepted, moves nothing", "refused"]
    """Of one bet, under another id."""
    reversal_of_win: Literal["accepted", "refused"]
    win_without_bet: Literal["accepted", "refused"]
    zero_win: Literal["accepted", "refused"]
    closes_round: str
    """What ends a round."""
    free_rounds: str
    balance_in_refusals: Literal["always", "funds", "never"]
    retryable: str
    """What makes the provider ask again."""


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

    async def session(self, provider: Provider, name: str) -> PlayedSession | None:
        """Return a session of one of the provider's games by our id; None when there is none."""
        ...

    async def session_of_token(self, provider: Provider, token: str) -> PlayedSession | None:
        """Return a session of one of the provider's games by its launch token; None when there is none."""
        ...

    async def enter_game(self, session: PlayedSession, game_id: UUID) -> PlayedSession:
        """Return the session for another game, into which the player went from the provider's own lobby."""
        ...

    async def latest_game(self, provider: Provider, user_id: UUID) -> UUID | None:
        """Return which of the provider's games a player has launched last."""
        ...

    async def country(self, user_id: UUID) -> str | None:
        """Return where a player lives; raises UnknownPlayer."""
        ...

    async def told(self, provider: Provider, keys: Sequence[str]) -> Mapping[str, Told]:
        """Return what the provider has told before under these ids, or about them by a reversal."""
        ...


class Dialect(Protocol):
    """One provider protocol."""

    body_bytes_max: int
    actions: frozenset[str]
    """What may follow the provider's code in the address."""
    policies: Policies

    def admits(self, provider: Provider, callback: Callback) -> bool:
        """Whether the signature over the raw bytes holds. Reads nothing; compares in constant time."""
        ...

    async def answer(self, provider: Provider, callback: Callback, wallet: WalletPort) -> Reply:
        """Answer a callback, also one that must be refused; never raises."""
        ...

    def out_of_time(self, callback: Callback) -> Reply:
        """Answer a callback that took longer than `ANSWER_SECONDS`, so that the provider asks again."""
        ...

    def accepts_key(self, key: str) -> bool:
        """Whether a text can be one of the provider's keys."""
        ...

    def balance_call(self, key: bytes, seat: Seat) -> Callback:
        """Make a call that asks for a balance, signed as the provider would, for the staff's console.

        Where only the provider can sign, it is unsigned, and must be refused.
        """
        ...

    def unknown_provider(self) -> Reply:
        """Answer a call to a provider code that does not exist."""
        ...
