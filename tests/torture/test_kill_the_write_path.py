"""Whatever is killed in the middle of a batch: every acknowledged bet is there, none is there twice, and asking
again for any of them gives the first answer, ids and balance as they were.

PostgreSQL, which flushes what it commits, and the server are killed in turn with kill -9 while a provider bets through
HTTP as fast as it can. `make test` does so five times, `make torture` as often as BATCH_KILLS says.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest

from casino import Casino, Player, open_casino
from countroom.embedded import postgres, stores
from countroom.embedded.postgres import Postgres
from countroom.schema import migrate
from countroom.settings import Settings, load
from folders import data_folder
from two_servers import Provider, Server, servers

LOG: Final = logging.getLogger("torture")
KILLS: Final = int(os.environ.get("BATCH_KILLS", "5"))
SEED: Final = int(os.environ.get("SEED", random.SystemRandom().randrange(1_000_000)))
CALLERS: Final = 24
PLAYERS: Final = 12
BETS: Final = (80, 240)
"""Asked for between two kills, at least and at most."""
BACK_SECONDS: Final = 60.0


@pytest.fixture
def own_stores(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Settings, Postgres]]:
    """Stores that may be killed, and that flush what they commit."""
    monkeypatch.setitem(postgres.SETTINGS, "fsync", "on")
    with data_folder() as folder:
        nowhere = "http://127.0.0.1:9/none"  # no figure is asked for
        with stores.owned(load({"COUNTROOM_DATA": str(folder), "CLICKHOUSE_URL": nowhere}), print) as held:
            held.start()
            database = held.members["database_url"]
            assert isinstance(database, Postgres)
            yield held.settings, database


class Journal:
    """What a provider has asked for, and what it was told: None where no answer came."""

    def __init__(self, provider: Provider, players: list[Player]) -> None:
        self.provider, self.players = provider, players
        self.told: dict[str, Any] = {}
        self.asked: dict[str, Player] = {}

    async def ask(self, key: str) -> tuple[int, Any]:
        """Bet, and win in the same call; 0 where no answer comes."""
        with contextlib.suppress(httpx.HTTPError, json.JSONDecodeError):
            status, answer = await self.provider.bet_win(
                0, self.asked[key], ("bet", f"{key}-b", "1.00"), ("win", f"{key}-w", "0.40"), round_id=key
            )
            assert status in {200, 500}, answer  # 500: to be tried again
            return status, answer
        return 0, None

    async def fire(self, name: str, enough: int) -> list[str]:
        """Bet with all callers at once; return the keys when so many have been asked for, and go on until killed."""
        before = len(self.told)
        self.enough, self.over = asyncio.Event(), asyncio.Event()

        async def call(caller: int) -> None:
            """Bet until an answer fails to come."""
            for number in itertools.count():
                key = f"{name}-{caller}-{number}"
                self.asked[key] = self.players[(caller + number) % len(self.players)]
                self.told[key] = None
                if len(self.told) - before >= enough:
                    self.enough.set()
                status, answer = await self.ask(key)
                if status == 200:
                    self.told[key] = answer
                if status != 200 or self.over.is_set():
                    return

        await asyncio.gather(*(call(caller) for caller in range(CALLERS)))
        return list(self.told)[before:]

    async def ask_again(self, keys: list[str]) -> None:
        """Ask for keys anew, those included whose first call was cut off, until each has an answer: its first one."""
        deadline = time.monotonic() + BACK_SECONDS

        async def again(key: str) -> None:
            while True:
                status, answer = await self.ask(key)
                if status == 200:
                    break
                assert time.monotonic() < deadline, f"no answer for {key}: {answer}"
                await asyncio.sleep(0.1)
            assert self.told[key] in (None, answer)
            self.told[key] = answer

        for start in range(0, len(keys), CALLERS):
            await asyncio.gather(*(again(key) for key in keys[start : start + CALLERS]))


@pytest.mark.timeout(0)
async def test_every_acknowledged_bet_is_there_once_whatever_is_killed_in_mid_batch(
    own_stores: tuple[Settings, Postgres], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    settings, database = own_stores
    chance = random.Random(SEED)  # noqa: S311 - a dice, not a secret
    LOG.info("SEED=%d BATCH_KILLS=%d", SEED, KILLS)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    assert settings.database_url
    await migrate.apply(settings.database_url)
    async with open_casino(settings.database_url) as casino:
        players = [await casino.player(main="100000.00") for _ in range(PLAYERS)]
    with servers(settings, tmp_path, count=1) as (server,):
        async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
            journal = Journal(Provider(http, [server]), players)
            for number in range(KILLS):
                victim = ("server", "PostgreSQL")[number % 2]
                firing = asyncio.create_task(journal.fire(str(number), chance.randint(*BETS)))
                await asyncio.sleep(0)
                await journal.enough.wait()
                await asyncio.to_thread(_kill_and_start, victim, server, database)
                journal.over.set()
                keys = await firing
                cut_off = [key for key in keys if journal.told[key] is None]
                there = await _count(settings.database_url, cut_off)
                LOG.info(
                    "%d. killed %s: of %d calls %d had no answer, %d of these were committed",
                    number + 1, victim, len(keys), len(cut_off), there,
                )  # fmt: skip
                await journal.ask_again(keys)
            await journal.ask_again(list(journal.told))
    async with open_casino(settings.database_url) as casino:
        await _is_there_once(casino, journal)
        await casino.check_books()
    record_property(
        "ran", f"{KILLS} times kill -9 in mid-batch, SEED={SEED}: {len(journal.told):,} bets there, once each"
    )


def _kill_and_start(victim: str, server: Server, database: Postgres) -> None:
    if victim == "server":
        server.kill()
        server.start()
    else:
        assert database.process is not None
        database.process.kill()
        database.process.wait(10)
        database.start()
    server.wait_until_ready()


async def _count(database_url: str, keys: list[str]) -> int:
    """Count the bets that are there."""
    connection = await asyncpg.connect(database_url)
    try:
        names = [f"sandbox:{key}-b" for key in keys]
        return int(await connection.fetchval("SELECT count(*) FROM transactions WHERE external_id = ANY($1)", names))
    finally:
        await connection.close()


async def _is_there_once(casino: Casino, journal: Journal) -> None:
    rows = await casino.database.fetch(
        "SELECT external_id, id::text, count(*) OVER (PARTITION BY external_id) AS times FROM transactions "
        "WHERE type IN ('bet', 'win')"
    )
    there = {row["external_id"]: row["id"] for row in rows}
    assert {row["times"] for row in rows} == {1}
    told = {
        f"sandbox:{transaction['id_provider']}": transaction["id"]
        for answer in journal.told.values()
        for transaction in answer["transactions"]
    }
    assert there == told
