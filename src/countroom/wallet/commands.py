"""What can be asked of the wallet, and what it answers. Plain data; it decides nothing."""

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Final
from uuid import UUID

from countroom.refusal import Kind, Refusal

SECOND_ROW: Final = "/bonus"
"""Ends the external id of the second row of a bet or win on two wallets."""


@dataclass(frozen=True, slots=True)
class Bet:
    """A stake, paid from the main wallet first, then from the bonus wallet."""

    key: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Win:
    """A payout, split between main and bonus as the round's bets were."""

    key: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Reverse:
    """Undo a bet or a win of the same source, named by its key."""

    key: str
    target: str


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money that a payment provider has settled."""

    key: str
    amount: Decimal
    payment_id: UUID


Operation = Bet | Win | Reverse | Deposit


@dataclass(frozen=True, slots=True)
class Play:
    """Where bets and wins happen: a game and the provider's round in it."""

    game_id: UUID
    round_key: str
    session_id: UUID | None = None
    close_round: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """Operations of one player in one currency: all of them or none, in this order.

    Keys are the caller's own ids; with ``source`` before them they are unique for ever (P2).
    """

    source: str
    user_id: UUID
    currency: str
    operations: tuple[Operation, ...]
    play: Play | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of one operation."""

    key: str
    id: UUID | None
    """Our id; None for a reversal of something that was never seen."""
    bonus: Decimal
    """How much of it moved the bonus wallet."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a command that was not refused."""

    operations: tuple[Posted, ...]
    balance: Decimal
    """Main and bonus together, after the command; of a repeat, as it was the first time."""
    round_id: UUID | None
    repeated: bool
    """Nothing was done: every operation had been done before."""


class WalletRefusal(Refusal):
    """The wallet refuses a command; nothing has moved."""

    kind: ClassVar[Kind] = "conflict"
    code: ClassVar[str] = "refused"

    def __init__(self, sentence: str | None = None, *, balance: Decimal | None = None) -> None:
        super().__init__(sentence)
        self.balance = balance
        """Main and bonus together before the command, where a wallet was found."""


class InsufficientFunds(WalletRefusal):
    """The wallet cannot cover this stake."""

    code = "insufficient_funds"


class KeyConflict(WalletRefusal):
    """This id was used before, with other content."""

    code = "key_conflict"


class RolledBack(WalletRefusal):
    """This transaction was reversed before it came; it moves nothing."""

    code = "rolled_back"


class RoundClosed(WalletRefusal):
    """The round is settled; it takes no more bets."""

    code = "round_closed"


class RoundNotFound(WalletRefusal):
    """There is no such round of this player."""

    kind = "missing"
    code = "round_not_found"


class NotReversible(WalletRefusal):
    """What the reversal names is not a bet or win of this player."""

    code = "not_reversible"


class UnknownPlayer(WalletRefusal):
    """There is no such player."""

    kind = "missing"
    code = "unknown_player"


class WrongCurrency(WalletRefusal):
    """The player holds no wallet in this currency."""

    code = "wrong_currency"


class PlayerBlocked(WalletRefusal):
    """The player may not bet."""

    kind = "forbidden"
    code = "player_blocked"


class NoOpenSession(WalletRefusal):
    """A bet needs an open session of this game."""

    kind = "forbidden"
    code = "no_open_session"


class BalanceLimit(WalletRefusal):
    """The wallet cannot hold that much."""

    code = "balance_limit"


class Overloaded(Refusal):
    """Too much is waiting to be written; try again in a moment."""

    kind = "unavailable"
    code = "overloaded"


def content_hash(command: Command, operation: Operation) -> bytes:
    """Return the hash of what an operation says, whatever its key: P2 compares it on a repeat.

    The round belongs to the content of bets and wins only: providers name a rollback's round
    by other means than the bet's.
    """
    parts = [type(operation).__name__, str(command.user_id), command.currency]
    if isinstance(operation, Reverse):
        parts.append(operation.target)
    else:
        parts.append(str(operation.amount.normalize()))
    if isinstance(operation, Deposit):
        parts.append(str(operation.payment_id))
    elif isinstance(operation, (Bet, Win)) and command.play is not None:
        parts += [str(command.play.game_id), command.play.round_key]
    return hashlib.sha256("\x1f".join(parts).encode()).digest()
