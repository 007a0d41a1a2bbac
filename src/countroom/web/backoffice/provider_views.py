"""What the pages of providers show, as plain values. Nothing here asks anybody."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from countroom.games import masking
from countroom.games.console import MINUTES_SHOWN, ExchangeShown, Figures, KeyLine, ProviderLine
from countroom.games.dialects import Callback
from countroom.games.recording import FINE_CODES, LATE, TOMBSTONE
from countroom.players.audit import Noted
from countroom.web.backoffice.views import ago, bytes_text, whole
from countroom.web.console_calls import Answered

CHART_HEIGHT: Final = 64
BAR_WIDTH: Final = 10
SLOW_SECONDS: Final = 0.1
"""A 99th percentile from here on is shown as late."""
OUTCOMES: Final = {
    # The wallet's own codes in words; the others are shown as they are.
    "key_conflict": "an id again, with other content",
    "foreign_round": "a round of another player or currency",
    "rolled_back": "came after its reversal",
    TOMBSTONE: "reversal of something that had not come",
    LATE: "came after its reversal, accepted",
    "insufficient_funds": "not enough money",
    "no_open_session": "no open session",
    "player_blocked": "player may not bet",
    "round_closed": "bet in a settled round",
    "overloaded": "could not be written in time",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A provider in the list."""

    code: str
    title: str
    dialect: str
    is_active: bool
    games: str
    keys: str
    per_second: str
    p50: str
    p99: str
    is_slow: bool
    refused: str
    has_refused: bool
    conflicts: str
    tombstones: str
    last_call: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of a provider's page."""

    name: str
    value: str
    unit: str
    meaning: str
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute of the chart, in the picture's own units."""

    x: int
    height: float
    refused: float
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Calls by minute."""

    bars: list[Bar]
    width: int
    height: int
    most: str
    begins: str
    ends: str


@dataclass(frozen=True, slots=True)
class CountLine:
    """How often something was answered."""

    name: str
    meaning: str
    count: str
    share: str
    is_fine: bool


@dataclass(frozen=True, slots=True)
class KeyShown:
    """A valid key."""

    print: str
    origin: str
    seen: str
    moment: str


@dataclass(frozen=True, slots=True)
class ExchangeLine:
    """A raw call and its answer."""

    id: UUID
    time: str
    moment: str
    request: str
    headers: list[tuple[str, str]]
    body: str
    cut: str
    status: int
    code: str
    is_fine: bool
    answer: str
    took: str
    key: str


def lines(found: Iterable[ProviderLine], moment: datetime) -> list[Line]:
    """Make the lines of the list."""
    return [_line(one, moment) for one in found]


def _line(one: ProviderLine, moment: datetime) -> Line:
    figures = one.figures
    p99 = figures.seconds(0.99)
    return Line(
        code=one.code, title=one.title, dialect=one.dialect, is_active=one.is_active, games=whole(one.games),
        keys="unreadable" if one.keys is None else whole(one.keys), per_second=rate_text(figures.per_second),
        p50=duration_text(figures.seconds(0.5)), p99=duration_text(p99), is_slow=_is_slow(p99),
        refused=share_text(figures.refused, figures.calls), has_refused=figures.refused > 0,
        conflicts=_or_dash(figures.conflicts), tombstones=_or_dash(figures.tombstones),
        last_call="none lately" if one.last_call_at is None else ago(one.last_call_at, moment),
    )  # fmt: skip


def tiles(figures: Figures) -> list[Tile]:
    """Make the row of figures."""
    p99 = figures.seconds(0.99)
    return [
        Tile("Callbacks", rate_text(figures.per_second), "/s", "In the last minute or two, of all web processes."),
        Tile("Half answered in", duration_text(figures.seconds(0.5)), "", "Of the last hour."),
        Tile("95 % answered in", duration_text(figures.seconds(0.95)), "", "Of the last hour."),
        Tile("99 % answered in", duration_text(p99), "", "Of the last hour.", _is_slow(p99)),
        Tile("Refused", share_text(figures.refused, figures.calls), "", "Any other code than the protocol's fine."),
        Tile("Conflicts", whole(figures.conflicts), "", "Calls that contradict an earlier one.", figures.conflicts > 0),
        Tile("Tombstones", whole(figures.tombstones), "", "Reversals of what had not come."),
    ]  # fmt: skip


def chart(figures: Figures, moment: datetime, zone: ZoneInfo) -> Chart:
    """Make the bars of the last hour, the minute that is running at the right."""
    last = moment.replace(second=0, microsecond=0)
    minutes = [last - timedelta(minutes=back) for back in reversed(range(MINUTES_SHOWN))]
    most = max([calls for calls, _ in figures.by_minute.values()], default=0)
    bars = []
    for number, minute in enumerate(minutes):
        calls, refused = figures.by_minute.get(minute, (0, 0))
        scale = CHART_HEIGHT / most if most else 0.0
        title = f"{minute.astimezone(zone):%H:%M}: {whole(calls)} calls, {whole(refused)} refused"
        # Something is never nothing: a refused call among thousands is seen.
        height = max(round(calls * scale, 1), 1.5) if calls else 0.0
        shown = max(round(refused * scale, 1), 1.5) if refused else 0.0
        bars.append(Bar(number * BAR_WIDTH, height, shown, title))
    return Chart(
        bars, MINUTES_SHOWN * BAR_WIDTH, CHART_HEIGHT, whole(most), f"{minutes[0].astimezone(zone):%H:%M}",
        f"{last.astimezone(zone):%H:%M}",
    )  # fmt: skip


def answers(figures: Figures) -> list[CountLine]:
    """Make the lines of answers by action and code, the most frequent first."""
    found = sorted(figures.answers.items(), key=lambda item: (-item[1], item[0]))
    return [
        CountLine(f"{action} · {code}", "", whole(count), share_text(count, figures.calls), code in FINE_CODES)
        for (action, code), count in found
    ]


def outcomes(figures: Figures) -> list[CountLine]:
    """Make the lines of what the wallet did not simply do."""
    found = sorted(figures.refusals.items(), key=lambda item: (-item[1], item[0]))
    return [
        CountLine(code, OUTCOMES.get(code, ""), whole(count), share_text(count, figures.calls), is_fine=False)
        for code, count in found
    ]


def keys(found: Iterable[KeyLine], moment: datetime, zone: ZoneInfo) -> list[KeyShown]:
    """Make the lines of keys."""
    return [
        KeyShown(
            key.print,
            "there from the beginning"
            if key.added_at is None
            else f"added {_day(key.added_at, zone)} by {key.added_by}",
            "signed none of the kept calls" if key.seen_at is None else f"signed a call {ago(key.seen_at, moment)}",
            key.seen_at.isoformat(timespec="seconds") if key.seen_at else "",
        )
        for key in found
    ]


def exchanges(found: Iterable[ExchangeShown], code: str, zone: ZoneInfo) -> list[ExchangeLine]:
    """Make the lines of the last calls."""
    return [_exchange(one, code, zone) for one in found]


def _exchange(one: ExchangeShown, code: str, zone: ZoneInfo) -> ExchangeLine:
    local = one.answered_at.astimezone(zone)
    size = "larger than the protocol allows, and not read" if one.body_bytes is None else bytes_text(one.body_bytes)
    is_cut = one.body_bytes is None or len(one.body.encode()) + 40 < one.body_bytes
    return ExchangeLine(
        id=one.id,
        time=f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}",
        moment=one.answered_at.isoformat(timespec="milliseconds"),
        request=address(code, one.method, one.action, one.query),
        headers=one.headers,
        body=indented(one.body),
        cut=f"the beginning of {size}" if is_cut and one.body_bytes is not None else size if is_cut else "",
        status=one.status,
        code=one.code,
        is_fine=one.code in FINE_CODES,
        answer=indented(one.answer),
        took=duration_text(one.microseconds / 1_000_000),
        key="" if one.key_print is None else one.key_print,
    )


def sent(code: str, callback: Callback, answered: Answered) -> dict[str, object]:
    """Return what a test call's result shows: masked like everything else."""
    return {
        "request": address(code, callback.method, callback.action, masking.query(callback.query)),
        "headers": masking.headers(callback.headers),
        "body": indented(masking.body(callback.body or b"")),
        "status": answered.status,
        "answer": indented(masking.body(answered.body)),
        "took": duration_text(answered.seconds),
    }


def noted(found: Sequence[Noted], zone: ZoneInfo) -> list[tuple[str, str, str]]:
    """Return who did what, and when, newest first."""
    return [
        (one.who, f"{one.action} {one.details.get('key', '')}".strip(),
         f"{one.at.astimezone(zone).day} {one.at.astimezone(zone):%b %Y, %H:%M}")
        for one in reversed(found)
    ]  # fmt: skip


def address(code: str, method: str, action: str, query: str) -> str:
    """Return the first line of a request."""
    return f"{method} /providers/{code}/{action}{'?' if query else ''}{query}"


def indented(content: str) -> str:
    """Return JSON with a member a line and every literal as it came, and anything else as it is."""
    try:
        return msgspec.json.format(content, indent=2)
    except (msgspec.MsgspecError, RecursionError):
        return content


def rate_text(per_second: float) -> str:
    """Return a rate: ``1,204``, ``3.4``, ``0``."""
    if per_second >= 100:  # noqa: PLR2004 - three digits are enough
        return whole(round(per_second))
    return f"{per_second:.1f}" if per_second >= 0.05 else "0"  # noqa: PLR2004 - one digit


def duration_text(seconds: float | None) -> str:
    """Return how long something took, in milliseconds: ``4.2 ms``, ``340 ms``."""
    if seconds is None:
        return "–"  # noqa: RUF001 - a dash for "no figure"
    milliseconds = seconds * 1000
    return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"  # noqa: PLR2004 - two digits


def share_text(part: int, total: int) -> str:
    """Return a share in percent; something is never shown as nothing."""
    if not part or not total:
        return "0 %" if total else "–"  # noqa: RUF001 - a dash for "no figure"
    share = part * 100 / total
    return f"{share:.1f} %" if share >= 0.1 else "< 0.1 %"  # noqa: PLR2004 - one digit


def _is_slow(seconds: float | None) -> bool:
    return seconds is not None and seconds >= SLOW_SECONDS


def _day(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{local.day} {local:%b %Y}"


def _or_dash(count: int) -> str:
    return whole(count) if count else "–"  # noqa: RUF001 - a dash for nothing
