"""The games room's door: the catalogue and launching a game."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from countroom import clock
from countroom.games import keys, queries
from countroom.games.catalog import Catalog, Provider
from countroom.postgres import Database
from countroom.refusal import Refusal

__all__ = [
    "Catalog",
    "Game",
    "Launch",
    "Provider",
    "ensure_game",
    "ensure_provider",
    "game_of_round",
    "launch",
    "list_games",
]


class UnknownGame(Refusal):
    """There is no such game."""

    kind = "missing"
    code = "unknown_game"


class GameUnavailable(Refusal):
    """This game cannot be launched now."""

    kind = "conflict"
    code = "game_unavailable"


class NoWallet(Refusal):
    """You hold no wallet in this currency."""

    kind = "conflict"
    code = "wrong_currency"


class MayNotPlay(Refusal):
    """This account may not play."""

    kind = "forbidden"
    code = "player_blocked"


@dataclass(frozen=True, slots=True)
class Game:
    """A game as the lobby shows it."""

    id: UUID
    slug: str
    title: str
    volatility: str
    genre: str
    provider_code: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class Launch:
    """A game session that was just opened, and what the provider will send for it."""

    session_id: UUID
    token: str
    account_id: str
    game_id: str
    launch_url: str


async def list_games(database: Database) -> list[Game]:
    """Return every game, by title."""
    async with database.connection() as connection:
        return [Game(*row.values()) for row in await queries.all_games(connection)]


async def launch(database: Database, *, user_id: UUID, slug: str, currency: str) -> Launch:
    """Open a session of a game for a player.

    Raises:
        UnknownGame, GameUnavailable, NoWallet, MayNotPlay: nothing was opened.
    """
    token = secrets.token_urlsafe(32)
    session_id = clock.new_id()
    async with database.transaction() as tx:
        found = await queries.launchable(tx, slug, user_id, currency)
        if found is None:
            raise UnknownGame(field="slug")
        if not found["is_active"]:
            raise GameUnavailable(field="slug")
        if found["user_status"] != "active":
            raise MayNotPlay
        if not found["holds_currency"]:
            raise NoWallet(field="currency")
        token_hash = hashlib.sha256(token.encode()).digest()
        await queries.insert_session(
            tx, session_id, user_id=user_id, game_id=found["game_id"], currency=currency, token_hash=token_hash
        )
    query = urlencode(
        {"token": token, "session_id": session_id, "game": slug, "account": user_id, "currency": currency}
    )
    return Launch(session_id, token, str(user_id), slug, f"{found['launch_url']}?{query}")


async def ensure_provider(
    database: Database, *, code: str, title: str, dialect: str, launch_url: str, signing_keys: list[str],
    secret_key: str,
) -> UUID:  # fmt: skip
    """Create a provider, or bring the one with this code up to date."""
    assert signing_keys, "a provider without a key could never call"
    sealed = keys.seal(signing_keys, secret_key)
    async with database.connection() as connection:
        return await queries.upsert_provider(
            connection,
            clock.new_id(),
            code=code,
            title=title,
            dialect=dialect,
            launch_url=launch_url,
            signing_keys=sealed,
        )


async def ensure_game(
    database: Database, *, provider_code: str, slug: str, title: str, volatility: str, genre: str,
    config: dict[str, Any] | None = None,
) -> UUID:  # fmt: skip
    """Create a game, or bring the one with this slug up to date.

    Raises:
        UnknownGame: there is no provider with this code.
    """
    encoded = msgspec.json.encode(config or {}).decode()
    async with database.connection() as connection:
        game_id = await queries.upsert_game(
            connection,
            clock.new_id(),
            provider_code=provider_code,
            slug=slug,
            title=title,
            volatility=volatility,
            genre=genre,
            config=encoded,
        )
    if game_id is None:
        raise UnknownGame(f"There is no provider with the code {provider_code!r}.", field="provider_code")
    return game_id


async def game_of_round(database: Database, provider: Provider, *, user_id: UUID, round_key: str) -> UUID | None:
    """Find in which of a provider's games a player's round is; its round ids are unique within a game only."""
    async with database.connection() as connection:
        return await queries.game_of_round(connection, list(provider.games.values()), user_id, round_key)
