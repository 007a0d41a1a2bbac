"""What the pages of reconciliation show, as plain values. Nothing here asks anybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from countroom.games.reconciliation.service import KINDS, Kind, NotedDifference, Reconciliation
from countroom.web.backoffice.views import amount_text, short_player, whole


@dataclass(frozen=True, slots=True)
class Line:
    """A comparison in the list."""

    id: UUID
    provider: str
    day: str
    file: str
    lines: str
    matched: str
    differences: str
    agrees: bool
    made: str
    who: str


@dataclass(frozen=True, slots=True)
class SumLine:
    """What stands in a currency."""

    currency: str
    their_bets: str
    our_bets: str
    their_wins: str
    our_wins: str
    gap: str
    """How much more was left with the house by their report than by our books; empty when they agree."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A kind of difference that can be looked at alone."""

    kind: Kind
    title: str
    count: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that both sides say."""

    name: str
    theirs: str
    ours: str
    differs: bool


@dataclass(frozen=True, slots=True)
class DifferenceLine:
    """A difference, with both sides."""

    number: int
    kinds: list[str]
    transaction_id: str
    line: str
    facts: list[Fact]
    missing: str
    """"there", "here" or empty."""
    round_id: str
    player_id: UUID | None
    player: str
    time: str
    proposal: str
    note: str
    noted: str


def line(found: Reconciliation, zone: ZoneInfo) -> Line:
    """Make a line of the list."""
    return Line(
        id=found.id,
        provider=found.provider_title,
        day=f"{found.day:%a} {found.day.day} {found.day:%b %Y}",
        file=found.file_name,
        lines=whole(found.line_count),
        matched=whole(found.matched_count),
        differences=whole(found.difference_count),
        agrees=found.difference_count == 0,
        made=moment(found.created_at, zone),
        who=found.staff_name or "command line",
    )


def sums(found: Reconciliation) -> list[SumLine]:
    """Make the sums by currency."""
    lines = []
    for one in found.sums:
        code = one.currency
        gap = (one.their_bets - one.their_wins) - (one.our_bets - one.our_wins)
        lines.append(
            SumLine(
                currency=code,
                their_bets=amount_text(one.their_bets, code),
                our_bets=amount_text(one.our_bets, code),
                their_wins=amount_text(one.their_wins, code),
                our_wins=amount_text(one.our_wins, code),
                gap="" if one.agrees else f"{'+' if gap > 0 else ''}{amount_text(gap, code)}",
            )
        )
    return lines


def chips(found: Reconciliation, chosen: Kind | None) -> list[Chip]:
    """Make the filter: the kinds that there are."""
    return [
        Chip(kind, title, whole(found.kinds[kind]), kind == chosen)
        for kind, title in KINDS.items()
        if kind in found.kinds
    ]


def differences(listed: Sequence[NotedDifference], zone: ZoneInfo) -> list[DifferenceLine]:
    """Make the differences."""
    return [_difference(one, zone) for one in listed]


def moment(when: datetime, zone: ZoneInfo) -> str:
    """Return a moment as people write it, to the second."""
    there = when.astimezone(zone)
    return f"{there.day} {there:%b %Y, %H:%M:%S}"


def _difference(one: NotedDifference, zone: ZoneInfo) -> DifferenceLine:
    it = one.difference
    facts = [
        Fact("amount", _money(it.their_amount, it.their_currency), _money(it.our_amount, it.our_currency),
             bool({"amount", "currency"} & {*it.kinds})),
        Fact("type", it.their_type or "", it.our_type or "", "type" in it.kinds),
        Fact("status", it.their_status or "", it.our_status or "", "status" in it.kinds),
        Fact("round", it.their_round or "", it.our_round or "", "round" in it.kinds),
    ]  # fmt: skip
    if "player" in it.kinds:
        facts.append(Fact("player", it.their_player or "", str(it.our_player), differs=True))
    return DifferenceLine(
        number=it.number,
        kinds=[KINDS[kind] for kind in it.kinds],
        transaction_id=it.transaction_id,
        line="" if it.line is None else f"line {it.line:,}",
        facts=[fact for fact in facts if fact.theirs or fact.ours],
        missing={"missing_here": "here", "missing_there": "there"}.get(it.kinds[0], ""),
        round_id=it.our_round or "",
        player_id=it.our_player,
        player=short_player(it.our_player) if it.our_player else "",
        time=moment(it.our_created_at, zone) if it.our_created_at else "",
        proposal=one.proposal,
        note=one.note or "",
        noted=f"{one.noted_by}, {moment(one.noted_at, zone)}" if one.noted_at else "",
    )


def _money(amount: Decimal | None, currency: str | None) -> str:
    return "" if amount is None or currency is None else f"{amount_text(amount, currency)} {currency}"
