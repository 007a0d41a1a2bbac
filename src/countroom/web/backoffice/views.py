"""What the pages show, as plain values made from what the stores hold. Nothing here asks anybody."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from countroom.money import format_amount
from countroom.proof import KeptProof

MINUTES_SHOWN: Final = 30
"""How far back the live chart reaches."""
LAG_SECONDS_CALM: Final = 5.0
"""Up to here the warehouse counts as up to date; people do not see a shorter delay."""
LAG_SECONDS_LATE: Final = 30.0
"""From here the lag is shown as a fault."""
PROOF_OLD: Final = timedelta(minutes=5)
"""The books and the warehouse are proved every minute; the page no longer vouches for one that is older than this."""
SECONDS_WITH_TENTHS: Final = 100
"""Longer lags are shown in whole seconds."""
CENT: Final = Decimal("0.01")

State = Literal["good", "warning", "bad", "unknown"]
Direction = Literal["up", "down", "same", "none"]

PROMISES: Final = {
    "P1": ("The books balance", "Every balance equals the sum of its journal, and no entry is missing."),
    "P2": ("Once is once", "A repeated command gets its first answer again and moves nothing."),
    "P3": ("Never below zero", "No wallet is negative, however many requests race."),
    "P4": ("One reversal", "A bet is given back at most once; a bet after its reversal moves nothing."),
    "P5": ("All or nothing", "A refused command leaves every cent where it was."),
    "P6": ("What is committed is counted", "PostgreSQL and ClickHouse agree to the last cent."),
}
"""The promises that `countroom check` proves, as an operator would say them."""


@dataclass(frozen=True, slots=True)
class Day:
    """One day of `daily_kpi`, in the reporting currency."""

    active_users: int
    gross_gaming_revenue: Decimal
    deposits_sum: Decimal
    withdrawals_sum: Decimal
    conversion_rate: Decimal | None


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of today beside the same figure of yesterday."""

    name: str
    label: str
    meaning: str
    value: str
    unit: str
    previous: str
    change: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class MinuteRow:
    """What one minute held in one currency: from `events_transactions`."""

    minute: datetime
    currency: str
    gross_gaming_revenue: Decimal
    bets: int


@dataclass(frozen=True, slots=True)
class Minutes:
    """The live chart: one point a minute, oldest first; money in the reporting currency."""

    times: list[int]
    gross_gaming_revenue: list[Decimal]
    bets: list[int]
    without_rate: tuple[str, ...]
    """Currencies that have no exchange rate and therefore are not in the revenue."""


@dataclass(frozen=True, slots=True)
class PromiseLine:
    """One promise, and what its last proof said."""

    code: str
    title: str
    meaning: str
    state: State
    verdict: str
    compared: str
    checked: str
    how: str
    """Over everything or over what was new, how long that took, and what was left to the next proof."""
    proved_at: datetime | None
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One round of `game_rounds`, with the title of its game."""

    id: UUID
    opened_at: datetime
    user_id: UUID
    game: str
    currency: str
    bet_amount: Decimal
    win_amount: Decimal
    status: str


@dataclass(frozen=True, slots=True)
class RoundLine:
    """One line of the live feed."""

    id: str
    time: str
    player_id: UUID
    player: str
    game: str
    currency: str
    bet: str
    win: str
    won: bool
    status: str


@dataclass(frozen=True, slots=True)
class PipelineView:
    """How far the warehouse is behind, in words and in figures."""

    state: State
    sentence: str
    seconds: str
    rows: str
    bytes: str
    arrived: str


def whole(number: int) -> str:
    """Return a whole number with its thousands apart: ``12,345``."""
    return f"{number:,}"


def amount_text(amount: Decimal, currency: str) -> str:
    """Return an amount at its currency's decimals, thousands apart, with a real minus sign."""
    return f"{Decimal(format_amount(amount, currency)):,}".replace("-", "−")  # noqa: RUF001 - the sign that aligns with digits


def bytes_text(count: int) -> str:
    """Return a size in the unit that a person would use."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004 - decimal units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def seconds_text(seconds: float) -> str:
    """Return how long something took: ``0.4 s``, ``41 s``."""
    if seconds < 0.1:  # noqa: PLR2004 - one digit
        return "< 0.1 s"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - two digits are enough


def ago(then: datetime, moment: datetime) -> str:
    """Return how long ago something was, coarse as people say it; the future counts as now."""
    seconds = max(0, int((moment - then).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        return f"{days} d ago"
    if hours:
        return f"{hours} h ago"
    if minutes:
        return f"{minutes} min ago"
    return f"{seconds} s ago"


def short_player(user_id: UUID) -> str:
    """Return the end of a player's id: the beginning of a UUIDv7 is a time that neighbours share."""
    return user_id.hex[-6:]


def change(today: Decimal, yesterday: Decimal | None) -> tuple[str, Direction]:
    """Return how far today is from all of yesterday, as a share of yesterday, and which way."""
    if yesterday is None or yesterday == 0:
        return "", "none"
    if today == yesterday:
        return "as yesterday", "same"
    share = abs((today - yesterday) / yesterday) * 100
    text = f"{share:.1f} %" if share < 1000 else f"× {abs(today / yesterday):.0f}"  # noqa: PLR2004, RUF001
    return text, "up" if today > yesterday else "down"


def tiles(today: Day | None, yesterday: Day | None, currency: str) -> list[Tile]:
    """Make the row of figures. A day without a row had nothing to count; ``None`` shows as zero."""
    now = today or Day(0, Decimal(0), Decimal(0), Decimal(0), None)
    before = yesterday

    def money(name: str, label: str, meaning: str, value: Decimal, previous: Decimal | None) -> Tile:
        text, direction = change(value, previous)
        shown = "none" if previous is None else amount_text(previous, currency)
        return Tile(name, label, meaning, amount_text(value, currency), currency, shown, text, direction)

    players_change, players_direction = change(
        Decimal(now.active_users), None if before is None else Decimal(before.active_users)
    )
    return [
        money(
            "ggr",
            "Gross gaming revenue",
            "Settled real-money bets less wins; a reversed bet is in neither.",
            now.gross_gaming_revenue,
            None if before is None else before.gross_gaming_revenue,
        ),
        Tile(
            "players",
            "Active players",
            "Players with at least one successful real-money bet.",
            whole(now.active_users),
            "",
            "none" if before is None else whole(before.active_users),
            players_change,
            players_direction,
        ),
        money(
            "deposits",
            "Deposits",
            "Settled on this day.",
            now.deposits_sum,
            None if before is None else before.deposits_sum,
        ),
        money(
            "withdrawals",
            "Withdrawals",
            "Paid out on this day.",
            now.withdrawals_sum,
            None if before is None else before.withdrawals_sum,
        ),
        _conversion_tile(now.conversion_rate, None if before is None else before.conversion_rate),
    ]


def _conversion_tile(today: Decimal | None, yesterday: Decimal | None) -> Tile:
    """Conversion is a share already: its change is in percentage points."""
    text = ""
    direction: Direction = "none"
    if today is not None and yesterday is not None:
        points = (today - yesterday) * 100
        text = f"{abs(points):.1f} points" if points else "as yesterday"
        direction = "up" if points > 0 else "down" if points < 0 else "same"
    return Tile(
        "conversion",
        "Conversion",
        "First deposits of the day ÷ registrations of the day.",
        "–" if today is None else f"{today * 100:.1f}",  # noqa: RUF001 - a dash for "no figure"
        "" if today is None else "%",
        "none" if yesterday is None else f"{yesterday * 100:.1f} %",
        text,
        direction,
    )


def minutes(
    rows: Iterable[MinuteRow], rates: Mapping[tuple[date, str], Decimal], moment: datetime, zone: ZoneInfo
) -> Minutes:
    """Add up the last minutes over all currencies; the last point is the minute still running.

    Each minute's money in a currency is converted with the rate of its day in the reporting
    time zone, as the marts do, and rounded once. A currency without a rate is named instead of
    added: unconverted money is never in a sum.
    """
    last = moment.astimezone(UTC).replace(second=0, microsecond=0)
    starts = [last - timedelta(minutes=back) for back in reversed(range(MINUTES_SHOWN))]
    revenue = dict.fromkeys(starts, Decimal("0.00"))
    bets = dict.fromkeys(starts, 0)
    missing: set[str] = set()
    for row in rows:
        if row.minute not in revenue:
            continue
        bets[row.minute] += row.bets
        rate = rates.get((row.minute.astimezone(zone).date(), row.currency))
        if rate is None:
            missing.add(row.currency)
        else:
            revenue[row.minute] += (row.gross_gaming_revenue * rate).quantize(CENT)
    return Minutes(
        times=[int(start.timestamp()) for start in starts],
        gross_gaming_revenue=list(revenue.values()),
        bets=list(bets.values()),
        without_rate=tuple(sorted(missing)),
    )


def promises(proofs: Iterable[KeptProof], moment: datetime) -> list[PromiseLine]:
    """Give every promise a line, proved or not: one that was never proved is not shown as held."""
    latest = {proof.promise: proof for proof in proofs}
    return [_promise(code, latest.get(code), moment) for code in PROMISES]


def _promise(code: str, proof: KeptProof | None, moment: datetime) -> PromiseLine:
    title, meaning = PROMISES[code]
    if proof is None:
        return PromiseLine(code, title, meaning, "unknown", "not proved yet", "0", "never", "", None, ())
    return PromiseLine(
        code=code,
        title=title,
        meaning=meaning,
        state="good" if proof.holds else "bad",
        verdict="holds" if proof.holds else "broken",
        compared=whole(proof.compared),
        checked=ago(proof.checked_at, moment),
        how=_how(proof),
        proved_at=proof.checked_at,
        violations=tuple(proof.violations[:3]),
    )


def _how(proof: KeptProof) -> str:
    taken = None if proof.seconds is None else seconds_text(proof.seconds)
    waiting = f"{whole(proof.waiting)} entries wait for the next" if proof.waiting else None
    return ", ".join(filter(None, (proof.scope, taken, waiting)))


def verdict(lines: Sequence[PromiseLine], moment: datetime) -> tuple[State, str, str]:
    """Return the one sentence over all promises, and how long ago the oldest of their proofs was."""
    proved = [line for line in lines if line.proved_at]
    oldest = min((line.proved_at for line in proved if line.proved_at), default=None)
    broken = [line.code for line in lines if line.state == "bad"]
    checked = "" if oldest is None else ago(oldest, moment)
    if broken:
        return "bad", f"{' and '.join(broken)} {'does' if len(broken) == 1 else 'do'} not hold", checked
    if oldest is None:
        return "unknown", "Waiting for the first proof", checked
    if len(proved) < len(lines):
        return "warning", f"{len(proved)} of {len(lines)} promises proved", checked
    if moment - oldest > PROOF_OLD:
        return "warning", f"All {len(lines)} promises held when last proved", checked
    return "good", f"All {len(lines)} promises hold", checked


def rounds(rows: Iterable[RoundRow], zone: ZoneInfo) -> list[RoundLine]:
    """Make the lines of the live feed, times in the reporting time zone."""
    return [
        RoundLine(
            id=str(row.id),
            time=row.opened_at.astimezone(zone).strftime("%H:%M:%S"),
            player_id=row.user_id,
            player=short_player(row.user_id),
            game=row.game,
            currency=row.currency,
            bet=amount_text(row.bet_amount, row.currency),
            win=amount_text(row.win_amount, row.currency) if row.win_amount else "–",  # noqa: RUF001 - a dash for nothing
            won=row.win_amount > row.bet_amount,
            status=row.status,
        )
        for row in rows
    ]


def pipeline(
    *, rows: int, rows_max: int, size_bytes: int, seconds: float, arrived_at: datetime | None, moment: datetime
) -> PipelineView:
    """Say how far ClickHouse is behind PostgreSQL's log; counting stops at ``rows_max`` rows."""
    state, sentence = _standing(rows, seconds, arrived_at)
    return PipelineView(
        state=state,
        sentence=sentence,
        seconds=f"{seconds:.1f}" if seconds < SECONDS_WITH_TENTHS else whole(int(seconds)),
        rows=f"{whole(rows)}+" if rows >= rows_max else whole(rows),
        bytes=bytes_text(size_bytes),
        arrived="nothing yet" if arrived_at is None else ago(arrived_at, moment),
    )


def _standing(rows: int, seconds: float, arrived_at: datetime | None) -> tuple[State, str]:
    if arrived_at is None and rows == 0:
        return "unknown", "Nothing has arrived yet"
    if seconds <= LAG_SECONDS_CALM:
        return "good", "The warehouse is up to date"
    if seconds <= LAG_SECONDS_LATE:
        return "warning", "The warehouse is catching up"
    return "bad", "The warehouse is behind; nothing is lost, it arrives later"
