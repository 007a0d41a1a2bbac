"""A player's page: who it is, their wallets now and at a past moment, and the statement of one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from litestar import Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, QueryParameter
from litestar.response import Redirect

from countroom.players.staff import StaffSession
from countroom.refusal import Refusal
from countroom.wallet import history
from countroom.wallet.history import Account, Filters, Page, Place, Selection
from countroom.web import statements
from countroom.web.backoffice import player_views as views
from countroom.web.backoffice import queries
from countroom.web.backoffice.ids import read_id
from countroom.web.backoffice.player_views import Asked
from countroom.web.backoffice.render import page
from countroom.web.backoffice.views import amount_text
from countroom.web.problems import STATUS
from countroom.web.sessions import signed_in_staff
from countroom.web.statements import STATUSES, InvalidMoment

LINES_SHOWN: Final = 50
LOOKS_MAX: Final = 10
"""Pages without a matching line that one request goes past: some 50,000 entries, a fifth of a second."""
GAMES_OFFERED: Final = 300
FORM_BYTES_MAX: Final = 4_096
EMAIL_LENGTH_MAX: Final = 254


@dataclass
class SearchForm:
    """What the search in the bar sends."""

    who: str = ""


@post("/", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def find(
    state: State,
    member: NamedDependency[StaffSession],
    data: Annotated[SearchForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Go to the player who has this id or address. Posted, so that addresses of people stay out of logs."""
    sought = data.who.strip()
    found = await _found(state, sought)
    if found is None:
        return _nobody(member, sought)
    return Redirect(f"/backoffice/players/{found}", status_code=303)


@get("/{player_id:str}")
async def show(
    state: State,
    member: NamedDependency[StaffSession],
    player_id: FromPath[str],
    *,
    wallet: Annotated[str, QueryParameter()] = "",
    types: Annotated[list[str] | None, QueryParameter(name="type")] = None,
    status: Annotated[str, QueryParameter()] = "",
    since: Annotated[str, QueryParameter(name="from")] = "",
    until: Annotated[str, QueryParameter(name="to")] = "",
    game: Annotated[str, QueryParameter()] = "",
    round_id: Annotated[str, QueryParameter(name="round")] = "",
    at: Annotated[str, QueryParameter()] = "",
    cursor: Annotated[str, QueryParameter()] = "",
) -> Response[Any]:
    """Show a player with the statement that the address asks for."""
    user_id = read_id(player_id)
    player = None if user_id is None else await queries.player(state.database, user_id)
    if player is None:
        return _nobody(member, "")
    accounts = await history.wallets_of(state.database, player.id)
    chosen = _chosen(accounts, wallet)
    asked = Asked(
        wallet=str(chosen.id) if chosen else "", types=tuple(types or ()), status=status, since=since, until=until,
        game=game, round=round_id, at=at,
    )  # fmt: skip
    zone = ZoneInfo(state.settings.reporting_time_zone)
    past, past_problem = await _past(state, player.id, at, zone)
    statement = await _statement(state, chosen, asked, cursor, zone)
    return page(
        "player.html",
        status=400 if past_problem or statement["problem"] else 200,
        staff=member,
        player=player,
        registered=f"{player.created_at.astimezone(zone).day} {player.created_at.astimezone(zone):%b %Y}",
        zone=state.settings.reporting_time_zone,
        asked=asked,
        wallets=views.wallets(accounts, past, chosen.id if chosen else None),
        past_problem=past_problem,
        types=views.TYPES,
        statuses=STATUSES,
        field_value=views.field_value,
        games=await queries.games(state.database, GAMES_OFFERED),
        **statement,
    )


async def _past(state: State, player_id: UUID, at: str, zone: ZoneInfo) -> tuple[dict[UUID, history.BalanceAt], str]:
    """Return balances at a past moment, if one was asked for, and what is wrong with the moment."""
    if not at:
        return {}, ""
    try:
        found = await history.balances_at(state.database, player_id, _moment_in(zone)(at, "at"))
    except Refusal as refusal:
        return {}, refusal.sentence
    return {one.account.id: one for one in found}, ""


async def _statement(
    state: State, account: Account | None, asked: Asked, cursor: str, zone: ZoneInfo
) -> dict[str, Any]:
    """Return what the statement's part of the page shows."""
    shown: dict[str, Any] = {
        "account": None, "lines": [], "problem": "", "field": "", "range": "", "older": "", "newer": "", "file": "",
        "opening": "", "closing": "",
    }  # fmt: skip
    if account is None:
        return shown
    shown["account"] = account
    try:
        filters = statements.read_filters(
            types=asked.types,
            statuses=[asked.status] if asked.status else None,
            since=asked.since or None,
            until=asked.until or None,
            game=asked.game.strip() or None,
            round_id=asked.round or None,
            read_moment=_moment_in(zone),
        )
        place = statements.place_of(cursor) if cursor else None
        selection = await history.open_statement(state.database, account.user_id, account.id, filters)
        found = await _look(state, selection, place)
    except Refusal as refusal:
        return shown | {"problem": refusal.sentence, "field": refusal.field or ""}
    currency = account.currency
    return shown | {
        "lines": views.lines(found.lines, currency, zone),
        "range": views.range_text(found, selection.account.sequence),
        "older": statements.cursor_of(found.older) if found.has_older else "",
        "newer": statements.cursor_of(found.newer) if found.has_newer else "",
        "file": _file(account, asked, filters),
        "opening": amount_text(selection.opening_balance, currency),
        "closing": amount_text(selection.closing_balance, currency),
    }


async def _look(state: State, selection: Selection, place: Place | None) -> Page:
    """Return the next page that has a line, going past some that have none."""
    found = await history.read_page(state.database, selection, place=place, limit=LINES_SHOWN)
    for _ in range(LOOKS_MAX - 1):
        upwards = place is not None and place.towards == "newer"
        if found.lines or not (found.has_newer if upwards else found.has_older):
            break
        place = found.newer if upwards else found.older
        found = await history.read_page(state.database, selection, place=place, limit=LINES_SHOWN)
    return found


def _file(account: Account, asked: Asked, filters: Filters) -> str:
    """Return the address of the same statement as a file, where moments have an offset."""
    query = [("type", one) for one in asked.types]
    query += [("status", asked.status), ("game", asked.game.strip()), ("round", asked.round)]
    query += [("from", _text(filters.since)), ("to", _text(filters.until))]
    wanted = urlencode([(name, value) for name, value in query if value])
    return f"/api/v1/players/{account.user_id}/wallets/{account.id}/statement.csv{'?' if wanted else ''}{wanted}"


def _text(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else ""


def _moment_in(zone: ZoneInfo) -> Callable[[str, str], datetime]:
    """Return a reader of what a date and time field sends."""

    def read(text: str, field: str) -> datetime:
        try:
            return views.local_moment(text, zone).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise InvalidMoment("This is not a date and a time.", field=field) from error

    return read


def _chosen(accounts: list[Account], wanted: str) -> Account | None:
    """Return the wallet that is asked for, or the first one in which something has happened."""
    asked_for = next((account for account in accounts if str(account.id) == wanted), None)
    return asked_for or max(accounts, key=lambda account: account.sequence > 0, default=None)


async def _found(state: State, sought: str) -> UUID | None:
    user_id = read_id(sought)
    if user_id is not None:
        return user_id
    if "@" not in sought or len(sought) > EMAIL_LENGTH_MAX or "\0" in sought:
        return None
    return await queries.player_by_email(state.database, sought.lower())


def _nobody(member: StaffSession, sought: str) -> Response[Any]:
    return page("nobody.html", status=STATUS["missing"], staff=member, sought=sought)


router: Final = Router("/players", route_handlers=[find, show], dependencies={"member": Provide(signed_in_staff)})
