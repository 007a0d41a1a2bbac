"""What can be different between a report and our books, and what to do about it. Nothing here asks anybody."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

Kind = Literal[
    "missing_here", "missing_there", "amount", "currency", "status", "type", "player", "round", "twice_there"
]
KINDS: Final[dict[Kind, str]] = {
    # The gravest first; the words of the page, the command and the file.
    "missing_here": "missing here",
    "missing_there": "missing there",
    "currency": "currency differs",
    "amount": "amount differs",
    "status": "status differs",
    "type": "type differs",
    "player": "player differs",
    "round": "round differs",
    "twice_there": "twice in the report",
}
NEAR_MIDNIGHT: Final = timedelta(minutes=15)
"""So close to the end of a day the two clocks may disagree about which day it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A transaction that is not the same on both sides. Amounts are in the main unit."""

    number: int
    kinds: tuple[Kind, ...]
    """Everything that is otherwise, the gravest first."""
    transaction_id: str
    line: int | None
    their_type: str | None
    their_status: str | None
    their_amount: Decimal | None
    their_currency: str | None
    their_round: str | None
    their_player: str | None
    our_id: UUID | None
    our_type: str | None
    our_status: str | None
    our_amount: Decimal | None
    our_currency: str | None
    our_round: str | None
    our_player: UUID | None
    our_created_at: datetime | None
    reversed_by: str | None


def proposal(found: Difference, *, day: date, zone: ZoneInfo) -> str:
    """Return what to do about a difference, as a sentence.

    Nothing is ever put right by itself: money moves only because somebody has decided it.
    """
    kind = found.kinds[0]
    if kind == "missing_here":
        return _missing_here(found)
    if kind == "missing_there":
        return _missing_there(found, day, zone)
    if kind == "status":
        if found.our_status == "cancelled":
            return f"Tell the provider that it was reversed here{_by(found)}, and ask whether that is right."
        return "Ask the provider to send the reversal again; until it does, the money stays where it is."
    return _PROPOSALS[kind]


_PROPOSALS: Final[dict[Kind, str]] = {
    "amount": "Ask the provider which amount is right; what is missing or too much is adjusted by hand, with a reason.",
    "currency": "Ask the provider: one of the two has another wallet, or another unit, in mind.",
    "type": "Ask the provider: what one side counts as a bet the other counts as a win.",
    "player": "Ask the provider at once: on one side money of one player stands in another's account.",
    "round": "Ask the provider; no money is concerned, but the story of both rounds is wrong.",
    "twice_there": "Ask the provider which of the lines counts; an id moves money once.",
}


def _missing_there(found: Difference, day: date, zone: ZoneInfo) -> str:
    if _is_near_midnight(found.our_created_at, day, zone):
        return "Look for it in the report of the neighbouring day first: it is within minutes of midnight."
    if found.our_type == "bet":
        return "Ask the provider whether the round was played. If it was not, let it reverse the bet."
    return "Ask the provider whether the round won. If it did not, let it reverse the win."


def _missing_here(found: Difference) -> str:
    if found.their_type == "reversal":
        return "Ask the provider to send the reversal again: what it takes back still stands here."
    if found.reversed_by is not None:
        return f"Tell the provider that it was reversed{_by(found)} before it came, so that it never moved money."
    if found.their_type == "win":
        return "Ask the provider to send the win again under the same id: it is then paid, once."
    return "Accept nothing unseen: ask the provider to void the round, or to send the bet again under the same id."


def _by(found: Difference) -> str:
    return f" by {found.reversed_by}" if found.reversed_by else ""


def _is_near_midnight(moment: datetime | None, day: date, zone: ZoneInfo) -> bool:
    if moment is None:
        return False
    begin, end = bounds(day, zone)
    return moment - begin < NEAR_MIDNIGHT or end - moment < NEAR_MIDNIGHT


def bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return when a day begins and ends in a time zone; it may have 23 or 25 hours."""
    begin = datetime.combine(day, time(), zone)
    return begin, datetime.combine(day + timedelta(days=1), time(), zone)
