"""Rounds that the provider has not ended: found, listed, and closed by the staff with four eyes.

One member of the staff proposes to settle or to cancel a round and says why; another approves, and only then something
happens. Each step is in the audit log, in its own transaction.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from countroom import clock
from countroom.games import round_queries as queries
from countroom.players import audit
from countroom.players.rights import require
from countroom.players.staff import StaffSession
from countroom.postgres import Database, Transaction
from countroom.refusal import Refusal
from countroom.wallet import closing as wallet
from countroom.wallet import story
from countroom.wallet.closing import RoundHasEnded, RoundHasWins
from countroom.wallet.story import Story

__all__ = [
    "Closing", "Decision", "Told", "Unfinished", "approve", "closings_of", "count_unfinished", "decide", "find",
    "list_unfinished", "note_unfinished", "propose", "read",
]  # fmt: skip

REASON_LENGTH_MAX: Final = 500
WALK: Final = 1_000
"""Rounds that are looked at in one transaction: their players' wallets are locked for as long."""
WALK_SECONDS: Final = 20.0
"""One call looks at rounds no longer; the next one goes on where it stopped."""
COUNT_MAX: Final = 10_000
FOUND_MAX: Final = 20

Action = Literal["settle", "cancel"]
Decision = Literal["approved", "rejected", "withdrawn"]


class ReasonMissing(Refusal):
    """Ending a round by hand needs a reason: text of at most 500 characters."""

    kind = "invalid"
    code = "reason_missing"


class UnknownAction(Refusal):
    """A round is ended by hand in one of two ways: settle or cancel."""

    kind = "invalid"
    code = "unknown_action"


class ClosingProposed(Refusal):
    """Something is proposed for this round already; it has to be decided first."""

    kind = "conflict"
    code = "closing_proposed"


class UnknownClosing(Refusal):
    """There is no such proposal."""

    kind = "missing"
    code = "unknown_closing"


class ClosingDecided(Refusal):
    """This proposal has been decided already."""

    kind = "conflict"
    code = "closing_decided"


class FourEyes(Refusal):
    """Whoever proposed this cannot decide on it: four eyes must see it. You may withdraw it."""

    kind = "forbidden"
    code = "four_eyes"


class NotYourProposal(Refusal):
    """Only who made a proposal withdraws it; you may reject it."""

    kind = "forbidden"
    code = "not_your_proposal"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A round that has not ended, and what is proposed for it."""

    id: UUID
    external_id: str
    provider: str
    game_title: str
    user_id: UUID
    currency: str
    bet_amount: Decimal
    win_amount: Decimal
    status: str
    opened_at: datetime
    proposed_action: Action | None
    proposed_by: str | None


@dataclass(frozen=True, slots=True)
class Closing:
    """A proposal to end a round, and what became of it."""

    id: UUID
    round_id: UUID
    action: Action
    reason: str
    proposed_by: UUID
    proposer: str
    proposed_at: datetime
    outcome: Decision | None
    """None: nobody has decided yet."""
    decided_by: UUID | None
    decider: str | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class Told:
    """A round's whole story, with what the staff did about it."""

    story: Story
    closings: list[Closing]
    audit: list[audit.Noted]

    @property
    def open_closing(self) -> Closing | None:
        """What is proposed now."""
        return next((one for one in self.closings if one.outcome is None), None)


async def read(database: Database, round_id: UUID) -> Told:
    """Return a round's story.

    Raises:
        NoSuchRound: there is none with this id.
    """
    told = await story.read(database, round_id)
    return Told(told, await closings_of(database, round_id), await audit.of(database, ("round", str(round_id))))


async def closings_of(database: Database, round_id: UUID) -> list[Closing]:
    """Return all proposals for a round, oldest first."""
    async with database.connection() as connection:
        return [Closing(*row.values()) for row in await queries.closings_of(connection, round_id)]


async def find(database: Database, sought: str) -> list[UUID]:
    """Find rounds by our id or by the provider's; that one may be in several games."""
    async with database.connection() as connection:
        try:
            round_id = clock.parse_id(sought)
        except ValueError:
            round_id = None
        if round_id is not None and await queries.round_exists(connection, round_id):
            return [round_id]
        return list(await queries.rounds_called(connection, sought, FOUND_MAX))


# What has not ended ----------------------------------------------------------------------


async def note_unfinished(database: Database, older_than: timedelta) -> int:
    """Look at the rounds that have become old enough since the last time; mark and list those that are still open.

    Returns how many those were. Any number of workers may call this; one of them does it.
    """
    before = _first_id_of(clock.now() - older_than)
    deadline = time.monotonic() + WALK_SECONDS
    noted = 0
    while True:
        async with database.transaction() as tx:
            after = await queries.lock_horizon(tx)
            if after is None:
                return noted
            walked = await queries.walk(tx, after, before, WALK)
            if walked["open"]:
                marked = await wallet.mark_unfinished(tx, walked["open"])
                await queries.insert_unfinished(tx, marked)
                noted += len(marked)
            if walked["last_id"] is not None:
                await queries.move_horizon(tx, walked["last_id"])
        if walked["rows"] < WALK or time.monotonic() > deadline:
            break
    async with database.connection() as connection:
        await queries.delete_ended(connection)
    return noted


def _first_id_of(moment: datetime) -> UUID:
    """Return what no UUIDv7 of an earlier moment reaches."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


async def list_unfinished(database: Database, *, limit: int, after: UUID | None = None) -> list[Unfinished]:
    """Return rounds that have not ended, the oldest first, from behind the one named ``after``."""
    async with database.connection() as connection:
        rows = await queries.unfinished(connection, after or UUID(int=0), limit)
    return [Unfinished(*row.values()) for row in rows]


async def count_unfinished(database: Database) -> int:
    """Return how many rounds have not ended; counting stops at `COUNT_MAX`."""
    async with database.connection() as connection:
        return await queries.count_unfinished(connection, COUNT_MAX)


# Four eyes -------------------------------------------------------------------------------


async def propose(database: Database, member: StaffSession, round_id: UUID, *, action: str, reason: str) -> UUID:
    """Propose to end a round; return the proposal's id. Nothing happens until somebody else approves.

    Raises:
        NotYourRole, UnknownAction, ReasonMissing, NoSuchRound, RoundHasEnded, RoundHasWins, ClosingProposed:
            nothing is proposed.
    """
    require(member, "propose_round_closings")
    if action not in {"settle", "cancel"}:
        raise UnknownAction(field="action")
    reason = _reason(reason)
    closing_id = clock.new_id()
    round_ = (await story.read(database, round_id)).round
    if round_.has_ended:
        raise RoundHasEnded
    if action == "cancel" and round_.win_amount:
        raise RoundHasWins
    async with database.transaction() as tx:
        added = await queries.insert_closing(
            tx, closing_id, round_id=round_id, action=action, reason=reason, proposed_by=member.staff_id
        )
        if not added:
            raise ClosingProposed
        await _note(tx, member, f"{action} proposed", round_id, closing_id, reason=reason)
    return closing_id


async def approve(database: Database, member: StaffSession, closing_id: UUID) -> UUID:
    """Approve what somebody else has proposed, and do it; return the round's id.

    Raises:
        NotYourRole, UnknownClosing, ClosingDecided, FourEyes: nothing was done.
        NoSuchRound, RoundHasEnded, RoundHasWins, NothingToReverse: it cannot be done any more.
    """
    require(member, "decide_round_closings")
    async with database.transaction() as tx:
        proposed = await queries.lock_closing(tx, closing_id)
        if proposed is None:
            raise UnknownClosing
        if proposed["outcome"] is not None:
            raise ClosingDecided
        if proposed["proposed_by"] == member.staff_id:
            raise FourEyes
        round_id: UUID = proposed["round_id"]
        if proposed["action"] == "cancel":
            round_ = await wallet.cancel(tx, round_id, f"staff-{closing_id}")
        else:
            round_ = await wallet.settle(tx, round_id)
        await queries.decide_closing(
            tx, closing_id, outcome="approved", decided_by=member.staff_id, at=clock.now()
        )  # fmt: skip
        await _note(tx, member, f"{proposed['action']} approved", round_id, closing_id, status=round_.status)
    return round_id


async def decide(database: Database, member: StaffSession, closing_id: UUID, decision: Decision) -> UUID:
    """Approve or reject what somebody else has proposed, or withdraw one's own proposal; return the round's id.

    Raises:
        what `approve` raises.
        NotYourProposal: only who made it withdraws it.
    """
    if decision == "approved":
        return await approve(database, member, closing_id)
    require(member, "propose_round_closings" if decision == "withdrawn" else "decide_round_closings")
    async with database.transaction() as tx:
        proposed = await queries.lock_closing(tx, closing_id)
        if proposed is None:
            raise UnknownClosing
        if proposed["outcome"] is not None:
            raise ClosingDecided
        is_own = proposed["proposed_by"] == member.staff_id
        if decision == "rejected" and is_own:
            raise FourEyes
        if decision == "withdrawn" and not is_own:
            raise NotYourProposal
        await queries.decide_closing(tx, closing_id, outcome=decision, decided_by=member.staff_id, at=clock.now())
        await _note(tx, member, f"{proposed['action']} {decision}", proposed["round_id"], closing_id)
        found: UUID = proposed["round_id"]
    return found


def _reason(text: str) -> str:
    reason = text.strip()
    is_text = "".join(reason.split()).isprintable()  # of several lines, too
    if not 0 < len(reason) <= REASON_LENGTH_MAX or not is_text:
        raise ReasonMissing(field="reason")
    return reason


async def _note(
    tx: Transaction, member: StaffSession, action: str, round_id: UUID, closing_id: UUID, **details: str
) -> None:
    await audit.note(
        tx, staff_id=member.staff_id, action=action, about=("round", str(round_id)),
        details={"closing": str(closing_id), **details},
    )  # fmt: skip
