"""What a pass over a batch works with: facts read from the database, and what is to be written.

Fields of what is written stand in the order in which `writing.write` sends them.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from countroom.money import ZERO


class Wallet(msgspec.Struct, gc=False):
    """One wallet, as it is within a pass."""

    id: UUID
    user_id: UUID
    currency: str
    type: str
    balance: Decimal
    sequence: int
    """Entries in its journal."""
    receivable: Decimal = ZERO
    """Owed since a reversed win had been spent; the next credits repay it."""


class Purse(msgspec.Struct):
    """A player's wallets in one currency, and what guards them.

    The version stands in the row of the main wallet. Whoever writes anything about the player in this currency raises
    it, but for plain bets and wins (`plain`), which only add to the wallet, its round and its session; and writes only
    if it is still the one that was read. What was decided on the balance itself also needs the journal to be as long
    as it was.
    """

    main: Wallet
    bonus: Wallet
    locked: Wallet | None
    """None where no command of the batch needs it."""
    version: int
    lines: int
    """Of the main wallet's journal, when it was read."""

    @property
    def spendable(self) -> Decimal:
        """What can be played with."""
        return self.main.balance + self.bonus.balance


class Row(msgspec.Struct, gc=False):
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
    fee: Decimal
    request_hash: bytes
    answer_balance: Decimal | None
    provider: str | None
    game_id: UUID | None
    game_round_id: UUID | None
    payment_id: UUID | None = None
    metadata: str = "{}"


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A line of the journal: signed, with the balance after it."""

    wallet_account_id: UUID
    sequence: int
    transaction_id: UUID
    amount: Decimal
    balance_after: Decimal


class Tombstone(msgspec.Struct, gc=False):
    """An end that was asked for (of a bet, a win, a withdrawal), and what came of it."""

    external_id: str
    target_external_id: str
    id: UUID
    user_id: UUID
    request_hash: bytes
    outcome: str
    amount: Decimal
    shortfall: Decimal
    answer_balance: Decimal


class Round(msgspec.Struct, gc=False):
    """A round; its sums are kept by whoever holds its player's purse."""

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


class Session(msgspec.Struct, frozen=True, gc=False):
    """A game session as far as the wallet cares."""

    id: UUID
    currency: str
    is_open: bool


class Player(msgspec.Struct):
    """A player in one currency: what is true at the version of the purse."""

    purse: Purse
    status: str
    sessions: dict[tuple[UUID, UUID | None], Session] = msgspec.field(default_factory=dict)
    """By game and the session asked for (None: the latest)."""
    rounds: dict[tuple[UUID, str], Round] = msgspec.field(default_factory=dict)
    """By game and the provider's round id. Somebody else's is among them where one was named."""


class SessionSums(msgspec.Struct, gc=False):
    """What a batch adds to a session's sums."""

    bet: Decimal = ZERO
    win: Decimal = ZERO


@dataclass(slots=True)
class Facts:
    """What is already there."""

    players: dict[tuple[UUID, str], Player | None] = field(default_factory=dict)
    """By player and currency; None where a player has no wallets in it."""
    rows: dict[str, list[Row]] = field(default_factory=dict)
    """By external id without `SECOND_ROW`: one row, or the two rows of an operation on two wallets."""
    tombstones: dict[str, Tombstone] = field(default_factory=dict)
    """By their own external id."""
    dead: dict[str, Tombstone] = field(default_factory=dict)
    """By the target's external id: the one end that counts (P4)."""
    rounds: dict[tuple[UUID, str], Round] = field(default_factory=dict)
    """Those that this pass has opened, by game and the provider's round id: another player may name one."""
    rounds_by_id: dict[UUID, Round] = field(default_factory=dict)
    """Rounds of reversed bets and wins, which a rollback may not name."""
    is_torn: bool = False
    """Whether this is of more than one moment: what keys have done before is read after the players."""


@dataclass(slots=True)
class Writes:
    """What a batch leaves to be written."""

    rows: list[Row] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    ended: dict[UUID, str] = field(default_factory=dict)
    """The new status of transactions that were there before."""
    wallets: dict[UUID, Wallet] = field(default_factory=dict)
    """Those whose balance changed."""
    purses: dict[UUID, Purse] = field(default_factory=dict)
    """By main wallet: everybody about whom something is written."""
    tombstones: list[Tombstone] = field(default_factory=list)
    new_rounds: dict[UUID, Round] = field(default_factory=dict)
    changed_rounds: dict[UUID, Round] = field(default_factory=dict)
    sessions: dict[UUID, SessionSums] = field(default_factory=dict)
    new_sessions: dict[UUID, tuple[UUID, UUID, str]] = field(default_factory=dict)
    """Sessions made for wins of games that were never launched: player, game, currency."""
    is_plain: bool = True
    """Whether all of it is plain bets and wins (`plain`), each row with its own line of the journal, in the same
    order, and each new round opened by one bet which is all that has happened in it."""
