"""The parts of the dashboard: each asks its store and gives its template the values.

ClickHouse may be away. Then a part gives None, its template says so, and the rest goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from litestar.datastructures import State

from countroom.clock import now
from countroom.proof import latest, newest_of_each
from countroom.refusal import Refusal
from countroom.settings import Settings
from countroom.warehouse import lag
from countroom.web.backoffice import queries, views, warehouse

WAREHOUSE_SECONDS: Final = 3.0
"""A page waits no longer for ClickHouse than a person would."""
PLAYING_MINUTES: Final = 5
"""Whoever bet within these minutes is playing."""
SESSION_HOURS: Final = 12
"""A game session that was opened longer ago is forgotten rather than open."""
ROUNDS_SHOWN: Final = 8

Values = Mapping[str, Any]
Answer = TypeVar("Answer")

_log = structlog.get_logger()


async def verdict(state: State) -> Values:
    """The one sentence over all promises."""
    lines = await _promise_lines(state)
    standing, sentence, checked = views.verdict(lines, now())
    return {"verdict_state": standing, "verdict_text": sentence, "verdict_checked": checked}


async def promises(state: State) -> Values:
    """Each promise with its last proof."""
    return {"promises": await _promise_lines(state)}


async def tiles(state: State) -> Values:
    """The figures of today and yesterday, from `daily_kpi`."""
    settings: Settings = state.settings
    today = now().astimezone(ZoneInfo(settings.reporting_time_zone)).date()
    yesterday = today - timedelta(days=1)
    days, refused = await asyncio.gather(
        _ask(state, lambda client: warehouse.days(client, yesterday, today)),
        queries.refused_days(state.database, yesterday),
    )
    shown = None if days is None else views.tiles(days.get(today), days.get(yesterday), settings.reporting_currency)
    return {"tiles": shown, "refused": refused}


async def playing(state: State) -> Values:
    """Who is playing, and how much."""
    moment = now()
    opened_since = UUID(int=int((moment - timedelta(hours=SESSION_HOURS)).timestamp() * 1000) << 80)
    sessions, players, rows = await asyncio.gather(
        queries.count_open_sessions(state.database, opened_since),
        _ask(state, lambda client: warehouse.players_with_a_bet(client, moment - timedelta(minutes=PLAYING_MINUTES))),
        _ask(state, lambda client: warehouse.minutes(client, moment - timedelta(minutes=2))),
    )
    full_minute = moment.replace(second=0, microsecond=0) - timedelta(minutes=1)
    bets = None if rows is None else sum(row.bets for row in rows if row.minute == full_minute)
    return {
        "playing": None if players is None else views.whole(players),
        "open_sessions": views.whole(sessions),
        "bets_last_minute": "–" if bets is None else views.whole(bets),  # noqa: RUF001 - a dash for "no figure"
    }


async def pipeline(state: State) -> Values:
    """How far ClickHouse is behind the log."""
    behind = await _ask(state, lambda client: lag.read(state.database, client))
    if behind is None:
        return {"pipeline": None}
    view = views.pipeline(
        rows=behind.rows,
        rows_max=lag.ROWS_MAX,
        size_bytes=behind.bytes,
        seconds=behind.seconds,
        arrived_at=behind.arrived_at,
        moment=now(),
    )
    return {"pipeline": view}


async def rounds(state: State) -> Values:
    """The rounds that began last."""
    rows = await queries.last_rounds(state.database, ROUNDS_SHOWN)
    return {"rounds": views.rounds(rows, ZoneInfo(state.settings.reporting_time_zone))}


PARTS: Final[Mapping[str, Callable[[State], Awaitable[Values]]]] = {
    "verdict": verdict,
    "tiles": tiles,
    "now": playing,
    "pipeline": pipeline,
    "rounds": rounds,
    "promises": promises,
}
"""Each part by the name of its fragment: the file of its template, the end of its address."""


async def everything(state: State) -> Values:
    """The values of all parts, asked for at once."""
    settings: Settings = state.settings
    today = now().astimezone(ZoneInfo(settings.reporting_time_zone))
    values: dict[str, Any] = {
        "currency": settings.reporting_currency,
        "zone": settings.reporting_time_zone,
        "today": f"{today:%A} {today.day} {today:%B}",
    }
    await _ask(state, lambda client: client.ping())  # so that not every part opens the connection
    for part in await asyncio.gather(*(part(state) for part in PARTS.values())):
        values |= part
    return values


async def chart(state: State) -> Values:
    """The last minutes for the live chart; money as decimal strings in the reporting currency."""
    settings: Settings = state.settings
    moment = now()
    since = moment.replace(second=0, microsecond=0) - timedelta(minutes=views.MINUTES_SHOWN - 1)
    zone = ZoneInfo(settings.reporting_time_zone)
    days = [since.astimezone(zone).date(), moment.astimezone(zone).date()]
    rows, rates = await asyncio.gather(
        _ask(state, lambda client: warehouse.minutes(client, since)),
        queries.rates(state.database, settings.reporting_currency, days),
    )
    if rows is None:
        note = "The warehouse (ClickHouse) does not answer. The chart comes back with it; play and payments go on."
        return {"available": False, "note": note}
    minutes = views.minutes(rows, rates, moment, zone)
    missing = ", ".join(minutes.without_rate)
    return {
        "available": True,
        "note": f"Without an exchange rate, and therefore not in the revenue: {missing}." if missing else None,
        "times": minutes.times,
        "gross_gaming_revenue": [str(amount) for amount in minutes.gross_gaming_revenue],
        "bets": minutes.bets,
    }


async def _promise_lines(state: State) -> list[views.PromiseLine]:
    return views.promises(newest_of_each(await latest(state.database)), now())


async def _ask(state: State, question: Callable[[AsyncClient], Awaitable[Answer]]) -> Answer | None:
    """Ask ClickHouse, or give None when it does not answer in time."""
    try:
        async with asyncio.timeout(WAREHOUSE_SECONDS):
            return await question(await state.warehouse())
    except (ClickHouseError, OSError, Refusal) as error:  # TimeoutError is an OSError
        _log.info("the warehouse does not answer", error=type(error).__name__)
        return None
