"""The pages of the catalogue: games found and looked at, switches, providers' terms, and feeds that are imported."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args
from urllib.parse import quote, urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, Router, get, post
from litestar.datastructures import State, UploadFile
from litestar.di import NamedDependency, Provide
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, QueryParameter
from litestar.response import Redirect

from countroom.games import service as games
from countroom.games import switches
from countroom.games.imports import UnknownImport, UnknownProvider
from countroom.games.service import Filters, Import, ProviderSummary
from countroom.players.rights import may, require
from countroom.players.staff import StaffSession
from countroom.refusal import Refusal
from countroom.schema.enumerations import GameGenre, GameVolatility
from countroom.web.backoffice.render import page
from countroom.web.problems import STATUS
from countroom.web.sessions import signed_in_staff

GAMES_SHOWN: Final = 50
SWITCHES_SHOWN: Final = 8
IMPORTS_SHOWN: Final = 10
DIFFERENCES_SHOWN: Final = 100
"""Games of each kind; the rest is counted."""
FORM_BYTES_MAX: Final = 8_192
FEED_BYTES_MAX: Final = 4 * 1024 * 1024
STATES: Final = {"on": True, "off": False}


@dataclass
class SwitchForm:
    """What the form that turns something on or off sends."""

    to: str = ""
    reason: str = ""


@dataclass
class TermsForm:
    """What the form with a provider's terms sends."""

    countries: str = ""
    currencies: str = ""
    verified_only: str = ""
    demo_url: str = ""
    reason: str = ""


@dataclass
class FeedForm:
    """What the form with a feed sends."""

    feed: UploadFile | None = None
    provider: str = ""
    turn_on: str = ""
    turn_off_missing: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the list was asked for, and the addresses that ask for something else."""

    q: str
    provider: str
    genre: str
    volatility: str
    tag: str
    state: str

    @property
    def is_everything(self) -> bool:
        """Whether nothing narrows the list."""
        return not (self.q or self.provider or self.genre or self.volatility or self.tag or self.state)

    def query(self, **other: str) -> str:
        """Return this as a query, with some values replaced."""
        values = {name: getattr(self, name) for name in self.__slots__} | other
        return urlencode({name: value for name, value in values.items() if value})


@get("/")
async def show_all(
    state: State,
    member: NamedDependency[StaffSession],
    *,
    q: Annotated[str, QueryParameter()] = "",
    provider: Annotated[str, QueryParameter()] = "",
    genre: Annotated[str, QueryParameter()] = "",
    volatility: Annotated[str, QueryParameter()] = "",
    tag: Annotated[str, QueryParameter()] = "",
    switch: Annotated[str, QueryParameter(name="state")] = "",
    cursor: Annotated[str, QueryParameter()] = "",
) -> Response[Any]:
    """Show the games that the address asks for."""
    asked = Asked(q.strip(), provider, genre, volatility, tag, switch)
    filters = Filters(
        text=asked.q,
        provider=provider or None,
        genre=next((one for one in get_args(GameGenre) if one == genre), None),
        volatility=next((one for one in get_args(GameVolatility) if one == volatility), None),
        tag=tag or None,
        is_launchable=STATES.get(switch),
    )
    problem, shown, count = "", games.GamesPage([], None), 0
    try:
        shown = await games.find_games(state.database, filters, limit=GAMES_SHOWN, cursor=cursor or None)
        count = await games.count_games(state.database, filters)
    except Refusal as refusal:
        problem = refusal.sentence
    return page(
        "games.html", status=400 if problem else 200, staff=member, room="games", asked=asked, games=shown.games,
        next=shown.next, is_first=not cursor, count=f"{count:,}", problem=problem,
        providers=await games.providers_of(state.database), genres=get_args(GameGenre),
        volatilities=get_args(GameVolatility), may_import=may(member, "import_games"),
    )  # fmt: skip


@get("/{slug:str}")
async def show(state: State, member: NamedDependency[StaffSession], slug: FromPath[str]) -> Response[Any]:
    """Show a game."""
    return await _game(state, member, slug)


@post("/{slug:str}/switch", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def switch_game(
    state: State,
    member: NamedDependency[StaffSession],
    slug: FromPath[str],
    data: Annotated[SwitchForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Turn a game on or off."""
    try:
        await switches.switch_game(state.database, member, slug=slug, is_active=data.to == "on", reason=data.reason)
    except Refusal as refusal:
        return await _game(state, member, slug, refusal)
    return Redirect(f"/backoffice/games/{quote(slug, safe='')}", status_code=303)


@get("/{code:str}")
async def show_terms(state: State, member: NamedDependency[StaffSession], code: FromPath[str]) -> Response[Any]:
    """Show a provider's switch and terms."""
    return await _terms(state, member, code)


@post("/{code:str}/switch", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def switch_provider(
    state: State,
    member: NamedDependency[StaffSession],
    code: FromPath[str],
    data: Annotated[SwitchForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Turn all games of a provider on or off."""
    try:
        await switches.switch_provider(state.database, member, code=code, is_active=data.to == "on", reason=data.reason)
    except Refusal as refusal:
        return await _terms(state, member, code, refusal)
    return Redirect(f"/backoffice/game-terms/{code}", status_code=303)


@post("/{code:str}", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def set_terms(
    state: State,
    member: NamedDependency[StaffSession],
    code: FromPath[str],
    data: Annotated[TermsForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Set a provider's terms."""
    try:
        await switches.set_terms(
            state.database, member, code=code, countries=data.countries, currencies=data.currencies,
            verified_only=bool(data.verified_only), demo_url=data.demo_url, reason=data.reason,
        )  # fmt: skip
    except Refusal as refusal:
        return await _terms(state, member, code, refusal, data)
    return Redirect(f"/backoffice/game-terms/{code}", status_code=303)


@get("/")
async def show_imports(
    state: State, member: NamedDependency[StaffSession], provider: Annotated[str, QueryParameter()] = ""
) -> Response[Any]:
    """Show where a feed is uploaded, and what was imported last."""
    return await _imports(state, member, FeedForm(provider=provider))


@post("/", status_code=200, request_max_body_size=FEED_BYTES_MAX)
async def upload(
    state: State,
    member: NamedDependency[StaffSession],
    data: Annotated[FeedForm, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> Response[Any]:
    """Read a feed, and go to what it would change."""
    try:
        require(member, "import_games")
        content = b"" if data.feed is None else await data.feed.read()
        seen = await games.look_at(
            state.database,
            provider_code=data.provider,
            content=content,
            file_name=(data.feed.filename if data.feed is not None else "") or "feed",
            options=games.Options(turn_on=bool(data.turn_on), turn_off_missing=bool(data.turn_off_missing)),
            staff_id=member.staff_id,
        )
    except Refusal as refusal:
        return await _imports(state, member, data, refusal)
    return Redirect(f"/backoffice/game-imports/{seen.id}", status_code=303)


@get("/{import_id:str}")
async def show_import(state: State, member: NamedDependency[StaffSession], import_id: FromPath[str]) -> Response[Any]:
    """Show what a feed would change, or has changed."""
    try:
        seen = await games.import_of(state.database, _id(import_id))
    except Refusal as refusal:
        return await _imports(state, member, FeedForm(), refusal)
    return _differences(member, seen)


@post("/{import_id:str}", status_code=200)
async def confirm(state: State, member: NamedDependency[StaffSession], import_id: FromPath[str]) -> Response[Any]:
    """Do what was shown."""
    try:
        require(member, "import_games")
        await games.apply_import(state.database, _id(import_id), staff_id=member.staff_id)
    except games.NotAsShown as refusal:
        return _differences(member, await games.import_of(state.database, _id(import_id)), refusal)
    except Refusal as refusal:
        return await _imports(state, member, FeedForm(), refusal)
    return Redirect(f"/backoffice/game-imports/{import_id}", status_code=303)


async def _game(state: State, member: StaffSession, slug: str, refusal: Refusal | None = None) -> Response[Any]:
    try:
        game = await games.game_of(state.database, slug)
    except Refusal:
        return page("no_game.html", status=404, staff=member, room="games", what=slug)
    zone = ZoneInfo(state.settings.reporting_time_zone)
    return page(
        "game.html",
        status=STATUS[refusal.kind] if refusal else 200,
        staff=member,
        room="games",
        game=game,
        provider=await _provider(state, game.provider_code),
        config=msgspec.json.format(msgspec.json.encode(game.config), indent=2).decode() if game.config else "",
        open_sessions=f"{await switches.open_sessions_of(state.database, game.slug):,}",
        noted=await switches.switches_of(state.database, game.provider_code, game.slug, SWITCHES_SHOWN),
        may_switch=may(member, "switch_games"),
        problem=refusal.sentence if refusal else "",
        zone=zone,
    )


async def _terms(
    state: State, member: StaffSession, code: str, refusal: Refusal | None = None, typed: TermsForm | None = None
) -> Response[Any]:
    try:
        provider = await _provider(state, code)
    except UnknownProvider:
        return page("no_game.html", status=404, staff=member, room="games", what=code)
    return page(
        "game_terms.html",
        status=STATUS[refusal.kind] if refusal else 200,
        staff=member,
        room="games",
        provider=provider,
        typed=typed
        or TermsForm(
            " ".join(provider.countries or ()),
            " ".join(provider.currencies or ()),
            "yes" if provider.verified_only else "",
            provider.demo_url or "",
        ),
        noted=await switches.switches_of(state.database, code, None, SWITCHES_SHOWN),
        may_switch=may(member, "switch_games"),
        problem=refusal.sentence if refusal else "",
        zone=ZoneInfo(state.settings.reporting_time_zone),
    )


async def _provider(state: State, code: str) -> ProviderSummary:
    for one in await games.providers_of(state.database):
        if one.code == code:
            return one
    raise UnknownProvider(field="code")


async def _imports(
    state: State, member: StaffSession, typed: FeedForm, refusal: Refusal | None = None
) -> Response[Any]:
    return page(
        "game_imports.html",
        status=STATUS[refusal.kind] if refusal else 200,
        staff=member,
        room="games",
        providers=await games.providers_of(state.database),
        typed=typed,
        problem=refusal.sentence if refusal else "",
        faults=refusal.faults if isinstance(refusal, games.FeedRefused) else (),
        past=await games.past_imports(state.database, IMPORTS_SHOWN),
        may_import=may(member, "import_games"),
        zone=ZoneInfo(state.settings.reporting_time_zone),
    )


def _differences(member: StaffSession, seen: Import, refusal: Refusal | None = None) -> Response[Any]:
    return page(
        "game_import.html",
        status=STATUS[refusal.kind] if refusal else 200,
        staff=member,
        room="games",
        seen=seen,
        found=seen.differences,
        shown_max=DIFFERENCES_SHOWN,
        value_text=value_text,
        may_import=may(member, "import_games"),
        problem=refusal.sentence if refusal else "",
    )


def value_text(value: object) -> str:
    """Return a value of a feed as a page shows it."""
    if value is None:
        return "no restriction"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(str(one) for one in value) or "none"
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else str(value)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise UnknownImport from error


_MEMBER: Final = {"member": Provide(signed_in_staff)}

routers: Final = [
    Router("/games", route_handlers=[show_all, show, switch_game], dependencies=_MEMBER),
    Router("/game-terms", route_handlers=[show_terms, switch_provider, set_terms], dependencies=_MEMBER),
    Router("/game-imports", route_handlers=[show_imports, upload, show_import, confirm], dependencies=_MEMBER),
]
