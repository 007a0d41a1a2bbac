"""Games for players: what there is, and starting one."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from countroom.games import service
from countroom.players.service import SignedIn
from countroom.web.api.answers import PLAYER_SECURITY, problems
from countroom.web.api.players import signed_in


class GameItem(msgspec.Struct):
    """A game in the lobby."""

    slug: str
    title: str
    provider: str
    volatility: str
    genre: str


class Games(msgspec.Struct):
    """Every game that can be launched."""

    games: list[GameItem]


class LaunchRequest(msgspec.Struct):
    """In which currency to play."""

    currency: Annotated[str, msgspec.Meta(pattern=r"\A[A-Z]{3}\Z")]


class Launched(msgspec.Struct):
    """A session that was opened, and what the provider will send for it."""

    session_id: UUID
    token: str
    account_id: str
    game_id: str
    launch_url: str


@get("/api/v1/games", summary="List the games", tags=["games"])
async def list_games(state: State) -> Games:
    """Return every active game, by title."""
    return Games(
        [
            GameItem(game.slug, game.title, game.provider_code, game.volatility, game.genre)
            for game in await service.list_games(state.database)
            if game.is_active
        ]
    )


@post(
    "/api/v1/games/{slug:str}/launch",
    dependencies=signed_in,
    summary="Launch a game",
    tags=["games"],
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 403, 404, 409, 503),
)
async def launch_game(
    slug: FromPath[str], data: JSONBody[LaunchRequest], state: State, player: NamedDependency[SignedIn]
) -> Launched:
    """Open a session of a game for the signed-in player and return where it is played."""
    opened = await service.launch(state.database, user_id=player.player_id, slug=slug, currency=data.currency)
    return Launched(opened.session_id, opened.token, opened.account_id, opened.game_id, opened.launch_url)


route_handlers = [list_games, launch_game]
