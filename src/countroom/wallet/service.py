"""The wallet's door: what other rooms may ask of it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from countroom import clock
from countroom.money import ZERO, Money
from countroom.postgres import Database, Transaction
from countroom.refusal import Refusal
from countroom.wallet import queries
from countroom.wallet.batch import Batcher, post
from countroom.wallet.commands import (
    Account,
    Adjust,
    Command,
    Conclude,
    Convert,
    Deposit,
    Forfeit,
    Grant,
    Operation,
    Outcome,
    Withdraw,
)
from countroom.wallet.refusals import UnknownPlayer, WrongCurrency
from countroom.wallet.state import Wallet

__all__ = [
    "Batcher", "TransactionRow", "Wallet", "adjust", "conclude_withdrawal", "convert_bonus", "forfeit_bonus",
    "grant_bonus", "open_wallets", "post_deposit", "request_withdrawal", "spendable", "transactions_of", "wallets_of",
]  # fmt: skip

REASON_LENGTH_MAX: Final = 500


class ReasonMissing(Refusal):
    """A correction by hand needs a reason: text of at most 500 characters."""

    kind = "invalid"
    code = "reason_missing"


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A transaction as its player sees it."""

    id: UUID
    type: str
    status: str
    amount: Decimal
    currency: str
    wallet_type: str
    created_at: datetime
    processed_at: datetime | None
    provider: str | None
    game_round_id: UUID | None
    external_id: str


async def open_wallets(tx: Transaction, user_id: UUID, currency: str) -> None:
    """Open a player's main, bonus and locked wallets in a currency; again is not an error."""
    await queries.insert_wallets(tx, [clock.new_id() for _ in range(3)], user_id, currency)


async def wallets_of(database: Database, user_id: UUID) -> list[Wallet]:
    """Return a player's wallets, by currency and type."""
    async with database.connection() as connection:
        return [Wallet(*row.values()) for row in await queries.wallets_of_player(connection, user_id)]


async def spendable(database: Database, user_id: UUID, currency: str) -> Decimal:
    """Return what a player can play with: main and bonus together.

    Raises:
        UnknownPlayer, WrongCurrency: there is no such wallet.
    """
    async with database.connection() as connection:
        row = await queries.spendable(connection, user_id, currency)
    assert row is not None
    if row["balance"] is None:
        raise WrongCurrency if row["player_exists"] else UnknownPlayer
    balance: Decimal = row["balance"]
    return balance


async def transactions_of(
    database: Database, user_id: UUID, *, limit: int, before: UUID | None
) -> list[TransactionRow]:
    """Return a player's transactions, newest first, those before the one named ``before``."""
    async with database.connection() as connection:
        rows = await queries.transactions_of_player(connection, user_id, limit, before)
    return [TransactionRow(*row.values()) for row in rows]


# Money that comes, goes, or is given. Each posts inside the caller's transaction, once for its
# ``external_id`` (`<source>:<their id>`), and returns our transaction's id, also on a repeat.


async def post_deposit(
    tx: Transaction, *, user_id: UUID, money: Money, external_id: str, payment_id: UUID, provider: str,
    fee: Decimal = ZERO,
) -> UUID:  # fmt: skip
    """Credit a settled deposit, less its fee.

    Raises:
        WalletRefusal: no such wallet, other content under this id, or more than a wallet holds.
    """
    source, key = _split(external_id)
    assert source == provider
    return await _post(tx, source, user_id, money.currency, Deposit(key, money.amount, payment_id, fee))


async def request_withdrawal(
    tx: Transaction, *, user_id: UUID, money: Money, external_id: str, payment_id: UUID, fee: Decimal = ZERO
) -> UUID:
    """Lock money for a withdrawal, in the transaction that notes the request (payments, rule 9).

    Raises:
        InsufficientFunds: main does not hold amount and fee.
        WalletRefusal: no such wallet, or other content under this id.
    """
    source, key = _split(external_id)
    return await _post(tx, source, user_id, money.currency, Withdraw(key, money.amount, payment_id, fee))


async def conclude_withdrawal(
    tx: Transaction, *, user_id: UUID, currency: str, external_id: str, withdrawal: str, outcome: Outcome
) -> UUID:
    """End a withdrawal, once: settled, it leaves; failed or cancelled, it returns to main and is no deposit.

    ``external_id`` is this request's own; ``withdrawal`` is the external id of what it ends. A payment
    provider whose answer is unknown ends nothing: the money stays locked until it is known.

    Raises:
        WithdrawalNotFound: not one of this player's.
        WithdrawalConcluded: it has ended already, by another request.
    """
    source, key = _split(external_id)
    target_source, target = _split(withdrawal)
    assert source == target_source, "a withdrawal is ended by whoever asked for it"
    return await _post(tx, source, user_id, currency, Conclude(key, target, outcome))


async def grant_bonus(tx: Transaction, *, user_id: UUID, money: Money, external_id: str, award: str = "") -> UUID:
    """Give bonus money; ``award`` names what it is for."""
    source, key = _split(external_id)
    return await _post(tx, source, user_id, money.currency, Grant(key, money.amount, award))


async def convert_bonus(tx: Transaction, *, user_id: UUID, money: Money, external_id: str) -> UUID:
    """Turn bonus money into the player's own.

    Raises:
        InsufficientFunds: the bonus wallet does not hold that much.
    """
    source, key = _split(external_id)
    return await _post(tx, source, user_id, money.currency, Convert(key, money.amount))


async def forfeit_bonus(
    tx: Transaction, *, user_id: UUID, money: Money, external_id: str, reason: Literal["forfeited", "expired"]
) -> UUID:
    """Take bonus money away: its terms were broken, or its time is over.

    Raises:
        InsufficientFunds: the bonus wallet does not hold that much.
    """
    source, key = _split(external_id)
    return await _post(tx, source, user_id, money.currency, Forfeit(key, money.amount, reason))


async def adjust(
    tx: Transaction, *, user_id: UUID, money: Money, external_id: str, staff_id: UUID, reason: str,
    wallet_type: Account = "main",
) -> UUID:  # fmt: skip
    """Correct a wallet by hand: a signed amount, who did it and why.

    Raises:
        ReasonMissing: a correction without a reason, or with one that is no text of at most 500 characters.
        InsufficientFunds: the wallet would fall below zero.
    """
    reason = reason.strip()
    is_text = "".join(reason.split()).isprintable()  # of several lines, too
    if not 0 < len(reason) <= REASON_LENGTH_MAX or not is_text:
        raise ReasonMissing(field="reason")
    source, key = _split(external_id)
    transaction_id = await _post(tx, source, user_id, money.currency, Adjust(key, money.amount, wallet_type))
    await queries.insert_staff_posting(tx, transaction_id, staff_id, reason)
    return transaction_id


def _split(external_id: str) -> tuple[str, str]:
    source, _, key = external_id.partition(":")
    assert source
    return source, key


async def _post(tx: Transaction, source: str, user_id: UUID, currency: str, operation: Operation) -> UUID:
    passed = await post(tx, [Command(source, user_id, currency, (operation,))])
    (outcome,) = passed.outcomes
    if isinstance(outcome, Refusal):
        raise outcome
    transaction_id = outcome.operations[0].id
    assert transaction_id is not None
    return transaction_id
