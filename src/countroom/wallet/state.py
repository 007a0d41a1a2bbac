"""What a pass over a batch works with: facts read from the database, and what is to be written."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

ZERO: Final = Decimal("0.00")


@dataclass(slots=True)
class Wallet:
    """One wallet, under lock."""

    id: UUID
    user_id: UUID
    currency: str
    type: str
    balance: Decimal
    sequence: int


@dataclass(slots=True)
class Row:
    """A row of `transactions`, there already or to be written."""

    id: UUID
    external_id: str
    wallet_account_id: UUID
    wallet_type: str
    user_id: UUID
    currency: str
    type: str
    status: str
    amount: Decimal
    request_hash: bytes
    answer_balance: Decimal | None
    provider: str | None
    game_id: UUID | None
    game_round_id: UUID | None
    payment_id: UUID | None = None
    metadata: str = "{}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the journal: signed, with the balance after it."""

    wallet_account_id: UUID
    sequence: int
    transaction_id: UUID
    amount: Decimal
    balance_after: Decimal


@dataclass(slots=True)
class Tombstone:
    """A reversal that was asked for, and what came of it."""

    external_id: str
    target_external_id: str
    id: UUID
    user_id: UUID
    request_hash: bytes
    outcome: str
    amount: Decimal
    shortfall: Decimal
    answer_balance: Decimal


@dataclass(slots=True)
class Round:
    """A round; its sums are kept by whoever holds its player's wallets."""

    id: UUID
    session_id: UUID
    user_id: UUID
    game_id: UUID
    provider: str
    external_id: str
    currency: str
    bet_amount: Decimal
    win_amount: Decimal
    bonus_bet_amount: Decimal
    status: str
    opened_at: datetime
    closed_at: datetime | None


@dataclass(slots=True)
class Session:
    """A game session as far as the wallet cares."""

    id: UUID
    currency: str
    is_open: bool


@dataclass(slots=True)
class SessionSums:
    """What a batch adds to a session's sums."""

    bet: Decimal = ZERO
    win: Decimal = ZERO


@dataclass(slots=True)
class Facts:
    """What is already there, read after the wallets were locked."""

    wallets: dict[tuple[UUID, str, str], Wallet] = field(default_factory=dict)
    """By player, currency and type."""
    rows: dict[str, list[Row]] = field(default_factory=dict)
    """By external id without `SECOND_ROW`: one row, or the two rows of a bet on two wallets."""
    tombstones: dict[str, Tombstone] = field(default_factory=dict)
    """By the reversal's external id."""
    dead: dict[str, Tombstone] = field(default_factory=dict)
    """By the target's external id: the one reversal that counts (P4)."""
    rounds: dict[tuple[UUID, str], Round] = field(default_factory=dict)
    """By game and the provider's round id."""
    rounds_by_id: dict[UUID, Round] = field(default_factory=dict)
    """Rounds of reversed bets and wins, which a rollback may not name."""
    sessions: dict[tuple[UUID, UUID, UUID | None], Session] = field(default_factory=dict)
    """By player, game and the session asked for (None: the player's latest)."""
    player_status: dict[UUID, str] = field(default_factory=dict)
    """Of each player that exists."""


@dataclass(slots=True)
class Writes:
    """What a batch leaves to be written."""

    rows: list[Row] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    cancelled: list[UUID] = field(default_factory=list)
    wallets: dict[UUID, Wallet] = field(default_factory=dict)
    tombstones: list[Tombstone] = field(default_factory=list)
    new_rounds: dict[UUID, Round] = field(default_factory=dict)
    changed_rounds: dict[UUID, Round] = field(default_factory=dict)
    sessions: dict[UUID, SessionSums] = field(default_factory=dict)
    new_sessions: list[tuple[UUID, UUID, UUID, str]] = field(default_factory=list)
    """Sessions made for wins of games that were never launched: id, player, game, currency."""

    def is_empty(self) -> bool:
        """Whether there is nothing to write: every command was refused or a repeat."""
        return not (self.rows or self.tombstones or self.changed_rounds)
