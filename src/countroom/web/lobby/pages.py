"""The addresses of the lobby. Whoever is not signed in sees its door.

It stands for the site of an operator's own, which would speak to the API; so it opens the same doors as the API does,
and holds nothing. A browser keeps the player's session in a cookie that scripts cannot read.
"""

import secrets
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final
from uuid import uuid4

from litestar import Response, Router, get, post
from litestar.datastructures import Cookie, State
from litestar.di import NamedDependency, Provide
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from countroom.games import service as games
from countroom.payments import service as payments
from countroom.payments.providers.sandbox import SandboxProvider
from countroom.players import service as players
from countroom.players.service import SignedIn
from countroom.redis import SESSION_SECONDS
from countroom.refusal import Refusal
from countroom.web.api.payments import webhook_url
from countroom.web.lobby.render import page, rendering
from countroom.web.lobby.views import cards, purse
from countroom.web.problems import STATUS
from countroom.web.sessions import AnyRequest, NotSignedIn, client_address, refuse_cross_site

HOME: Final = "/lobby"
PLAYER_COOKIE: Final = "countroom_player"
FORM_BYTES_MAX: Final = 8_192
GAMES_SHOWN: Final = 60


@dataclass
class SignInForm:
    """An e-mail address and a password."""

    email: str = ""
    password: str = ""


@dataclass
class RegisterForm(SignInForm):
    """What somebody who wants to play tells."""

    country: str = ""
    birth_date: str = ""
    currency: str = "EUR"


@dataclass
class PayInForm:
    """How much is paid in, and into which wallet."""

    amount: str = ""
    currency: str = ""


SignIn = Annotated[SignInForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
Register = Annotated[RegisterForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
PayIn = Annotated[PayInForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


async def player_of(request: AnyRequest) -> SignedIn:
    """Give a handler the player who is asking.

    Raises:
        NotSignedIn: no player's session holds for this cookie.
        CrossSite: the cookie came with a change that another site asks for.
    """
    token = request.cookies.get(PLAYER_COOKIE)
    refuse_cross_site(request)
    state = request.app.state
    player = await players.session_of(state.database, state.redis, token) if token else None
    if player is None:
        raise NotSignedIn
    return player


@get("/")
async def home(request: AnyRequest, state: State) -> Response[str]:
    """Show the games; or the door, to whoever is not signed in."""
    try:
        player = await player_of(request)
    except NotSignedIn:
        return _door(state)
    return await _lobby(state, player)


@post("/sign-in", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def sign_in(request: AnyRequest, state: State, data: SignIn) -> Response[Any]:
    """Sign in."""
    refuse_cross_site(request)
    try:
        return await _enter(request, state, data.email, data.password)
    except Refusal as refusal:
        return _door(state, refusal, at="sign-in", email=data.email)


@post("/register", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def register(request: AnyRequest, state: State, data: Register) -> Response[Any]:
    """Open an account and sign in."""
    refuse_cross_site(request)
    try:
        await _register(request, state, data)
        return await _enter(request, state, data.email, data.password)
    except Refusal as refusal:
        return _door(state, refusal, at="register", email=data.email, form=data)


@post("/demo", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def demo(request: AnyRequest, state: State) -> Response[Any]:
    """Open an account for somebody who only wants to look."""
    refuse_cross_site(request)
    form = RegisterForm(
        f"player-{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(18), "MT", "1990-01-01",
        state.settings.currencies[0],
    )  # fmt: skip
    try:
        await _register(request, state, form)
        return await _enter(request, state, form.email, form.password)
    except Refusal as refusal:
        return _door(state, refusal, at="demo")


@post("/sign-out", status_code=303)
async def sign_out(request: AnyRequest, state: State) -> Redirect:
    """End the session."""
    refuse_cross_site(request)
    token = request.cookies.get(PLAYER_COOKIE)
    if token:
        await players.sign_out(state.redis, token)
    answer = Redirect(HOME, status_code=303)
    answer.delete_cookie(PLAYER_COOKIE, path=HOME)
    return answer


@get("/purse")
async def show_purse(state: State, player: NamedDependency[SignedIn]) -> Response[str]:
    """Give the balances anew."""
    return page("purse.html", purses=purse(await state.balances.of_player(state.database, player.player_id)))


@post("/pay-in", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def pay_in(request: AnyRequest, state: State, data: PayIn, player: NamedDependency[SignedIn]) -> Response[Any]:
    """Begin a deposit, and lead to where it is paid."""
    settings = state.settings
    try:
        payment = await payments.start_deposit(
            state.database,
            SandboxProvider(settings.sandbox_psp_url, settings.sandbox_psp_secret),
            user_id=player.player_id,
            amount=data.amount.strip(),
            currency=data.currency,
            webhook_url=webhook_url(settings),
            idempotency_key=str(uuid4()),
            return_url=f"{request.url.scheme}://{request.url.netloc}{HOME}",
        )
    except Refusal as refusal:
        return await _lobby(state, player, refusal)
    assert payment.payment_url is not None
    return Redirect(payment.payment_url, status_code=303)


@post("/games/{slug:str}", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def play(state: State, slug: FromPath[str], data: PayIn, player: NamedDependency[SignedIn]) -> Response[str]:
    """Launch a game, in a frame with the balance above it. Posted: each time opens a session."""
    try:
        opened = await games.launch(
            state.database, user_id=player.player_id, slug=slug, currency=data.currency,
            policy=state.house_policy,
        )  # fmt: skip
        game = await games.game_of(state.database, slug)
    except Refusal as refusal:
        return await _lobby(state, player, refusal)
    balances = await state.balances.of_player(state.database, player.player_id)
    return page(
        "play.html", frames=[opened.launch_url], title=game.title, launch_url=opened.launch_url,
        purses=[one for one in purse(balances) if one.currency == data.currency],
    )  # fmt: skip


@post("/games/{slug:str}/fun", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def play_for_fun(
    state: State, slug: FromPath[str], data: PayIn, player: NamedDependency[SignedIn]
) -> Response[str]:
    """Show a game for play money: there is no session, and nobody calls back."""
    try:
        demo_ = await games.launch_demo(
            state.database, user_id=player.player_id, slug=slug, currency=data.currency or "EUR"
        )
        game = await games.game_of(state.database, slug)
    except Refusal as refusal:
        return await _lobby(state, player, refusal)
    return page("play.html", frames=[demo_.demo_url], title=game.title, launch_url=demo_.demo_url, purses=[])


async def _lobby(state: State, player: SignedIn, refusal: Refusal | None = None) -> Response[str]:
    purses = purse(await state.balances.of_player(state.database, player.player_id))
    offered = games.Filters(is_launchable=True, currency=purses[0].currency if purses else None)
    found = await games.find_games(state.database, offered, limit=GAMES_SHOWN)
    return page(
        "games.html",
        status=STATUS[refusal.kind] if refusal else 200,
        forms=[state.settings.sandbox_psp_url],
        player=player,
        purses=purses,
        cards=cards(found.games),
        problem=refusal.sentence if refusal else "",
    )


def _door(
    state: State, refusal: Refusal | None = None, *, at: str = "", email: str = "", form: RegisterForm | None = None
) -> Response[str]:
    return page(
        "door.html",
        status=STATUS[refusal.kind] if refusal else 200,
        problem=refusal.sentence if refusal else "",
        field=(refusal.field or "") if refusal else "",
        at=at,
        email=email,
        form=form or RegisterForm(),
        currencies=state.settings.currencies,
    )


async def _register(request: AnyRequest, state: State, form: RegisterForm) -> None:
    try:
        born = date.fromisoformat(form.birth_date)
    except ValueError:
        born = date.max  # which the rules refuse, with their own sentence
    await players.register(
        state.database, state.redis, settings=state.settings, email=form.email, password=form.password,
        country=form.country.strip().upper(), birth_date=born, currency=form.currency, address=client_address(request),
    )  # fmt: skip


async def _enter(request: AnyRequest, state: State, email: str, password: str) -> Redirect:
    token, _ = await players.sign_in(
        state.database, state.redis, email=email, password=password, address=client_address(request)
    )
    cookie = Cookie(
        key=PLAYER_COOKIE, value=token, path=HOME, max_age=SESSION_SECONDS, httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return Redirect(HOME, status_code=303, cookies=[cookie])


def show_refusal(request: AnyRequest, refusal: Refusal) -> Response[Any]:
    """Lead to the door whoever is not signed in; say anything else there."""
    if refusal.kind == "unauthenticated" and request.headers.get("hx-request"):
        return Response("", status_code=401, media_type="text/plain", headers={"HX-Redirect": HOME})
    if refusal.kind == "unauthenticated":
        return Redirect(HOME, status_code=303)
    return _door(request.app.state, refusal, at="sign-in")


route_handlers: Final[list[ControllerRouterHandler]] = [
    Router(
        HOME,
        route_handlers=[
            home,
            sign_in,
            register,
            demo,
            sign_out,
            Router(
                "/",
                route_handlers=[show_purse, pay_in, play, play_for_fun],
                dependencies={"player": Provide(player_of)},
            ),
        ],
        exception_handlers={Refusal: show_refusal},
        include_in_schema=False,
    ),
    rendering.static_files(),
]
