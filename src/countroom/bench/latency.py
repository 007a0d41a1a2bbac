"""How long a fact needs from its commit until ClickHouse shows it, while bets are made at half the possible rate."""

import asyncio
import threading
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Final

import psycopg2
import uvloop

from countroom import clickhouse
from countroom.bench.yardstick import PROVIDER
from countroom.postgres import Database
from countroom.settings import Settings
from countroom.wallet.batch import Batcher
from countroom.wallet.commands import Bet, Command, Play

CALLERS: Final = 128
FULL_SECONDS: Final = 5.0
"""How long bets are made as fast as they can be, to know what half of it is."""
POLL_SECONDS: Final = 0.01
PAUSE_SECONDS: Final = 0.05
"""Between two canaries."""
CATCH_UP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Visible:
    """What was measured."""

    full_per_s: float
    bets_per_s: float
    p50_ms: float
    p99_ms: float
    canaries: int


def measure(settings: Settings, seconds: float) -> Visible:
    """Measure for so many seconds, with the facts carried by somebody else meanwhile."""
    assert settings.database_url
    full = uvloop.run(_bet(settings.database_url, FULL_SECONDS, None)) / FULL_SECONDS
    time.sleep(CATCH_UP_SECONDS)
    milliseconds: list[float] = []
    done = threading.Event()
    watching = threading.Thread(target=_watch, args=(settings, done, milliseconds))
    watching.start()
    try:
        made = uvloop.run(_bet(settings.database_url, seconds, full / 2))
    finally:
        done.set()
        watching.join()
    milliseconds.sort()
    seen = len(milliseconds)
    return Visible(full, made / seconds, milliseconds[seen // 2], milliseconds[int(seen * 0.99)], seen)


async def _bet(database_url: str, seconds: float, per_second: float | None) -> int:
    """Make bets, so many a second or as many as can be; return how many were made."""
    database = await Database.connect(database_url, size_max=2, point_reads_only=True)
    players = await database.fetch("SELECT user_id, session_id, game_id FROM bench_players ORDER BY n")
    run, numbers = uuid.uuid4().hex[:12], count()
    since = time.perf_counter()
    made = 0

    async def call(batcher: Batcher) -> None:
        nonlocal made
        while time.perf_counter() - since < seconds:
            number = next(numbers)
            if per_second is not None:
                await asyncio.sleep(max(since + number / per_second - time.perf_counter(), 0))
            player = players[number % len(players)]
            play = Play(player["game_id"], f"{run}-{number}", player["session_id"])
            bet = Bet(f"{run}-{number}", Decimal("0.10"))
            await batcher.submit(Command(PROVIDER, player["user_id"], "EUR", (bet,), play))
            made += 1

    async with Batcher(database, lanes=2) as batcher:
        await asyncio.gather(*(call(batcher) for _ in range(CALLERS)))
    await database.close()
    return made


def _watch(settings: Settings, done: threading.Event, milliseconds: list[float]) -> None:
    """Commit a row, and look until ClickHouse shows it; again and again."""
    assert settings.database_url
    assert settings.clickhouse_url
    with (
        closing(psycopg2.connect(settings.database_url)) as connection,
        closing(clickhouse.connect(settings.clickhouse_url)) as client,
    ):
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not done.wait(PAUSE_SECONDS):
                cursor.execute(
                    "INSERT INTO canaries (id, sent_at) VALUES (gen_random_uuid(), clock_timestamp()) "
                    "RETURNING to_char(sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
                )
                ((sent_at,),) = cursor.fetchall()
                begun = time.perf_counter()
                while not client.query(
                    "SELECT 1 FROM canaries WHERE sent_at = toDateTime64({at:String}, 6, 'UTC') LIMIT 1",
                    parameters={"at": sent_at},
                ).result_rows:
                    if done.wait(POLL_SECONDS) and time.perf_counter() - begun > CATCH_UP_SECONDS:
                        return
                milliseconds.append((time.perf_counter() - begun) * 1e3)
