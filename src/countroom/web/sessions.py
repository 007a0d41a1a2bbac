"""Who is asking: bearer tokens for the API, and a cookie for the staff's browsers.

Against requests that another site makes a browser send, the cookie is SameSite=Strict and, on
every method that changes something, the Origin must be our own. A bearer token needs neither:
no browser adds it by itself.
"""

from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Request
from litestar.datastructures import Cookie

from countroom.players import service as players
from countroom.players import staff
from countroom.players.service import SignedIn
from countroom.players.staff import StaffSession
from countroom.redis import SESSION_SECONDS
from countroom.refusal import Refusal

AnyRequest = Request[Any, Any, Any]

SESSION_COOKIE: Final = "countroom_staff"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class NotSignedIn(Refusal):
    """Sign in first: the token is missing, unknown or over."""

    kind = "unauthenticated"
    code = "not_signed_in"


class CrossSite(Refusal):
    """This request was made by another site."""

    kind = "forbidden"
    code = "cross_site"


def bearer_token(request: AnyRequest) -> str | None:
    """Return the token of the Authorization header, or None."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def client_address(request: AnyRequest) -> str:
    """Return the address that the connection comes from; headers that anybody can write are not asked."""
    return request.client.host if request.client else "unknown"


async def signed_in_player(request: AnyRequest) -> SignedIn:
    """Give a handler the player who is asking.

    Raises:
        NotSignedIn: no player's session holds for this token.
        SessionsUnavailable: Redis is lost.
    """
    token = bearer_token(request)
    state = request.app.state
    player = await players.session_of(state.database, state.redis, token) if token else None
    if player is None:
        raise NotSignedIn
    return player


async def signed_in_staff(request: AnyRequest) -> StaffSession:
    """Give a handler the member of the staff who is asking, by token or by cookie.

    Raises:
        NotSignedIn: no session of the staff holds.
        CrossSite: the cookie came with a change that another site asks for.
        SessionsUnavailable: Redis is lost.
    """
    member = await staff_of(request)
    if member is None:
        raise NotSignedIn
    return member


async def staff_of(request: AnyRequest) -> StaffSession | None:
    """Return the member of the staff who is asking, or None, for pages that then show the sign-in.

    Raises:
        CrossSite: the cookie came with a change that another site asks for.
        SessionsUnavailable: Redis is lost.
    """
    token = bearer_token(request)
    if token is None:
        token = request.cookies.get(SESSION_COOKIE)
        if token:
            refuse_cross_site(request)
    state = request.app.state
    return await staff.session_of(state.database, state.redis, token) if token else None


def staff_cookie(request: AnyRequest, token: str) -> Cookie:
    """Return the cookie that keeps a staff session in a browser; scripts cannot read it."""
    return Cookie(
        key=SESSION_COOKIE,
        value=token,
        path="/",
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def refuse_cross_site(request: AnyRequest) -> None:
    """Refuse a change that a page of another site asks for; also fit for the sign-in form itself.

    Browsers send Origin with every POST; where they leave it out, Sec-Fetch-Site says the same.

    Raises:
        CrossSite: neither of the two says that the page is ours.
    """
    if request.method in SAFE_METHODS:
        return
    origin = request.headers.get("origin")
    if origin is None:
        ours = request.headers.get("sec-fetch-site") in {"same-origin", "none"}
    else:
        ours = _host_of(origin) == request.headers.get("host", "").lower()
    if not ours:
        raise CrossSite


def _host_of(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in {"http", "https"} else None
