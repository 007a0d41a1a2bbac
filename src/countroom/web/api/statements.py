"""The API of history: statements and past balances, of players for themselves and of the staff for anybody.

Whoever of the staff is signed in may look, whatever the role.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from countroom import clock
from countroom.money import format_amount
from countroom.players.service import SignedIn
from countroom.players.staff import StaffSession
from countroom.postgres import Database
from countroom.wallet import history
from countroom.wallet.history import Account, Filters, Line, Order
from countroom.web import statements
from countroom.web.api.answers import PLAYER_SECURITY, problems
from countroom.web.api.players import PAGE_MAX, signed_in
from countroom.web.api.staff import signed_in as signed_in_staff
from countroom.web.sessions import AnyRequest
from countroom.web.statements import ORDERS, STATUSES, TYPES

LIMIT_DEFAULT: Final = 50
CSV_MEDIA_TYPE: Final = "text/csv"

_STATEMENT: Final = (
    "The wallet's journal, each entry with the balance after it. `cursor` takes the `older` or `newer` of another "
    "page; a cursor is a place in the wallet, so pages stay as they are when entries are added, and it fits other "
    "filters, too. A page looks at a limited number of entries: with a filter it may be short, or empty, while "
    "`has_older` or `has_newer` says that there is more to look at. `status` is the transaction's as it is now."
)
_CSV: Final = (
    "The same lines as text/csv, all of them, however many. Text that a spreadsheet could take for a formula has an "
    "apostrophe in front."
)
_AT: Final = (
    "What each wallet held at the end of a moment: the balance after its last entry that is not later. "
    "`existed` is false, and the balance zero, before the wallet was opened."
)


def _some(values: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of a list of these words: the framework only knows that it is a list of text."""
    return {"oneOf": [{"type": "array", "items": {"type": "string", "enum": list(values)}}]}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a statement was asked for."""

    filters: Filters
    order: Order


async def _asked(
    *,
    types: Annotated[
        list[str] | None,
        QueryParameter(
            name="type",
            description="Only transactions of these types; repeat it for several.",
            schema_extra=_some(TYPES),
        ),
    ] = None,
    statuses: Annotated[
        list[str] | None,
        QueryParameter(
            name="status", description="Only transactions that now have one of these.", schema_extra=_some(STATUSES)
        ),
    ] = None,
    since: Annotated[
        str | None,
        QueryParameter(
            name="from",
            description="Only entries from this moment on, such as 2026-01-31T00:00:00Z.",
            format="date-time",
        ),
    ] = None,
    until: Annotated[
        str | None, QueryParameter(name="to", description="Only entries before this moment.", format="date-time")
    ] = None,
    game: Annotated[str | None, QueryParameter(description="Only this game: its slug.")] = None,
    round_id: Annotated[
        str | None, QueryParameter(name="round", description="Only this round: our id of it.", format="uuid")
    ] = None,
    order: Annotated[
        str, QueryParameter(description="Which come first: the newest or the oldest.", enum=ORDERS)
    ] = "newest",
) -> Asked:
    """Read what a statement is asked for; each handler that takes `asked` has these parameters."""
    filters = statements.read_filters(
        types=types, statuses=statuses, since=since, until=until, game=game, round_id=round_id
    )
    return Asked(filters, statements.order_of(order))


_asking: Final = {"asked": Provide(_asked)}

Cursor = Annotated[str | None, QueryParameter(description="`older` or `newer` of another page.")]
Limit = Annotated[int, QueryParameter(ge=1, le=PAGE_MAX, description="How many entries at most.")]
At = Annotated[
    str | None,
    QueryParameter(
        description="A moment that has passed, such as 2026-01-31T12:00:00Z; unset, now.", format="date-time"
    ),
]


class WalletLine(msgspec.Struct):
    """One wallet; `entries` is how many lines its journal has."""

    id: UUID
    currency: str
    type: str
    balance: str
    entries: int
    opened_at: datetime


class WalletLines(msgspec.Struct):
    """All wallets of a player."""

    wallets: list[WalletLine]


class StatementEntry(msgspec.Struct):
    """One entry of the journal. `amount` is signed; `fee` and what follows it are the transaction's."""

    sequence: int
    time: datetime
    amount: str
    balance_after: str
    movement: str
    """What this entry did: posted, reversed, held, released, settled, receivable or repayment."""
    type: str
    status: str
    fee: str
    transaction_id: UUID
    external_id: str
    provider: str | None
    payment_id: UUID | None
    round_id: UUID | None
    provider_round_id: str | None
    game: str | None
    game_title: str | None


class StatementPage(msgspec.Struct):
    """A part of a statement. The balances are those before and after everything in the range of time asked for."""

    wallet: WalletLine
    opening_balance: str
    closing_balance: str
    entries: list[StatementEntry]
    older: str
    newer: str
    has_older: bool
    has_newer: bool


class PastBalance(msgspec.Struct):
    """What one wallet held; `entries` is how many lines its journal had."""

    wallet_id: UUID
    currency: str
    type: str
    balance: str
    entries: int
    existed: bool


class PastBalances(msgspec.Struct):
    """What each wallet held at the end of this moment."""

    at: datetime
    balances: list[PastBalance]


@get(
    "/api/v1/wallets/{wallet_id:uuid}/statement",
    dependencies=signed_in | _asking,
    tags=["money"],
    summary="The statement of one of the player's wallets",
    description=_STATEMENT,
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 404, 503),
)
async def own_statement(
    request: AnyRequest,
    player: NamedDependency[SignedIn],
    wallet_id: FromPath[UUID],
    asked: NamedDependency[Asked],
    *,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> StatementPage:
    """Show a page of the player's own statement."""
    return await _page(request.app.state.database, player.player_id, wallet_id, asked, cursor=cursor, limit=limit)


@get(
    "/api/v1/wallets/{wallet_id:uuid}/statement.csv",
    dependencies=signed_in | _asking,
    tags=["money"],
    summary="The statement as a file",
    description=_CSV,
    security=PLAYER_SECURITY,
    media_type=CSV_MEDIA_TYPE,
    responses=problems(400, 401, 404, 503),
)
async def own_statement_file(
    request: AnyRequest,
    player: NamedDependency[SignedIn],
    wallet_id: FromPath[UUID],
    asked: NamedDependency[Asked],
) -> Stream:
    """Send the player's own statement."""
    return await _file(request.app.state.database, player.player_id, wallet_id, asked)


@get(
    "/api/v1/wallets/balances",
    dependencies=signed_in,
    tags=["money"],
    summary="The player's balances at a past moment",
    description=_AT,
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 503),
)
async def own_balances(request: AnyRequest, player: NamedDependency[SignedIn], at: At = None) -> PastBalances:
    """Show what the player's wallets held."""
    return await _balances(request.app.state.database, player.player_id, at)


@get(
    "/api/v1/players/{player_id:uuid}/wallets",
    dependencies=signed_in_staff,
    tags=["staff"],
    summary="A player's wallets",
    description="As PostgreSQL has them now.",
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 404, 503),
)
async def wallets(
    request: AnyRequest,
    member: NamedDependency[StaffSession],  # noqa: ARG001 - asking for it is what signs in
    player_id: FromPath[UUID],
) -> WalletLines:
    """Show a player's wallets."""
    return WalletLines([_wallet(one) for one in await history.wallets_of(request.app.state.database, player_id)])


@get(
    "/api/v1/players/{player_id:uuid}/wallets/{wallet_id:uuid}/statement",
    dependencies=signed_in_staff | _asking,
    tags=["staff"],
    summary="The statement of a player's wallet",
    description=_STATEMENT,
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 404, 503),
)
async def statement(
    request: AnyRequest,
    member: NamedDependency[StaffSession],  # noqa: ARG001 - asking for it is what signs in
    player_id: FromPath[UUID],
    wallet_id: FromPath[UUID],
    asked: NamedDependency[Asked],
    *,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> StatementPage:
    """Show a page of a player's statement."""
    return await _page(request.app.state.database, player_id, wallet_id, asked, cursor=cursor, limit=limit)


@get(
    "/api/v1/players/{player_id:uuid}/wallets/{wallet_id:uuid}/statement.csv",
    dependencies=signed_in_staff | _asking,
    tags=["staff"],
    summary="The statement of a player's wallet as a file",
    description=_CSV,
    security=PLAYER_SECURITY,
    media_type=CSV_MEDIA_TYPE,
    responses=problems(400, 401, 404, 503),
)
async def statement_file(
    request: AnyRequest,
    member: NamedDependency[StaffSession],  # noqa: ARG001 - asking for it is what signs in
    player_id: FromPath[UUID],
    wallet_id: FromPath[UUID],
    asked: NamedDependency[Asked],
) -> Stream:
    """Send a player's statement."""
    return await _file(request.app.state.database, player_id, wallet_id, asked)


@get(
    "/api/v1/players/{player_id:uuid}/balances",
    dependencies=signed_in_staff,
    tags=["staff"],
    summary="A player's balances at a past moment",
    description=_AT,
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 404, 503),
)
async def balances(
    request: AnyRequest,
    member: NamedDependency[StaffSession],  # noqa: ARG001 - asking for it is what signs in
    player_id: FromPath[UUID],
    at: At = None,
) -> PastBalances:
    """Show what a player's wallets held."""
    return await _balances(request.app.state.database, player_id, at)


async def _page(
    database: Database, user_id: UUID, wallet_id: UUID, asked: Asked, *, cursor: str | None, limit: int
) -> StatementPage:
    place = None if cursor is None else statements.place_of(cursor)
    selection = await history.open_statement(database, user_id, wallet_id, asked.filters)
    page = await history.read_page(database, selection, place=place, order=asked.order, limit=limit)
    currency = selection.account.currency
    return StatementPage(
        wallet=_wallet(selection.account),
        opening_balance=format_amount(selection.opening_balance, currency),
        closing_balance=format_amount(selection.closing_balance, currency),
        entries=[_entry(line, currency) for line in page.lines],
        older=statements.cursor_of(page.older),
        newer=statements.cursor_of(page.newer),
        has_older=page.has_older,
        has_newer=page.has_newer,
    )


async def _file(database: Database, user_id: UUID, wallet_id: UUID, asked: Asked) -> Stream:
    selection = await history.open_statement(database, user_id, wallet_id, asked.filters)
    account = selection.account
    name = f"statement-{account.currency}-{account.type}-{account.id}.csv"
    return Stream(
        statements.csv_of(database, selection, asked.order),
        media_type=CSV_MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


async def _balances(database: Database, user_id: UUID, at: str | None) -> PastBalances:
    moment = clock.now() if at is None else statements.moment_of(at, "at")
    found = await history.balances_at(database, user_id, moment)
    return PastBalances(
        moment,
        [
            PastBalance(
                wallet_id=past.account.id,
                currency=past.account.currency,
                type=past.account.type,
                balance=format_amount(past.balance, past.account.currency),
                entries=past.sequence,
                existed=past.existed,
            )
            for past in found
        ],
    )


def _wallet(account: Account) -> WalletLine:
    return WalletLine(
        id=account.id,
        currency=account.currency,
        type=account.type,
        balance=format_amount(account.balance, account.currency),
        entries=account.sequence,
        opened_at=account.opened_at,
    )


def _entry(line: Line, currency: str) -> StatementEntry:
    return StatementEntry(
        sequence=line.sequence,
        time=line.created_at,
        amount=format_amount(line.amount, currency),
        balance_after=format_amount(line.balance_after, currency),
        movement=line.movement,
        type=line.type,
        status=line.status,
        fee=format_amount(line.fee, currency),
        transaction_id=line.transaction_id,
        external_id=line.external_id,
        provider=line.provider,
        payment_id=line.payment_id,
        round_id=line.round_id,
        provider_round_id=line.round_external_id,
        game=line.game_slug,
        game_title=line.game_title,
    )


route_handlers: Final = [
    own_statement,
    own_statement_file,
    own_balances,
    wallets,
    statement,
    statement_file,
    balances,
]
