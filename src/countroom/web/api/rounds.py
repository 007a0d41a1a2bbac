"""The API of rounds, for the staff: what has not ended, one round's whole story, and ending it with four eyes."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from countroom import clock
from countroom.games import rounds
from countroom.games.rounds import Closing, Told
from countroom.money import format_amount
from countroom.players.audit import Noted
from countroom.players.staff import StaffSession
from countroom.wallet.story import Step
from countroom.web.api.answers import PLAYER_SECURITY, problems
from countroom.web.api.players import PAGE_MAX
from countroom.web.api.staff import signed_in
from countroom.web.sessions import AnyRequest

LIMIT_DEFAULT: Final = 50


class UnfinishedRound(msgspec.Struct):
    """A round that has not ended; `proposed_action` is what waits for a second pair of eyes."""

    id: UUID
    provider_round_id: str
    provider: str
    game_title: str
    player_id: UUID
    currency: str
    bet_amount: str
    win_amount: str
    status: str
    opened_at: datetime
    age_seconds: int
    proposed_action: str | None
    proposed_by: str | None


class UnfinishedRounds(msgspec.Struct):
    """The oldest first; `after` of the next page is the id of the last one here."""

    rounds: list[UnfinishedRound]
    has_more: bool


class RoundShown(msgspec.Struct):
    """A round as it stands. `awards`, of the wins: what a jackpot, a promotion or free rounds have paid, by name."""

    id: UUID
    provider_round_id: str
    provider: str
    game: str | None
    game_title: str | None
    player_id: UUID
    session_id: UUID
    currency: str
    status: str
    opened_at: datetime
    closed_at: datetime | None
    bet_amount: str
    bet_bonus_amount: str
    win_amount: str
    win_bonus_amount: str
    awards: dict[str, str]


class EntryShown(msgspec.Struct):
    """A line of the journal, with the balance of its wallet after it."""

    wallet_type: str
    sequence: int
    amount: str
    balance_after: str
    time: datetime


class StepShown(msgspec.Struct):
    """A command (bet, win or reversal), what was answered, and what it moved.

    `balance` is the one in the answer, main and bonus together. `status` of a bet or win is as it is now.
    """

    kind: str
    time: datetime
    id: UUID
    external_id: str
    amount: str
    bonus_amount: str
    status: str
    balance: str | None
    target: str | None
    award: str | None
    free_amount: str | None
    owed: str
    """Of a reversed win, what was no longer there."""
    entries: list[EntryShown]


class ClosingShown(msgspec.Struct):
    """A proposal of the staff to end the round; without an outcome it waits."""

    id: UUID
    action: str
    reason: str
    proposer: str
    proposed_at: datetime
    outcome: str | None
    decider: str | None
    decided_at: datetime | None


class AuditLine(msgspec.Struct):
    """A line of the audit log."""

    time: datetime
    who: str
    action: str
    details: dict[str, str]


class RoundStory(msgspec.Struct):
    """All of a round. `is_complete` is false where its steps do not add up to its sums: then there are more."""

    round: RoundShown
    steps: list[StepShown]
    is_complete: bool
    closings: list[ClosingShown]
    audit: list[AuditLine]


class NewClosing(msgspec.Struct):
    """Settle: end it, no money moves. Cancel: give every bet back, where nothing was won."""

    action: Literal["settle", "cancel"]
    reason: str


class ClosingProposed(msgspec.Struct):
    """It waits for somebody else."""

    id: UUID


class Decision(msgspec.Struct):
    """Approve or reject what somebody else has proposed, or withdraw what you have."""

    decision: Literal["approved", "rejected", "withdrawn"]


@get(
    "/api/v1/rounds/unfinished",
    dependencies=signed_in,
    tags=["staff"],
    summary="Rounds that have not ended",
    description="The oldest first. A round is listed once it has been open for longer than "
    "`COUNTROOM_ROUND_UNFINISHED_HOURS`.",
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 503),
)
async def unfinished(
    request: AnyRequest,
    member: NamedDependency[StaffSession],  # noqa: ARG001 - asking for it is what signs in
    *,
    after: Annotated[UUID | None, QueryParameter(description="The id of the last round of another page.")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX, description="How many at most.")] = LIMIT_DEFAULT,
) -> UnfinishedRounds:
    """List them."""
    found = await rounds.list_unfinished(request.app.state.database, limit=limit + 1, after=after)
    moment = clock.now()
    shown = [
        UnfinishedRound(
            one.id, one.external_id, one.provider, one.game_title, one.user_id, one.currency,
            format_amount(one.bet_amount, one.currency), format_amount(one.win_amount, one.currency), one.status,
            one.opened_at, max(0, int((moment - one.opened_at).total_seconds())), one.proposed_action, one.proposed_by,
        )
        for one in found[:limit]
    ]  # fmt: skip
    return UnfinishedRounds(shown, has_more=len(found) > limit)


@get(
    "/api/v1/rounds/{round_id:uuid}",
    dependencies=signed_in,
    tags=["staff"],
    summary="A round's whole story",
    description="Every command of it with its answer and its lines of the journal, in order, and what the staff did.",
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 404, 503),
)
async def show(
    request: AnyRequest,
    member: NamedDependency[StaffSession],  # noqa: ARG001 - asking for it is what signs in
    round_id: FromPath[UUID],
) -> RoundStory:
    """Tell it."""
    return _story(await rounds.read(request.app.state.database, round_id))


@post(
    "/api/v1/rounds/{round_id:uuid}/closings",
    dependencies=signed_in,
    tags=["staff"],
    summary="Propose to end a round",
    description="Nothing happens until another member of the staff approves. For admin, compliance, cashier, support.",
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 403, 404, 409, 503),
)
async def propose(
    request: AnyRequest, member: NamedDependency[StaffSession], round_id: FromPath[UUID], data: JSONBody[NewClosing]
) -> ClosingProposed:
    """Propose it."""
    closing_id = await rounds.propose(
        request.app.state.database, member, round_id, action=data.action, reason=data.reason
    )
    return ClosingProposed(closing_id)


@post(
    "/api/v1/round-closings/{closing_id:uuid}/decision",
    status_code=200,
    dependencies=signed_in,
    tags=["staff"],
    summary="Decide on a proposal",
    description="Whoever proposed it is refused with `four_eyes`, and may only withdraw it. Approving does it at once, "
    "and gives the round's story. For admin, compliance and cashier.",
    security=PLAYER_SECURITY,
    responses=problems(400, 401, 403, 404, 409, 503),
)
async def decide(
    request: AnyRequest, member: NamedDependency[StaffSession], closing_id: FromPath[UUID], data: JSONBody[Decision]
) -> Response[RoundStory]:
    """Decide on it."""
    return Response(_story(await decided(request, member, closing_id, data.decision)))


async def decided(request: AnyRequest, member: StaffSession, closing_id: UUID, decision: rounds.Decision) -> Told:
    """Decide, and return the story as it is then; the player's balances are shown anew at once."""
    state = request.app.state
    told = await rounds.read(state.database, await rounds.decide(state.database, member, closing_id, decision))
    if decision == "approved":
        await state.balances.refresh(state.database, told.story.round.user_id)
    return told


def _story(told: Told) -> RoundStory:
    row, parts = told.story.round, told.story.parts
    currency = row.currency

    def money(amount: Decimal) -> str:
        return format_amount(amount, currency)

    shown = RoundShown(
        id=row.id, provider_round_id=row.external_id, provider=row.provider, game=row.game_slug,
        game_title=row.game_title, player_id=row.user_id, session_id=row.session_id, currency=currency,
        status=row.status, opened_at=row.opened_at, closed_at=row.closed_at, bet_amount=money(row.bet_amount),
        bet_bonus_amount=money(parts.bet_bonus), win_amount=money(row.win_amount),
        win_bonus_amount=money(parts.win_bonus), awards={name: money(amount) for name, amount in parts.awards},
    )  # fmt: skip
    return RoundStory(
        shown,
        [_step(step, currency) for step in told.story.steps],
        told.story.is_complete,
        [_closing(one) for one in told.closings],
        [_audit(one) for one in told.audit],
    )


def _step(step: Step, currency: str) -> StepShown:
    def money(amount: Decimal) -> str:
        return format_amount(amount, currency)

    return StepShown(
        kind=step.kind, time=step.at, id=step.id, external_id=step.external_id, amount=money(step.amount),
        bonus_amount=money(step.bonus), status=step.status,
        balance=None if step.answered is None else money(step.answered), target=step.target, award=step.award,
        free_amount=step.free_amount, owed=money(step.shortfall),
        entries=[
            EntryShown(one.wallet_type, one.sequence, money(one.amount), money(one.balance_after), one.created_at)
            for one in step.entries
        ],
    )  # fmt: skip


def _closing(one: Closing) -> ClosingShown:
    return ClosingShown(
        one.id, one.action, one.reason, one.proposer, one.proposed_at, one.outcome, one.decider, one.decided_at
    )


def _audit(one: Noted) -> AuditLine:
    return AuditLine(one.at, one.who, one.action, {name: str(value) for name, value in one.details.items()})


route_handlers: Final = [unfinished, show, propose, decide]
