"""What can be asked of the wallet, and what it answers. Plain data; it decides nothing.

Structs rather than dataclasses: a bet makes half a dozen of these, and they are ten times cheaper.
"""

import hashlib
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

import msgspec

from countroom.money import ZERO

SECOND_ROW: Final = "/bonus"
"""Ends the external id of the second row of an operation that moved two wallets."""
RECEIVABLE: Final = "/receivable"
"""Ends the external id of what a reversed win could not take back, booked as owed."""
REPAYMENT: Final = "/repayment"
"""Ends the external id of what a credit has paid back of it."""
RESERVED: Final = (SECOND_ROW, RECEIVABLE, REPAYMENT)
"""Endings that a caller's key may not have: our own rows carry them."""
KEY_LENGTH_MAX: Final = 200
"""Of a caller's key; with source and endings it fits the column's 300."""

Outcome = Literal["settled", "failed", "cancelled"]
"""How a withdrawal ends."""
Account = Literal["main", "bonus"]
"""The wallets that staff may adjust; `locked` moves with its withdrawal alone."""


class Bet(msgspec.Struct, frozen=True, gc=False):
    """A stake, paid from the main wallet first, then from the bonus wallet."""

    key: str
    amount: Decimal
    moves_money: bool = True
    """False: a free round's bet, which is kept and counted nowhere."""
    award: str = ""
    """Names the free rounds or the promotion that it belongs to."""


class Win(msgspec.Struct, frozen=True, gc=False):
    """A payout, split between main and bonus as the round's bets were."""

    key: str
    amount: Decimal
    moves_money: bool = True
    """False: a free round's win that is paid later, in one sum; kept, and counted nowhere."""
    award: str = ""
    """Names the free rounds, promotion or jackpot that it pays."""


class Reverse(msgspec.Struct, frozen=True, gc=False):
    """Undo a bet or a win of the same source, named by its key."""

    key: str
    target: str


class Deposit(msgspec.Struct, frozen=True, gc=False):
    """Money that a payment provider has settled; the fee is taken off it."""

    key: str
    amount: Decimal
    payment_id: UUID
    fee: Decimal = ZERO


class Withdraw(msgspec.Struct, frozen=True, gc=False):
    """Lock money for a withdrawal: amount and fee leave main and wait in locked."""

    key: str
    amount: Decimal
    payment_id: UUID
    fee: Decimal = ZERO


class Conclude(msgspec.Struct, frozen=True, gc=False):
    """End a withdrawal, named by its key: what was locked leaves, or returns to main."""

    key: str
    target: str
    outcome: Outcome


class Grant(msgspec.Struct, frozen=True, gc=False):
    """Give bonus money."""

    key: str
    amount: Decimal
    award: str = ""


class Convert(msgspec.Struct, frozen=True, gc=False):
    """Turn bonus money into the player's own."""

    key: str
    amount: Decimal


class Forfeit(msgspec.Struct, frozen=True, gc=False):
    """Take bonus money away, because its terms were broken or its time is over."""

    key: str
    amount: Decimal
    reason: Literal["forfeited", "expired"] = "forfeited"


class Adjust(msgspec.Struct, frozen=True, gc=False):
    """Correct a wallet by hand; the amount is signed."""

    key: str
    amount: Decimal
    wallet_type: Account = "main"


Operation = Bet | Win | Reverse | Deposit | Withdraw | Conclude | Grant | Convert | Forfeit | Adjust


class Play(msgspec.Struct, frozen=True, gc=False):
    """Where bets and wins happen: a game and the provider's round in it."""

    game_id: UUID
    round_key: str
    session_id: UUID | None = None
    close_round: bool = False
    win_needs_round: bool = False
    """Refuse a win whose round has never been seen; most protocols let a win stand alone."""
    accept_reversed: bool = False
    """Accept a bet or win that was reversed before it came, and move nothing; most protocols want it refused."""


class Command(msgspec.Struct, frozen=True):
    """Operations of one player in one currency: all of them or none, in this order.

    Keys are the caller's own ids; with ``source`` before them they are unique for ever (P2).
    """

    source: str
    user_id: UUID
    currency: str
    operations: tuple[Operation, ...]
    play: Play | None = None


class Posted(msgspec.Struct, frozen=True, gc=False):
    """What became of one operation."""

    key: str
    id: UUID | None
    """Our id; None for a reversal of something that was never seen, and for what that reversal named."""
    bonus: Decimal
    """How much of it moved the bonus wallet."""


class Answer(msgspec.Struct, frozen=True):
    """The outcome of a command that was not refused."""

    operations: tuple[Posted, ...]
    balance: Decimal
    """Main and bonus together, after the command; of a repeat, as it was the first time."""
    round_id: UUID | None
    repeated: bool
    """Nothing was done: every operation had been done before."""


def content_hash(command: Command, operation: Operation) -> bytes:
    """Return the hash of what an operation says, whatever its key: P2 compares it on a repeat.

    The round belongs to the content of bets and wins only: providers name a rollback's round
    by other means than the bet's. A field that came later is left out while it has its default, so
    that hashes of earlier versions stay what they were.
    """
    if isinstance(operation, (Bet, Win)):
        play = command.play
        where = f"\x1f{play.game_id}\x1f{play.round_key}" if play is not None else ""
        free = (
            f"\x1f{operation.award}\x1f{operation.moves_money}" if operation.award or not operation.moves_money else ""
        )
        said = (
            f"{type(operation).__name__}\x1f{command.user_id}\x1f{command.currency}\x1f{operation.amount.normalize()}"
            f"{where}{free}"
        )
        return hashlib.sha256(said.encode()).digest()
    parts = [type(operation).__name__, str(command.user_id), command.currency]
    if isinstance(operation, Reverse):
        parts.append(operation.target)
    elif isinstance(operation, Conclude):
        parts += (operation.target, operation.outcome)
    else:
        parts.append(str(operation.amount.normalize()))
        parts += _particulars(operation)
    return hashlib.sha256("\x1f".join(parts).encode()).digest()


def _particulars(operation: Deposit | Withdraw | Grant | Convert | Forfeit | Adjust) -> tuple[str, ...]:
    """Return what an operation of the cashier says beside its amount."""
    if isinstance(operation, (Deposit, Withdraw)):
        fee = (str(operation.fee.normalize()),) if operation.fee else ()
        return (str(operation.payment_id), *fee)
    if isinstance(operation, Grant):
        return (operation.award,)
    if isinstance(operation, Forfeit):
        return (operation.reason,)
    if isinstance(operation, Adjust):
        return (operation.wallet_type,)
    return ()
