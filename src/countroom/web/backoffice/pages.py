"""The addresses of the back office. Whoever is not signed in sees the door, and nothing behind it."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.params import Body, FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from countroom.players import sessions, staff
from countroom.players.staff import StaffSession
from countroom.refusal import Refusal
from countroom.web.backoffice import board, games, pipeline, player, providers, reconciliations, rounds
from countroom.web.backoffice.render import PAGE_HEADERS, page, rendering
from countroom.web.problems import STATUS
from countroom.web.sessions import (
    SESSION_COOKIE,
    client_address,
    refuse_cross_site,
    signed_in_staff,
    staff_cookie,
    staff_of,
)

AnyRequest = Request[Any, Any, Any]

DOOR: Final = "/backoffice/sign-in"
FORM_BYTES_MAX: Final = 8_192
"""An e-mail address and a password fit in a small part of this."""


@dataclass
class SignInForm:
    """What the form at the door sends."""

    email: str = ""
    password: str = ""


@get("/", include_in_schema=False)
async def root() -> Redirect:
    """Lead whoever types the bare address to the back office."""
    return Redirect("/backoffice", status_code=303)


@get("/favicon.ico", include_in_schema=False)
async def favicon() -> Redirect:
    """Lead browsers that look in the old place to the icon."""
    return Redirect(rendering.asset("favicon.svg"), status_code=303)


@get("/sign-in")
async def door(request: AnyRequest) -> Response[Any]:
    """Show the sign-in; whoever is signed in already goes through."""
    if await staff_of(request) is not None:
        return Redirect("/backoffice", status_code=303)
    return page("sign_in.html", email="", problem="")


@post("/sign-in", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def enter(
    request: AnyRequest, state: State, data: Annotated[SignInForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Response[Any]:
    """Sign in and go to the dashboard, or show the door again with the reason."""
    try:
        refuse_cross_site(request)
        token, _ = await staff.sign_in(
            state.database, state.redis, email=data.email, password=data.password, address=client_address(request)
        )
    except Refusal as refusal:
        return page("sign_in.html", status=STATUS[refusal.kind], email=data.email, problem=refusal.sentence)
    return Redirect("/backoffice", status_code=303, cookies=[staff_cookie(request, token)])


@post("/sign-out", status_code=303)
async def leave(request: AnyRequest, state: State) -> Redirect:
    """End the session here and in Redis."""
    refuse_cross_site(request)
    token = request.cookies.get(SESSION_COOKIE)
    if token:
        await sessions.close_session(state.redis, token)
    answer = Redirect(DOOR, status_code=303)
    answer.delete_cookie(SESSION_COOKIE, path="/")
    return answer


@get("/")
async def dashboard(state: State, member: NamedDependency[StaffSession]) -> Response[str]:
    """Show the whole board, with its figures already in it."""
    return page("dashboard.html", staff=member, **await board.everything(state))


@get("/fragments/{name:str}")
async def fragment(state: State, name: FromPath[str], member: NamedDependency[StaffSession]) -> Response[str]:
    """Give one part of the board anew."""
    part = board.PARTS.get(name)
    if part is None:
        raise NotFoundException
    return page(f"fragments/{name}.html", staff=member, **await part(state))


@get("/chart.json")
async def chart(state: State, member: NamedDependency[StaffSession]) -> Response[Any]:
    """Give the figures of the live chart."""
    assert member
    return Response(await board.chart(state), headers=PAGE_HEADERS)


def show_refusal(request: AnyRequest, refusal: Refusal) -> Response[Any]:
    """Show the door with the reason; a part that is asked for by itself gets the bare status."""
    status = STATUS[refusal.kind]
    if "/fragments/" in request.url.path or request.url.path.endswith("/chart.json"):
        return Response(refusal.sentence, status_code=status, media_type="text/plain", headers=PAGE_HEADERS)
    if refusal.kind == "unauthenticated" and request.headers.get("hx-request"):
        return Response(refusal.sentence, status_code=status, media_type="text/plain", headers={"HX-Redirect": DOOR})
    if refusal.kind == "unauthenticated":
        return Redirect(DOOR, status_code=303)
    return page("sign_in.html", status=status, email="", problem=refusal.sentence)


route_handlers: list[ControllerRouterHandler] = [
    root,
    favicon,
    Router(
        "/backoffice",
        route_handlers=[
            door,
            enter,
            leave,
            Router(
                "/",
                route_handlers=[dashboard, fragment, chart],
                dependencies={"member": Provide(signed_in_staff)},
            ),
            player.router,
            *games.routers,
            rounds.router,
            providers.router,
            reconciliations.router,
            pipeline.router,
        ],
        exception_handlers={Refusal: show_refusal},
        include_in_schema=False,
    ),
    rendering.static_files(),
]
