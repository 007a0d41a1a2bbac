"""A casino in every state that the dashboard may meet, its address, and a browser.

The browser is started once and belongs to the event loop in which that was done: the tests of this folder share it.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from browser.played import Casino, open_casino
from browser.window import ARGUMENTS, CHROMIUM, PATIENCE_SECONDS, serving
from countroom import clickhouse
from countroom.marts import refresh
from countroom.settings import Settings
from countroom.warehouse import pipeline
from patience import until


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in one event loop."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(loop_scope="session")
async def casino(settings: Settings) -> AsyncIterator[Casino]:
    """An empty casino: games, rates and an administrator; nobody has played."""
    opened = await open_casino(settings)
    yield opened
    await opened.database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def played(casino: Casino) -> AsyncIterator[Casino]:
    """A casino after two days of play, all of it counted; the pipeline goes on carrying."""
    await casino.register_players(48)
    await casino.play(bets_a_minute=24)
    for _ in range(12):
        await casino.play_round()
    await casino.prove()
    with _pipeline(casino.settings):
        await asyncio.to_thread(_wait_until_arrived, casino.settings)
        await asyncio.to_thread(refresh.refresh, casino.settings)
        yield casino


@pytest.fixture
def address(casino: Casino) -> Iterator[str]:
    with serving(casino.settings) as served:
        yield served


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        await chromium.close()


@contextmanager
def _pipeline(settings: Settings) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=pipeline.run, args=(settings, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def _wait_until_arrived(settings: Settings) -> None:
    assert settings.database_url
    assert settings.clickhouse_url
    with closing(psycopg2.connect(settings.database_url)) as books, books.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM transactions")
        committed = cursor.fetchone()
    assert committed is not None
    with closing(clickhouse.connect(settings.clickhouse_url)) as client:
        until(lambda: client.command("SELECT count() FROM events_transactions FINAL") == committed[0])
