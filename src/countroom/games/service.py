"""The games room's door: the catalogue and launching a game."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from countroom import clock
from countroom.games import keys, queries
from countroom.games.catalog import Catalog, Provider
from countroom.games.differences import Options
from countroom.games.ending import end_overdue_sessions, end_sessions_of
from countroom.games.imports import FeedRefused, Import, NotAsShown, apply_import, import_of, look_at, past_imports
from countroom.games.launching import Begun, Demo, Launch, exchange, launch, launch_demo
from countroom.games.listing import (
    Filters,
    Game,
    GamesPage,
    ProviderSummary,
    count_games,
    find_games,
    game_of,
    providers_of,
)
from countroom.games.rules import HousePolicy, UnknownGame
from countroom.postgres import Database

__all__ = [
    "Begun",
    "Catalog",
    "Demo",
    "FeedRefused",
    "Filters",
    "Game",
    "GamesPage",
    "HousePolicy",
    "Import",
    "Launch",
    "NotAsShown",
    "Options",
    "Provider",
    "ProviderSummary",
    "UnknownGame",
    "apply_import",
    "count_games",
    "end_overdue_sessions",
    "end_sessions_of",
    "ensure_game",
    "ensure_provider",
    "exchange",
    "find_games",
    "game_of",
    "game_of_round",
    "import_of",
    "launch",
    "launch_demo",
    "look_at",
    "past_imports",
    "providers_of",
]


async def ensure_provider(
    database: Database, *, code: str, title: str, dialect: str, launch_url: str, signing_keys: list[str],
    secret_key: str, demo_url: str | None = None,
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
            demo_url=demo_url,
            signing_keys=sealed,
        )


async def ensure_game(
    database: Database, *, provider_code: str, slug: str, title: str, volatility: str, genre: str,
    config: dict[str, Any] | None = None, rtp: Decimal | None = None, tags: Sequence[str] = (),
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
            rtp=rtp,
            tags=tags,
        )
    if game_id is None:
        raise UnknownGame(f"There is no provider with the code {provider_code!r}.", field="provider_code")
    return game_id


async def game_of_round(database: Database, provider: Provider, *, user_id: UUID, round_key: str) -> UUID | None:
    """Find in which of a provider's games a player's round is; its round ids are unique within a game only."""
    async with database.connection() as connection:
        return await queries.game_of_round(connection, list(provider.games.values()), user_id, round_key)
