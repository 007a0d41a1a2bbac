"""Games for players: what there is, and starting one, for money or for fun."""

from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from countroom.games import service
from countroom.games.service import Filters, Game
from countroom.players.service import SignedIn
from countroom.schema.enumerations import GameGenre, GameVolatility
from countroom.web.api.answers import PLAYER_SECURITY, problems
from countroom.web.api.players import signed_in

PAGE_MAX: Final = 500


class GameItem(msgspec.Struct):
    """A game in the lobby."""

    slug: str
    title: str
    provider: str
    volatility: str
    genre: str
    rtp: str | None
    """Percent of all stakes that come back, as the provider publishes it."""
    tags: list[str]
    pictures: dict[str, str]
    """Addresses by use, such as `tile`."""
    currencies: list[str] | None
    """In which it is played; null: in every one that the house has."""
    has_demo: bool
    verified_only: bool
    """Whether the identity has to be verified before it is played for money."""


class Games(msgspec.Struct):
    """A page of games that can be launched, by title. `next` goes into `cursor` for the page after it."""

    games: list[GameItem]
    next: str | None


Currency = Annotated[str, msgspec.Meta(pattern=r"\A[A-Z]{3}\Z")]


class LaunchRequest(msgspec.Struct):
    """In which currency to play."""

    currency: Currency


class DemoRequest(msgspec.Struct):
    """In which currency the play money is shown."""

    currency: Currency = "EUR"


class Launched(msgspec.Struct):
    """A session that was opened, and what the provider will send for it."""

    session_id: UUID
    token: str
    account_id: str
    game_id: str
    launch_url: str


class DemoLaunched(msgspec.Struct):
    """Where the game is played for fun. There is no session and no account in it."""

    game_id: str
    demo_url: str


@get(
    "/api/v1/games",
    summary="List the games",
    description="Games that are on, by title, a page at a time: `next` of one page is `cursor` of the page after it, "
    "and what is added or taken away meanwhile makes no other game appear twice or be left out.",
    tags=["games"],
    responses=problems(400),
)
async def list_games(
    state: State,
    *,
    q: Annotated[str, QueryParameter(description="Words of the title, or parts of them, in their order.")] = "",
    provider: Annotated[str | None, QueryParameter(description="A provider's code.")] = None,
    genre: Annotated[GameGenre | None, QueryParameter()] = None,
    volatility: Annotated[GameVolatility | None, QueryParameter()] = None,
    tag: Annotated[str | None, QueryParameter()] = None,
    currency: Annotated[str | None, QueryParameter(description="Only what can be played in it.")] = None,
    country: Annotated[str | None, QueryParameter(description="Only what may be played there (ISO 3166).")] = None,
    demo: Annotated[bool | None, QueryParameter(description="Whether it can be played for fun.")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX, description="How many at most.")] = 100,
    cursor: Annotated[str | None, QueryParameter(description="`next` of the page before.")] = None,
) -> Games:
    """Return a page of the games that can be launched."""
    filters = Filters(
        text=q, provider=provider, genre=genre, volatility=volatility, tag=tag, currency=currency, country=country,
        is_launchable=True, has_demo=demo,
    )  # fmt: skip
    found = await service.find_games(state.database, filters, limit=limit, cursor=cursor)
    return Games([_shown(game) for game in found.games], found.next)


def _shown(game: Game) -> GameItem:
    return GameItem(
        slug=game.slug,
        title=game.title,
        provider=game.provider_code,
        volatility=game.volatility,
        genre=game.genre,
        rtp=None if game.rtp is None else str(game.rtp),
        tags=list(game.tags),
        pictures=game.pictures,
        currencies=None if game.currencies is None else list(game.currencies),
        has_demo=game.has_demo,
        verified_only=game.verified_only,
    )


@post(
    "/api/v1/games/{slug:str}/launch",
    dependencies=signed_in,
    summary="Launch a game",
    description="Opens a session for money. The account, the player's country and identity, the game's and its "
    "provider's terms are asked first; the first that stands in the way is the refusal's code.",
    tags=["games"],
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 403, 404, 409, 503),
)
async def launch_game(
    slug: FromPath[str], data: JSONBody[LaunchRequest], state: State, player: NamedDependency[SignedIn]
) -> Launched:
    """Open a session of a game for the signed-in player and return where it is played."""
    opened = await service.launch(
        state.database,
        user_id=player.player_id,
        slug=slug,
        currency=data.currency,
        policy=state.house_policy,
    )
    return Launched(opened.session_id, opened.token, opened.account_id, opened.game_id, opened.launch_url)


@post(
    "/api/v1/games/{slug:str}/demo",
    dependencies=signed_in,
    status_code=200,
    summary="Play a game for fun",
    description="Where the game is played without money: nothing is opened here, no wallet is touched, and the "
    "provider learns of no account. Account, country and a rejected identity are asked as for a launch.",
    tags=["games"],
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 403, 404, 409, 503),
)
async def launch_demo(
    slug: FromPath[str], data: JSONBody[DemoRequest], state: State, player: NamedDependency[SignedIn]
) -> DemoLaunched:
    """Return where a game is played for fun."""
    demo = await service.launch_demo(state.database, user_id=player.player_id, slug=slug, currency=data.currency)
    return DemoLaunched(demo.game_id, demo.demo_url)


route_handlers = [list_games, launch_game, launch_demo]
