"""The timers: KPIs follow what arrives, promises are proved, and a worker stops when it is told to."""

import asyncio
import os
import signal

import pytest
from pipeline_rows import books, running_pipeline, warehouse

from casino import open_casino
from countroom import jobs
from countroom.postgres import Database
from countroom.settings import Settings


async def test_a_worker_refreshes_what_changed_and_stops_at_once(settings: Settings) -> None:
    assert settings.database_url
    await asyncio.gather(jobs.install(settings.database_url), jobs.install(settings.database_url))
    with books(settings) as book, running_pipeline(settings):
        book.move(book.player(), "bet", "2.00")
        await asyncio.to_thread(book.wait_for_copy, settings)
        worker = asyncio.create_task(jobs.run(settings))
        with warehouse(settings) as client:
            async with asyncio.timeout(40):
                while True:
                    if client.command("EXISTS TABLE daily_kpi") and client.query("SELECT 1 FROM daily_kpi").result_rows:
                        break
                    assert not worker.done()
                    await asyncio.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await worker


async def test_the_books_are_proved_on_their_timer_first_in_full_and_wait_for_no_warehouse(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a game session that nobody plays is ended on another."""
    assert settings.database_url
    monkeypatch.setattr(jobs, "PROVE_BOOKS", "* * * * * */1")
    monkeypatch.setattr(jobs, "END_SESSIONS", "* * * * * */1")
    async with open_casino(settings.database_url) as casino:
        await casino.player()
        await casino.database.pool.execute("UPDATE game_sessions SET opened_at = now() - interval '31 minutes'")
    database = await Database.connect(settings.database_url, size_max=1)
    worker = asyncio.create_task(jobs.run(settings))
    async with asyncio.timeout(40):
        while True:
            proved = await database.fetch("SELECT promise, scope FROM proofs ORDER BY checked_at")
            playing = await database.fetchrow("SELECT FROM game_sessions WHERE status = 'open'")
            if len(proved) >= 15 and playing is None:
                break
            assert not worker.done()
            await asyncio.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(40):
        await worker
    await database.close()

    of_the_books = [(row["promise"], row["scope"]) for row in proved if row["promise"] != "P6"]
    promises = ["P1", "P2", "P3", "P4", "P5"]
    assert sorted(of_the_books[:5]) == [(promise, "full") for promise in promises]
    assert sorted(of_the_books[5:10]) == [(promise, "incremental") for promise in promises]
