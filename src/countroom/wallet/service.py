"""The wallet's door: what other rooms may ask of it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from countroom import clock
from countroom.money import Money
from countroom.postgres import Database, Transaction
from countroom.refusal import Refusal
from countroom.wallet import queries
from countroom.wallet.batch import Batcher, post
from countroom.wallet.commands import Command, Deposit, UnknownPlayer, WrongCurrency
from countroom.wallet.state import Wallet

__all__ = [
    "Batcher", "TransactionRow", "Wallet", "open_wallets", "post_deposit", "spendable", "transactions_of", "wallets_of",
]  # fmt: skip


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


async def post_deposit(
    tx: Transaction, *, user_id: UUID, money: Money, external_id: str, payment_id: UUID, provider: str
) -> UUID:
    """Credit a settled deposit inside the caller's transaction, once for its ``external_id``.

    ``external_id`` is ``<provider>:<their id>``. Returns the transaction's id, also on a repeat.

    Raises:
        WalletRefusal: no such wallet, other content under this id, or more than a wallet holds.
    """
    source, _, key = external_id.partition(":")
    assert source == provider
    assert key
    command = Command(source, user_id, money.currency, (Deposit(key, money.amount, payment_id),))
    (outcome,), _ = await post(tx, [command])
    if isinstance(outcome, Refusal):
        raise outcome
    transaction_id = outcome.operations[0].id
    assert transaction_id is not None
    return transaction_id
