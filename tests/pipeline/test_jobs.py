"""The timers: KPIs follow what arrives, promises are proved, and a worker stops when it is told to."""

import asyncio
import os
import signal

from pipeline_rows import books, running_pipeline, warehouse

from countroom import jobs
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
