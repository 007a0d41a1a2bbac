"""One command's effects, kept apart until nothing can refuse it any more."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from countroom.money import AMOUNT_MAX, ZERO
from countroom.wallet.commands import (
    RECEIVABLE,
    REPAYMENT,
    SECOND_ROW,
    Command,
    Operation,
    Posted,
    content_hash,
)
from countroom.wallet.refusals import BalanceLimit, InsufficientFunds
from countroom.wallet.state import Entry, Player, Round, Row, Session, SessionSums, Tombstone, Wallet

_encode = msgspec.json.Encoder().encode


class Draft:
    """What a command would do. Dropping it leaves everything as it was (P5)."""

    __slots__ = (
        "command", "ended", "entries", "moment", "moved", "new_id", "new_session", "player", "posted", "purse",
        "rounds", "rows", "sums", "tombstones", "touched",
    )  # fmt: skip

    def __init__(self, command: Command, player: Player, *, moment: datetime, new_id: Callable[[], UUID]) -> None:
        self.command, self.player, self.moment, self.new_id = command, player, moment, new_id
        self.purse = player.purse
        self.touched: dict[str, Wallet] = {}
        """Wallets as this command leaves them, by type."""
        self.rows: list[Row] = []
        self.entries: list[Entry] = []
        self.ended: dict[UUID, tuple[Row, str]] = {}
        """Transactions of earlier commands that get a new status."""
        self.tombstones: dict[str, Tombstone] = {}
        self.rounds: dict[UUID, Round] = {}
        self.sums: dict[UUID, SessionSums] = {}
        self.posted: list[Posted] = []
        self.moved = False
        """Whether there is anything to write."""
        self.new_session: Session | None = None

    def wallet(self, wallet_type: str) -> Wallet:
        """Return a wallet as it stands within this command; not to be changed."""
        touched = self.touched.get(wallet_type)
        if touched is not None:
            return touched
        wallet: Wallet = getattr(self.purse, wallet_type)
        return wallet

    @property
    def spendable(self) -> Decimal:
        """Main and bonus together."""
        return self.wallet("main").balance + self.wallet("bonus").balance

    def rows_of(self, external_id: str) -> list[Row]:
        """Return what this very command has posted under an id."""
        return [row for row in self.rows if row.external_id.removesuffix(SECOND_ROW) == external_id]

    def move(self, wallet_type: str, amount: Decimal, transaction_id: UUID) -> None:
        """Write one line of the journal.

        Raises:
            InsufficientFunds: the wallet would fall below zero (P3).
            BalanceLimit: it would hold more than its column.
        """
        wallet = self.touched.get(wallet_type)
        if wallet is None:
            wallet = self.touched[wallet_type] = replace(getattr(self.purse, wallet_type))
        after = wallet.balance + amount
        if after < 0:
            raise InsufficientFunds("The wallet does not hold that much.")
        if after > AMOUNT_MAX:
            raise BalanceLimit
        wallet.balance = after
        wallet.sequence += 1
        self.entries.append(Entry(wallet.id, wallet.sequence, transaction_id, amount, after))

    def credit(self, wallet_type: str, amount: Decimal, transaction_id: UUID, operation: Operation) -> None:
        """Add to a wallet; what it owes is repaid first, as a transaction of its own."""
        self.move(wallet_type, amount, transaction_id)
        wallet = self.touched[wallet_type]
        if wallet.receivable:
            repaid = min(wallet.receivable, amount)
            self._settle_receivable(wallet_type, -repaid, operation, ending=REPAYMENT)

    def take_back(self, wallet_type: str, amount: Decimal, transaction_id: UUID, operation: Operation) -> Decimal:
        """Take an amount from a wallet as far as it is there, and book the rest as owed; return the rest.

        What is not there is first lent (an adjustment with the ending `/receivable`), so that the
        entries of what is undone add up to nothing, as those of everything undone do.
        """
        short = max(amount - self.wallet(wallet_type).balance, ZERO)
        if short:
            self._settle_receivable(wallet_type, short, operation, ending=RECEIVABLE)
        self.move(wallet_type, -amount, transaction_id)
        return short

    def _settle_receivable(self, wallet_type: str, amount: Decimal, operation: Operation, *, ending: str) -> None:
        suffix = ending if wallet_type == "main" else ending + SECOND_ROW
        metadata = _encode({"kind": ending.removeprefix("/")}).decode()
        row = self.post(operation, "adjustment", wallet_type, amount, ending=suffix, metadata=metadata)
        self.move(wallet_type, amount, row.id)
        wallet = self.touched[wallet_type]
        wallet.receivable += amount
        if wallet.receivable > AMOUNT_MAX:
            raise BalanceLimit("The wallet cannot owe that much.")

    def post(
        self, operation: Operation, kind: str, wallet_type: str, amount: Decimal, *, ending: str = "",
        status: str = "success", fee: Decimal = ZERO, round_: Round | None = None, payment_id: UUID | None = None,
        metadata: str = "{}",
    ) -> Row:  # fmt: skip
        """Add a transaction, without its journal."""
        command = self.command
        wallet: Wallet = getattr(self.purse, wallet_type)
        row = Row(
            self.new_id(),
            f"{command.source}:{operation.key}{ending}",
            wallet.id,
            wallet_type,
            command.user_id,
            command.currency,
            kind,
            status,
            amount,
            fee,
            content_hash(command, operation),
            None,  # the balance of the answer is known at the end of the command
            command.source,
            command.play.game_id if command.play is not None else None,
            round_.id if round_ is not None else None,
            payment_id,
            metadata,
        )
        self.rows.append(row)
        self.moved = True
        return row

    def end(self, row: Row, status: str) -> None:
        """Give a transaction its last status."""
        self.ended[row.id] = (row, status)
        self.moved = True

    def bury(
        self,
        operation: Operation,
        target_external_id: str,
        *,
        outcome: str,
        id: UUID | None = None,  # noqa: A002
    ) -> Tombstone:
        """Note for ever that an end was asked for, and what came of it."""
        command = self.command
        external_id = f"{command.source}:{operation.key}"
        stone = Tombstone(
            external_id, target_external_id, id or self.new_id(), command.user_id, content_hash(command, operation),
            outcome, ZERO, ZERO, ZERO,
        )  # fmt: skip
        self.tombstones[external_id] = stone
        self.moved = True
        return stone
