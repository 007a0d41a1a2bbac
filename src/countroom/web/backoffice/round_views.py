"""What the pages of rounds show, as plain values. Nothing here asks anybody."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from countroom.games.rounds import Closing, Told, Unfinished
from countroom.players.audit import Noted
from countroom.wallet.story import EntryLine, Kind, RoundRow, Step
from countroom.web.backoffice.views import amount_text, short_player, whole

_TITLES: Final[dict[Kind, str]] = {"bet": "Bet", "win": "Win", "reversal": "Reversal"}
_OUTCOMES: Final = {
    # Of a reversal, in the words of support.
    "reversed": "",
    "unseen": "came first, nothing to undo",
}
ACTIONS: Final = {
    "settle": ("Settle", "Ends the round. No money moves; a win that comes later is still paid."),
    "cancel": ("Cancel", "Gives every bet back and ends the round. Only where nothing was won."),
}


@dataclass(frozen=True, slots=True)
class UnfinishedLine:
    """One line of the list."""

    id: UUID
    age: str
    opened: str
    moment: str
    game: str
    provider: str
    external_id: str
    player_id: UUID
    player: str
    currency: str
    bet: str
    win: str
    status: str
    proposal: str


@dataclass(frozen=True, slots=True)
class JournalLine:
    """A line of the journal."""

    wallet: str
    sequence: str
    amount: str
    is_credit: bool
    balance: str


@dataclass(frozen=True, slots=True)
class StepLine:
    """One command of the story."""

    title: str
    kind: Kind
    status: str
    note: str
    day: str
    time: str
    moment: str
    reference: str
    id: UUID
    target: str
    amount: str
    bonus: str
    answered: str
    entries: list[JournalLine]


@dataclass(frozen=True, slots=True)
class Sum:
    """One of the round's figures."""

    name: str
    value: str
    of_it: list[str]


@dataclass(frozen=True, slots=True)
class NotedLine:
    """A line of the audit log."""

    who: str
    what: str
    when: str
    moment: str
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What waits for a second pair of eyes."""

    id: UUID
    title: str
    meaning: str
    reason: str
    who: str
    when: str
    is_own: bool


def age(opened_at: datetime, moment: datetime) -> str:
    """Return how old a round is, to two units: ``3 d 4 h``, ``26 h 10 min``."""
    minutes = max(0, int((moment - opened_at).total_seconds())) // 60
    hours, days = minutes // 60, minutes // 1_440
    if days >= 3:  # noqa: PLR2004 - until then hours say more
        return f"{whole(days)} d {hours % 24} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def moment_text(moment: datetime, zone: ZoneInfo) -> str:
    """Return a moment for people: ``4 Nov 2026, 17:05:09``."""
    local = moment.astimezone(zone)
    return f"{local.day} {local:%b %Y, %H:%M:%S}"


def unfinished(rows: Iterable[Unfinished], moment: datetime, zone: ZoneInfo) -> list[UnfinishedLine]:
    """Make the lines of the list."""
    return [
        UnfinishedLine(
            id=row.id, age=age(row.opened_at, moment), opened=moment_text(row.opened_at, zone),
            moment=row.opened_at.isoformat(timespec="seconds"), game=row.game_title, provider=row.provider,
            external_id=row.external_id, player_id=row.user_id, player=short_player(row.user_id),
            currency=row.currency, bet=amount_text(row.bet_amount, row.currency),
            win=amount_text(row.win_amount, row.currency) if row.win_amount else "–",  # noqa: RUF001 - for nothing
            status=row.status,
            proposal=f"{row.proposed_by} proposes to {row.proposed_action}" if row.proposed_action else "",
        )
        for row in rows
    ]  # fmt: skip


def sums(told: Told) -> list[Sum]:
    """Make the round's figures: bets, wins, and what is left of them for the house."""
    row, parts = told.story.round, told.story.parts

    def text(amount: Decimal) -> str:
        return amount_text(amount, row.currency)

    bets = [f"{text(parts.bet_bonus)} of it bonus money"] if parts.bet_bonus else []
    wins = [f"{text(parts.win_bonus)} of it bonus money"] if parts.win_bonus else []
    wins += [f"{text(amount)} of it {name}" for name, amount in parts.awards]
    return [
        Sum("Bets", text(row.bet_amount), bets),
        Sum("Wins", text(row.win_amount), wins),
        Sum("For the house", text(row.bet_amount - row.win_amount), []),
    ]


def steps(found: Iterable[Step], row: RoundRow, zone: ZoneInfo) -> list[StepLine]:
    """Make the lines of the story."""
    return [_step(step, row, zone) for step in found]


def _step(step: Step, row: RoundRow, zone: ZoneInfo) -> StepLine:
    local = step.at.astimezone(zone)
    prefix = f"{row.provider}:"
    amount = amount_text(step.amount, row.currency)
    is_by_staff = step.external_id.startswith(f"{prefix}staff-")
    title = f"{_TITLES[step.kind]} by the staff" if is_by_staff else _TITLES[step.kind]
    if step.free_amount is not None:
        title = f"Free {title.lower()}"
    notes = [step.award or "", _OUTCOMES.get(step.status, "") if step.kind == "reversal" else ""]
    if step.free_amount is not None:
        notes.append(f"{step.free_amount} told, nothing moved")
    if step.shortfall:
        notes.append(f"{amount_text(step.shortfall, row.currency)} was spent already and is owed")
    return StepLine(
        title=title,
        kind=step.kind,
        status=step.status if step.kind != "reversal" and step.status != "success" else "",
        note=" · ".join(note for note in notes if note),
        day=f"{local.day} {local:%b %Y}",
        time=f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}",
        moment=step.at.isoformat(timespec="microseconds"),
        reference=step.external_id.removeprefix(prefix),
        id=step.id,
        target=(step.target or "").removeprefix(prefix),
        amount=f"+{amount}" if step.kind == "win" or (step.kind == "reversal" and step.amount > 0) else amount,
        bonus=amount_text(step.bonus, row.currency) if step.bonus else "",
        answered="" if step.answered is None else amount_text(step.answered, row.currency),
        entries=[_entry(entry, row.currency) for entry in step.entries],
    )


def _entry(entry: EntryLine, currency: str) -> JournalLine:
    amount = amount_text(entry.amount, currency)
    is_credit = entry.amount > 0
    return JournalLine(
        entry.wallet_type, whole(entry.sequence), f"+{amount}" if is_credit else amount, is_credit,
        amount_text(entry.balance_after, currency),
    )  # fmt: skip


def noted(found: Sequence[Noted], zone: ZoneInfo) -> list[NotedLine]:
    """Make the lines of the audit log, newest first."""
    return [
        NotedLine(
            one.who, one.action, moment_text(one.at, zone), one.at.isoformat(timespec="seconds"),
            str(one.details.get("reason", "")),
        )
        for one in reversed(found)
    ]  # fmt: skip


def proposal(closing: Closing | None, staff_id: UUID, zone: ZoneInfo) -> Proposal | None:
    """Return what waits for a decision."""
    if closing is None:
        return None
    title, meaning = ACTIONS[closing.action]
    return Proposal(
        closing.id, title, meaning, closing.reason, closing.proposer, moment_text(closing.proposed_at, zone),
        is_own=closing.proposed_by == staff_id,
    )  # fmt: skip
