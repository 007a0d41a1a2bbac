"""The API of players: opening an account, signing in and out, confirming an address, looking at money."""

from datetime import date, datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody, QueryParameter

from countroom.money import format_amount
from countroom.players import service
from countroom.players.service import SignedIn
from countroom.wallet.service import TransactionRow, transactions_of
from countroom.web.api.answers import PLAYER_SECURITY, problems
from countroom.web.sessions import AnyRequest, NotSignedIn, bearer_token, client_address, signed_in_player

PAGE_MAX: Final = 200

signed_in: Final = {"player": Provide(signed_in_player)}


class NewPlayer(msgspec.Struct):
    """What somebody who wants to play tells."""

    email: str
    password: str
    country: str
    birth_date: date
    currency: str


class PlayerCreated(msgspec.Struct):
    """The new account."""

    id: UUID
    email: str
    country: str
    currency: str


class Credentials(msgspec.Struct):
    """E-mail address and password."""

    email: str
    password: str


class SessionCreated(msgspec.Struct):
    """The token goes into `Authorization: Bearer <token>`; it is shown here only."""

    token: str
    player_id: UUID
    expires_at: datetime


class EmailCode(msgspec.Struct):
    """The code that was mailed."""

    code: str


class WalletShown(msgspec.Struct):
    """One wallet."""

    id: UUID
    currency: str
    type: str
    balance: str


class WalletsShown(msgspec.Struct):
    """All wallets of the player."""

    wallets: list[WalletShown]


class TransactionShown(msgspec.Struct):
    """One transaction; the type says which way `amount` went. Only bonuses and adjustments are signed."""

    id: UUID
    type: str
    status: str
    amount: str
    currency: str
    wallet_type: str
    created_at: datetime
    processed_at: datetime | None
    provider: str | None
    game_round_id: UUID | None
    external_id: str


class TransactionsShown(msgspec.Struct):
    """A page of transactions, newest first. `next` goes into `before` for the page after it."""

    transactions: list[TransactionShown]
    next: UUID | None


@post(
    "/api/v1/players",
    tags=["players"],
    summary="Open an account",
    description="Opens an account with wallets in the chosen currency, and mails a confirmation code to the address. "
    "Nobody under 18 may.",
    responses=problems(400, 403, 409, 429),
)
async def register(request: AnyRequest, data: JSONBody[NewPlayer]) -> PlayerCreated:
    """Open an account."""
    state = request.app.state
    registered = await service.register(
        state.database,
        state.redis,
        settings=state.settings,
        email=data.email,
        password=data.password,
        country=data.country,
        birth_date=data.birth_date,
        currency=data.currency,
        address=client_address(request),
    )
    return PlayerCreated(registered.id, registered.email, registered.country, registered.currency)


@post(
    "/api/v1/sign-in",
    status_code=200,
    tags=["players"],
    summary="Sign in",
    description="Gives a new bearer token each time. It is valid for twelve hours, or until sign-out.",
    responses=problems(400, 401, 403, 429, 503),
)
async def sign_in(request: AnyRequest, data: JSONBody[Credentials]) -> Response[SessionCreated]:
    """Sign a player in."""
    state = request.app.state
    token, signed = await service.sign_in(
        state.database, state.redis, email=data.email, password=data.password, address=client_address(request)
    )
    # A token is nobody's to keep on the way.
    return Response(SessionCreated(token, signed.player_id, signed.expires_at), headers={"Cache-Control": "no-store"})


@delete(
    "/api/v1/session",
    tags=["players"],
    summary="Sign out",
    description="Ends the session of the token that the request carries, a player's or one of the staff's. "
    "The token is worth nothing from then on.",
    security=PLAYER_SECURITY,
    responses=problems(401, 503),
)
async def sign_out(request: AnyRequest) -> None:
    """End the session at once."""
    token = bearer_token(request)
    if token is None:
        raise NotSignedIn
    await service.sign_out(request.app.state.redis, token)


@post(
    "/api/v1/players/email-code",
    status_code=204,
    dependencies=signed_in,
    tags=["players"],
    summary="Ask for a new confirmation code",
    description="Mails a new code of six digits, valid for ten minutes. Any older code is dead from then on.",
    security=PLAYER_SECURITY,
    responses=problems(401, 409, 429, 503),
)
async def send_email_code(request: AnyRequest, player: NamedDependency[SignedIn]) -> None:
    """Mail a new code."""
    state = request.app.state
    await service.send_email_code(state.redis, settings=state.settings, player=player)


@post(
    "/api/v1/players/confirm-email",
    status_code=204,
    dependencies=signed_in,
    tags=["players"],
    summary="Confirm the e-mail address",
    description="Takes the code that was mailed. It can be used once, and five wrong tries end it.",
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 409, 503),
)
async def confirm_email(request: AnyRequest, player: NamedDependency[SignedIn], data: JSONBody[EmailCode]) -> None:
    """Take the code."""
    state = request.app.state
    await service.confirm_email(state.database, state.redis, settings=state.settings, player=player, code=data.code)


@get(
    "/api/v1/wallets",
    dependencies=signed_in,
    tags=["money"],
    summary="The player's wallets",
    description="Each with its balance as a decimal string, which may be some milliseconds old.",
    security=PLAYER_SECURITY,
    responses=problems(401, 503),
)
async def wallets(request: AnyRequest, player: NamedDependency[SignedIn]) -> WalletsShown:
    """Show the wallets."""
    state = request.app.state
    found = await state.balances.of_player(state.database, player.player_id)
    return WalletsShown([WalletShown(w.id, w.currency, w.type, format_amount(w.balance, w.currency)) for w in found])


@get(
    "/api/v1/transactions",
    dependencies=signed_in,
    tags=["money"],
    summary="The player's transactions",
    description="Newest first. `next` of one page is `before` of the page after it.",
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 503),
)
async def transactions(
    request: AnyRequest,
    player: NamedDependency[SignedIn],
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX, description="How many at most.")] = 50,
    before: Annotated[UUID | None, QueryParameter(description="Only those before this one.")] = None,
) -> TransactionsShown:
    """Show a page of transactions."""
    found = await transactions_of(request.app.state.database, player.player_id, limit=limit + 1, before=before)
    page = [_shown(row) for row in found[:limit]]
    return TransactionsShown(page, page[-1].id if len(found) > limit else None)


def _shown(row: TransactionRow) -> TransactionShown:
    return TransactionShown(
        id=row.id,
        type=row.type,
        status=row.status,
        amount=format_amount(row.amount, row.currency),
        currency=row.currency,
        wallet_type=row.wallet_type,
        created_at=row.created_at,
        processed_at=row.processed_at,
        provider=row.provider,
        game_round_id=row.game_round_id,
        external_id=row.external_id,
    )


route_handlers: Final = [
    register,
    sign_in,
    sign_out,
    send_email_code,
    confirm_email,
    wallets,
    transactions,
]
