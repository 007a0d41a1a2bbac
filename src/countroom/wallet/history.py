"""What has happened in a wallet: its statement, and its balance at any past moment. It only reads.

A statement's lines are the journal's entries. A wallet's sequence has no gap and grows only at its end, so a
place in it (`Place`) stays where it is however many entries are added, and a page can say beforehand how many
entries it looks at (`SCAN_MAX`): with a filter that hardly ever matches, a page is short or empty
and says that there is more to look at.

Moments become places, too: the range of a statement begins after the last entry before its `since`. So the
balance at `since`, the lines, and the balance at `until` always add up, even where the clocks of two machines
disagree about the order of two entries.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, TypeAlias
from uuid import UUID

from asyncpg import Record

from countroom import clock
from countroom.money import ZERO
from countroom.postgres import Connection, Database
from countroom.refusal import Refusal
from countroom.schema.enumerations import TransactionStatus, TransactionType
from countroom.wallet import history_queries as queries
from countroom.wallet.refusals import UnknownPlayer

SCAN_MAX: Final = 5_000
"""Entries that a page looks at, at most: 17 ms where they are in memory, and where each costs a read from a disk
still about a second."""
LOOK_AHEAD: Final = 100
"""Entries behind a moment in which an earlier one is looked for: clocks may differ by as long as one wallet
takes to make so many, which is minutes of play."""
ROUND_MARGIN: Final = timedelta(minutes=1)
"""A round's entries are looked for from this long before it was opened, should clocks disagree."""
EXPORT_PAGE: Final = 1_000
"""Lines of an export that are in memory at once."""

Towards = Literal["older", "newer"]
Order = Literal["newest", "oldest"]
Movement = Literal["posted", "reversed", "held", "released", "settled", "receivable", "repayment"]


class UnknownWallet(Refusal):
    """There is no such wallet of this player."""

    kind = "missing"
    code = "unknown_wallet"


class UnknownGame(Refusal):
    """There is no game with this slug."""

    kind = "invalid"
    code = "unknown_game"


class UnknownRound(Refusal):
    """There is no such round of this player."""

    kind = "invalid"
    code = "unknown_round"


class MomentInFuture(Refusal):
    """Nobody knows yet what the balance will be then."""

    kind = "invalid"
    code = "moment_in_future"


@dataclass(frozen=True, slots=True)
class Account:
    """A wallet as its history shows it."""

    id: UUID
    user_id: UUID
    currency: str
    type: str
    balance: Decimal
    sequence: int
    """How many entries it has."""
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class BalanceAt:
    """A wallet's balance as it was."""

    account: Account
    balance: Decimal
    sequence: int
    """How many entries it had."""
    existed: bool
    """False: the wallet was opened later, and the balance is zero."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which lines are wanted; None asks for all. ``since`` is part of the range, ``until`` is not."""

    types: tuple[TransactionType, ...] | None = None
    statuses: tuple[TransactionStatus, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    game: str | None = None
    """A game's slug."""
    round_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Between two entries: in front of the one with this sequence."""

    towards: Towards
    sequence: int


@dataclass(frozen=True, slots=True)
class Selection:
    """A wallet, the range of its sequence that was asked for, and what is wanted of it."""

    account: Account
    low: int
    high: int
    """The first and the last entry of the range; it is empty when high < low."""
    opening_balance: Decimal
    closing_balance: Decimal
    filters: Filters
    game_id: UUID | None


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the journal with what its transaction says of it, as it is now."""

    sequence: int
    created_at: datetime
    amount: Decimal
    """Signed."""
    balance_after: Decimal
    movement: Movement
    transaction_id: UUID
    type: str
    status: str
    fee: Decimal
    provider: str | None
    external_id: str
    payment_id: UUID | None
    round_id: UUID | None
    round_external_id: str | None
    game_slug: str | None
    game_title: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines, and the places at both of their ends."""

    lines: list[Line]
    older: Place
    newer: Place
    has_older: bool
    has_newer: bool
    """Whether there are entries on that side that have not been looked at; they need not match."""


def movement(wallet_type: str, transaction_type: str, status: str, kind: str | None, *, is_credit: bool) -> Movement:
    """Return what an entry did, of all that its transaction did.

    A withdrawal is held (main to locked), then settled out of locked or released back to main. A bet's credit
    and a win's debit are their reversals.
    """
    if transaction_type == "withdrawal":
        if (wallet_type == "locked") == is_credit:
            return "held"
        return "settled" if wallet_type == "locked" and status == "success" else "released"
    if transaction_type == "adjustment" and kind in {"receivable", "repayment"}:
        return "receivable" if kind == "receivable" else "repayment"
    is_undone = transaction_type == ("bet" if is_credit else "win")
    return "reversed" if is_undone else "posted"


async def wallets_of(database: Database, user_id: UUID) -> list[Account]:
    """Return a player's wallets, by currency and type.

    Raises:
        UnknownPlayer: there is no such player.
    """
    async with database.connection() as connection:
        return await _accounts(connection, user_id)


async def balances_at(database: Database, user_id: UUID, moment: datetime) -> list[BalanceAt]:
    """Return what each of a player's wallets held at the end of a moment.

    An entry's moment is taken a little before it is committed: what is said of a moment some seconds ago is final.

    Raises:
        UnknownPlayer: there is no such player.
        MomentInFuture: the moment has not come yet.
    """
    if moment > clock.now():
        raise MomentInFuture(field="at")
    async with database.connection() as connection:
        accounts = await _accounts(connection, user_id)
        found = await _last_entries(connection, accounts, moment)
    balances = []
    for account in accounts:
        sequence, balance = found[account.id]
        balances.append(BalanceAt(account, balance, sequence, existed=sequence > 0 or account.opened_at <= moment))
    return balances


async def open_statement(database: Database, user_id: UUID, wallet_id: UUID, filters: Filters) -> Selection:
    """Find the wallet and the range of its sequence that a statement is about.

    Raises:
        UnknownWallet: this player has no such wallet.
        UnknownGame, UnknownRound: a filter names what does not exist.
    """
    async with database.connection() as connection:
        row = await queries.wallet_of_player(connection, user_id, wallet_id)
        if row is None:
            raise UnknownWallet
        account = Account(*row.values())
        game_id = None
        if filters.game is not None:
            game_id = await queries.game_by_slug(connection, filters.game)
            if game_id is None:
                raise UnknownGame(field="game")
        low, opening = 0, ZERO
        high, closing = account.sequence, account.balance
        if filters.since is not None:
            low, opening = await _entry_before(connection, account, filters.since)
        if filters.until is not None:
            high, closing = await _entry_before(connection, account, filters.until)
        low += 1
        if filters.round_id is not None:
            opened_at = await queries.round_opened_at(connection, filters.round_id, user_id)
            if opened_at is None:
                raise UnknownRound(field="round")
            before, _ = await _entry_before(connection, account, opened_at - ROUND_MARGIN)
            return Selection(account, max(low, before + 1), high, opening, closing, filters, game_id)
        return Selection(account, low, high, opening, closing, filters, game_id)


async def read_page(
    database: Database, selection: Selection, *, place: Place | None = None, order: Order = "newest", limit: int
) -> Page:
    """Return the lines next to a place, at most ``limit``; without a place those that the order begins with."""
    assert limit > 0
    low, high = selection.low, selection.high
    if (place.towards if place else "older" if order == "newest" else "newer") == "older":
        top = min(high, place.sequence - 1) if place else high
        bottom = max(low, top - SCAN_MAX + 1)
        lines = await _read(database, selection, queries.newest_entries, low=bottom, high=top, limit=limit)
        if len(lines) == limit:
            bottom = lines[0].sequence
    else:
        bottom = min(max(low, place.sequence if place else low), max(low, high + 1))
        top = min(high, bottom + SCAN_MAX - 1)
        lines = await _read(database, selection, queries.oldest_entries, low=bottom, high=top, limit=limit)
        if len(lines) == limit:
            top = lines[-1].sequence
    if top < bottom:  # nothing lies there
        bottom = top + 1
    if order == "newest":
        lines.reverse()
    return Page(lines, Place("older", bottom), Place("newer", top + 1), has_older=bottom > low, has_newer=top < high)


async def read_all(database: Database, selection: Selection, order: Order = "newest") -> AsyncIterator[list[Line]]:
    """Return all lines, some at a time. What is posted meanwhile is not among them."""
    place = None
    while True:
        page = await read_page(database, selection, place=place, order=order, limit=EXPORT_PAGE)
        yield page.lines
        place = page.older if order == "newest" else page.newer
        if not (page.has_older if order == "newest" else page.has_newer):
            return


async def _accounts(connection: Connection, user_id: UUID) -> list[Account]:
    rows = await queries.wallets_of_player(connection, user_id)
    if not rows and not await queries.player_exists(connection, user_id):
        raise UnknownPlayer
    return [Account(*row.values()) for row in rows]


async def _last_entries(
    connection: Connection, accounts: list[Account], moment: datetime
) -> dict[UUID, tuple[int, Decimal]]:
    """Return sequence and balance of each wallet's last entry that is not after a moment: zeros without one."""
    rows = await queries.last_entries(connection, [account.id for account in accounts], moment, LOOK_AHEAD)
    return {row["wallet_id"]: (row["sequence"] or 0, row["balance_after"] or ZERO) for row in rows}


async def _entry_before(connection: Connection, account: Account, moment: datetime) -> tuple[int, Decimal]:
    """Return sequence and balance of a wallet's last entry before a moment: zeros without one."""
    if moment <= _BEGINNING:
        return 0, ZERO
    found = await _last_entries(connection, [account], moment - _TICK)
    # Entries that came after the wallet was read are not this statement's.
    sequence, balance = found[account.id]
    return (sequence, balance) if sequence <= account.sequence else (account.sequence, account.balance)


async def _read(
    database: Database, selection: Selection, ask: "_Ask", *, low: int, high: int, limit: int
) -> list[Line]:
    """Read the matching lines of a range, oldest first."""
    if high < low:
        return []
    wanted = selection.filters
    async with database.connection() as connection:
        rows = await ask(
            connection,
            selection.account.id,
            low=low,
            high=high,
            limit=limit,
            types=wanted.types,
            statuses=wanted.statuses,
            game_id=selection.game_id,
            round_id=wanted.round_id,
        )
    return [_line(row, selection.account.type) for row in rows]


def _line(row: Record, wallet_type: str) -> Line:
    return Line(
        sequence=row["sequence"],
        created_at=row["created_at"],
        amount=row["amount"],
        balance_after=row["balance_after"],
        movement=movement(wallet_type, row["type"], row["status"], row["kind"], is_credit=row["amount"] > 0),
        transaction_id=row["transaction_id"],
        type=row["type"],
        status=row["status"],
        fee=row["fee"],
        provider=row["provider"],
        external_id=row["external_id"],
        payment_id=row["payment_id"],
        round_id=row["game_round_id"],
        round_external_id=row["round_external_id"],
        game_slug=row["game_slug"],
        game_title=row["game_title"],
    )


_Ask: TypeAlias = Callable[..., Awaitable[Sequence[Record]]]
_TICK: Final = timedelta(microseconds=1)
"""PostgreSQL's smallest step of time: before a moment is until the tick before it."""
_BEGINNING: Final = datetime(1, 1, 2, tzinfo=UTC)
"""Nothing happened before; earlier moments have no tick before them."""
