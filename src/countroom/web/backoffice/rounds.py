"""The pages of rounds: those that have not ended, and one round's whole story, where it can be ended with four eyes."""

from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from litestar import Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, QueryParameter
from litestar.response import Redirect

from countroom.clock import now
from countroom.games import console, rounds
from countroom.games.rounds import Told
from countroom.players.rights import may
from countroom.players.staff import StaffSession
from countroom.refusal import Refusal
from countroom.wallet.story import NoSuchRound
from countroom.web.api.rounds import decided
from countroom.web.backoffice import provider_views
from countroom.web.backoffice import round_views as views
from countroom.web.backoffice.ids import read_id
from countroom.web.backoffice.render import page
from countroom.web.backoffice.views import short_player
from countroom.web.problems import STATUS
from countroom.web.sessions import AnyRequest, signed_in_staff

LINES_SHOWN: Final = 50
FORM_BYTES_MAX: Final = 8_192
SOUGHT_LENGTH_MAX: Final = 200


@dataclass
class ProposalForm:
    """What the form that proposes an end sends."""

    action: str = ""
    reason: str = ""


@dataclass
class DecisionForm:
    """What the buttons under a proposal send."""

    decision: str = ""


@get("/")
async def show_all(
    state: State,
    member: NamedDependency[StaffSession],
    *,
    find: Annotated[str, QueryParameter()] = "",
    after: Annotated[str, QueryParameter()] = "",
) -> Response[Any]:
    """Show what has not ended, or go to the round that is sought."""
    sought = find.strip()
    problem = ""
    if sought:
        found = await _found(state, sought)
        if len(found) == 1:
            return Redirect(f"/backoffice/rounds/{found[0]}", status_code=303)
        problem = (
            f"{len(found)} rounds have this id, each in a game of its own."
            if found
            else "No round has this id. Ids are complete, as we or the provider wrote them."
        )
        return _list(state, member, [await rounds.read(state.database, one) for one in found], sought, problem)
    zone = ZoneInfo(state.settings.reporting_time_zone)
    listed = await rounds.list_unfinished(state.database, limit=LINES_SHOWN + 1, after=read_id(after))
    count = await rounds.count_unfinished(state.database)
    return page(
        "rounds.html",
        staff=member,
        room="rounds",
        zone=state.settings.reporting_time_zone,
        hours=state.settings.round_unfinished_hours,
        lines=views.unfinished(listed[:LINES_SHOWN], now(), zone),
        count=f"{count:,}+" if count >= rounds.COUNT_MAX else f"{count:,}",
        next=str(listed[LINES_SHOWN - 1].id) if len(listed) > LINES_SHOWN else "",
        is_first=read_id(after) is None,
        sought_round="",
        problem="",
        found=[],
    )


@get("/{round_id:str}")
async def show(state: State, member: NamedDependency[StaffSession], round_id: FromPath[str]) -> Response[Any]:
    """Tell a round's story."""
    return await _tell(state, member, round_id)


@post("/{round_id:str}/closings", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def propose(
    state: State,
    member: NamedDependency[StaffSession],
    round_id: FromPath[str],
    data: Annotated[ProposalForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Propose to end the round."""
    try:
        await rounds.propose(state.database, member, _known(round_id), action=data.action, reason=data.reason)
    except Refusal as refusal:
        return await _tell(state, member, round_id, refusal=refusal, typed=data)
    return Redirect(f"/backoffice/rounds/{round_id}", status_code=303)


@post("/{round_id:str}/closings/{closing_id:uuid}", status_code=200, request_max_body_size=FORM_BYTES_MAX)
async def decide(
    request: AnyRequest,
    member: NamedDependency[StaffSession],
    round_id: FromPath[str],
    closing_id: FromPath[UUID],
    data: Annotated[DecisionForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[Any]:
    """Approve, reject or withdraw what is proposed."""
    decision: rounds.Decision = "approved" if data.decision == "approved" else "rejected"
    if data.decision == "withdrawn":
        decision = "withdrawn"
    try:
        await decided(request, member, closing_id, decision)
    except Refusal as refusal:
        return await _tell(request.app.state, member, round_id, refusal=refusal)
    return Redirect(f"/backoffice/rounds/{round_id}", status_code=303)


async def _tell(
    state: State,
    member: StaffSession,
    round_id: str,
    *,
    refusal: Refusal | None = None,
    typed: ProposalForm | None = None,
) -> Response[Any]:
    try:
        told = await rounds.read(state.database, _known(round_id))
    except NoSuchRound as missing:
        return _list(state, member, [], "", missing.sentence, status=STATUS[missing.kind])
    zone = ZoneInfo(state.settings.reporting_time_zone)
    row = told.story.round
    calls = await console.exchanges_of_round(state.database, row.provider, row.external_id)
    return page(
        "round.html",
        status=STATUS[refusal.kind] if refusal else 200,
        staff=member,
        room="rounds",
        zone=state.settings.reporting_time_zone,
        round=row,
        opened=views.moment_text(row.opened_at, zone),
        closed=views.moment_text(row.closed_at, zone) if row.closed_at else "",
        age="" if row.has_ended else views.age(row.opened_at, now()),
        player=short_player(row.user_id),
        sums=views.sums(told),
        steps=views.steps(told.story.steps, row, zone),
        is_complete=told.story.is_complete,
        proposal=views.proposal(told.open_closing, member.staff_id, zone),
        actions=views.ACTIONS,
        may_propose=may(member, "propose_round_closings"),
        may_decide=may(member, "decide_round_closings"),
        noted=views.noted(told.audit, zone),
        exchanges=provider_views.exchanges(calls, row.provider, zone),
        problem=refusal.sentence if refusal else "",
        field=(refusal.field or "") if refusal else "",
        typed=typed or ProposalForm(action="settle"),
    )


def _list(
    state: State, member: StaffSession, found: list[Told], sought: str, problem: str, *, status: int = 200
) -> Response[Any]:
    """Show what a search has found."""
    return page(
        "rounds.html", status=status, staff=member, room="rounds", zone=state.settings.reporting_time_zone,
        hours=state.settings.round_unfinished_hours, lines=[], count="", next="", is_first=True, sought_round=sought,
        problem=problem, found=[one.story.round for one in found],
    )  # fmt: skip


async def _found(state: State, sought: str) -> list[UUID]:
    if len(sought) > SOUGHT_LENGTH_MAX or not sought.isprintable():
        return []
    return await rounds.find(state.database, sought)


def _known(text: str) -> UUID:
    round_id = read_id(text)
    if round_id is None:
        raise NoSuchRound
    return round_id


router: Final = Router(
    "/rounds", route_handlers=[show_all, show, propose, decide], dependencies={"member": Provide(signed_in_staff)}
)
