"""Starting a game: for money, with a session here, or for fun, with nothing here at all."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote, urlencode
from uuid import UUID

from countroom import clock
from countroom.games import queries, rules, session_queries
from countroom.games.listing import is_text
from countroom.games.rules import USUAL_POLICY, AlreadyPlaying, Applicant, HousePolicy, Terms, UnknownGame
from countroom.postgres import Connection, Database, Transaction
from countroom.refusal import Refusal

TOKEN_LIFETIME: Final = timedelta(minutes=5)
"""From the launch to the provider's exchange. A page loads in seconds, also on a slow line."""


class UnknownToken(Refusal):
    """This token was not given to this provider's games."""

    kind = "missing"
    code = "unknown_token"


class TokenUsed(Refusal):
    """This token has been used; it works once."""

    kind = "conflict"
    code = "token_used"


class TokenExpired(Refusal):
    """This token is too old, or its session has ended; the game has to be launched again."""

    kind = "conflict"
    code = "token_expired"


@dataclass(frozen=True, slots=True)
class Begun:
    """What a launch token stands for, told once."""

    session_id: UUID
    user_id: UUID
    game_id: str
    currency: str
    country: str | None


@dataclass(frozen=True, slots=True)
class Launch:
    """A game session that was just opened, and what the provider will send for it."""

    session_id: UUID
    token: str
    account_id: str
    game_id: str
    launch_url: str


@dataclass(frozen=True, slots=True)
class Demo:
    """Where a game is played for fun. Nothing was opened here, and nothing will be called back."""

    game_id: str
    demo_url: str


@dataclass(frozen=True, slots=True)
class _Launchable:
    game_id: UUID
    game: Terms
    provider: Terms
    player: Applicant
    launch_url: str
    demo_url: str | None
    holds_currency: bool


async def launch(
    database: Database, *, user_id: UUID, slug: str, currency: str, policy: HousePolicy = USUAL_POLICY
) -> Launch:
    """Open a session of a game for a player who passes every gate. Its token works once, within five minutes.

    Raises:
        UnknownGame, AlreadyPlaying, and each of those of `rules.check_launch`: nothing was opened.
    """
    token = secrets.token_urlsafe(32)
    session_id = clock.new_id()
    async with database.transaction() as tx:
        # Who blocks the account now waits for this, and then ends what is opened here.
        await session_queries.hold_account(tx, user_id)
        found = await _launchable(tx, slug, user_id, currency)
        _check(found, currency, policy)
        await _make_room(tx, user_id, found.game_id, policy)
        token_hash = hashlib.sha256(token.encode()).digest()
        await session_queries.insert_session(
            tx, session_id, user_id=user_id, game_id=found.game_id, currency=currency, token_hash=token_hash
        )
    told = {"token": token, "session_id": session_id, "game": slug, "account": user_id, "currency": currency}
    return Launch(session_id, token, str(user_id), slug, _address(found.launch_url, told))


async def exchange(database: Database, *, provider_code: str, token: str) -> Begun:
    """Take a launch token, and return the session that it opens. It works once, for the provider of the game.

    Raises:
        UnknownToken, TokenUsed, TokenExpired: nothing was told.
    """
    token_hash = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
    async with database.transaction() as tx:
        known = await session_queries.token_state(tx, token_hash)
        if known is None or known["provider_code"] != provider_code:
            raise UnknownToken(field="token")
        begun = await session_queries.use_token(tx, token_hash, clock.now() - TOKEN_LIFETIME)
        if begun is None:
            # Read again: of two exchanges at once, the second has waited for the first.
            known = await session_queries.token_state(tx, token_hash)
            raise TokenUsed(field="token") if known and known["is_used"] else TokenExpired(field="token")
    return Begun(*begun.values())


async def enter(
    database: Database, *, session_id: UUID, user_id: UUID, currency: str, game_id: UUID, policy: HousePolicy
) -> UUID | None:
    """Return the session of another game, into which a player goes from an open one, in a provider's own lobby.

    The first time it is a launch, with all its gates. What was entered once is that session for good: when it has
    ended, the bets are refused by it. None: the session from which it is entered has ended.

    Raises:
        AlreadyPlaying, and each of those of `rules.check_launch`: nothing was opened.
    """
    async with database.transaction() as tx:
        await session_queries.hold_account(tx, user_id)
        await session_queries.lock_players(tx, [user_id])
        entered = await session_queries.entered(tx, session_id, user_id, game_id)
        if entered is not None:
            return entered
        if not await session_queries.is_open(tx, session_id):
            return None
        slug = await queries.slug_of(tx, game_id)
        _check(await _launchable(tx, slug, user_id, currency), currency, policy)
        await _make_room(tx, user_id, game_id, policy)
        entered = clock.new_id()
        await session_queries.insert_entered(tx, entered, session_id, game_id)
        return entered


def _check(found: _Launchable, currency: str, policy: HousePolicy) -> None:
    rules.check_launch(
        found.player,
        game=found.game,
        provider=found.provider,
        currency=currency,
        holds_currency=found.holds_currency,
        identity=policy.identity,
    )


async def _make_room(tx: Transaction, user_id: UUID, game_id: UUID, policy: HousePolicy) -> None:
    """Have no open session of this game from here on: launches of one player come one after the other."""
    await session_queries.lock_players(tx, [user_id])
    if policy.second_session == "replaces":
        await session_queries.end_sessions(tx, user_id, "replaced", game_id=game_id)
    elif await session_queries.plays(tx, user_id, game_id):
        raise AlreadyPlaying(field="slug")


async def launch_demo(database: Database, *, user_id: UUID, slug: str, currency: str) -> Demo:
    """Return where a player plays a game for fun. No session is opened, and the provider learns of no account.

    ``currency`` is only what the play money is shown in.

    Raises:
        UnknownGame, and each of those of `rules.check_demo`.
    """
    async with database.connection() as connection:
        found = await _launchable(connection, slug, user_id, currency)
    rules.check_demo(found.player, game=found.game, provider=found.provider, has_demo=found.demo_url is not None)
    assert found.demo_url is not None
    return Demo(slug, _address(found.demo_url, {"game": slug, "currency": currency, "mode": "fun"}))


async def _launchable(connection: Connection, slug: str, user_id: UUID, currency: str) -> _Launchable:
    row = await queries.launchable(connection, slug, user_id, currency) if is_text(slug) else None
    if row is None:
        raise UnknownGame(field="slug")
    return _Launchable(
        row["game_id"],
        Terms(row["is_active"], row["countries"], row["currencies"], row["verified_only"]),
        Terms(
            row["provider_is_active"],
            row["provider_countries"],
            row["provider_currencies"],
            row["provider_verified_only"],
        ),
        Applicant(row["status"], row["country"], row["kyc_status"]),
        row["launch_url"],
        row["demo_url"],
        row["holds_currency"],
    )


def _address(url: str, values: dict[str, object]) -> str:
    """Put values into a provider's address: where it has them in braces, or else all of them into its query."""
    filled = url
    for name, value in values.items():
        filled = filled.replace(f"{{{name}}}", quote(str(value), safe=""))
    if filled != url:
        return filled
    return f"{url}{'&' if '?' in url else '?'}{urlencode(values)}"
