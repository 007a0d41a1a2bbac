"""The pipeline's page, looked at in a real browser while whoever loads is killed.

With PICTURES=1 facts go through Kafka, a loader is killed, and the pictures of docs/pipeline.md are taken.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, Page, expect

from browser.played import Casino
from browser.window import Visitor, visiting
from countroom import clock
from countroom.events import pulse, relay
from countroom.events.wal import Message
from countroom.kafka import Configuration
from countroom.warehouse import dead_letters

PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
WANTED: Final = bool(os.environ.get("PICTURES"))
PATIENCE_MS: Final = 40_000
LOADER: Final = "from countroom.warehouse import consume; consume.run(load(os.environ), {SERVERS!r}, threading.Event())"
PIPELINE: Final = "from countroom.warehouse import pipeline; pipeline.run(load(os.environ), threading.Event())"


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Configuration | None:
    """A Kafka where pictures are wanted: an everyday test does without its start."""
    return request.getfixturevalue("brokers") if WANTED else None


@contextmanager
def moving(casino: Casino, servers: Configuration | None) -> Iterator[subprocess.Popen[bytes]]:
    """Whoever brings facts into ClickHouse, in a process of its own."""
    program = PIPELINE if servers is None else LOADER.replace("{SERVERS!r}", repr(dict(servers)))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DATABASE_URL": casino.settings.database_url or "",
        "CLICKHOUSE_URL": casino.settings.clickhouse_url or "",
    }
    command = [sys.executable, "-c", f"import os, threading; from countroom.settings import load; {program}"]
    started = subprocess.Popen(command, env=environment)
    try:
        yield started
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()


@contextmanager
def around(casino: Casino, servers: Configuration | None) -> Iterator[None]:
    """What runs beside it: the worker, which sends canaries, too, and with Kafka the relay."""
    assert casino.settings.database_url
    stop = threading.Event()
    with ExitStack() as running:
        running.enter_context(pulse.beating(casino.settings.database_url, "work"))
        if servers is not None:
            thread = threading.Thread(target=relay.run, args=(casino.settings.database_url, servers, stop))
            thread.start()
            running.callback(thread.join)
        running.callback(stop.set)
        yield


async def test_the_page_says_who_is_gone_and_how_far_behind_the_warehouse_is(
    casino: Casino, address: str, browser: Browser, servers: Configuration | None
) -> None:
    await casino.register_players(3)
    mover = "#stage-pipeline" if servers is None else "#stage-load"
    with around(casino, servers):
        async with visiting(browser, address) as visitor:
            page = visitor.page
            await visitor.sign_in(casino.email, casino.password)
            await page.get_by_role("link", name="Pipeline", exact=True).click()
            await expect(page.get_by_role("heading", name="Pipeline", exact=True)).to_be_visible()
            with moving(casino, servers) as process:
                await _says(page, mover, "running")
                await _says(page, "#way-verdict", re.compile("Facts are visible .* after their commit"))
                if WANTED:
                    await _minutes_of_play(casino, 50)
                    await _take(visitor, "pipeline")
                process.send_signal(signal.SIGKILL)
                await asyncio.to_thread(process.wait)
                await _says(page, mover, "gone, last heard")
                await _says(page, "#way-verdict", re.compile("No (pipeline|loader) runs; facts wait in"))
                await _says(page, "#stage-clickhouse .value", re.compile(r"^([3-9]\.\d|[1-9]\d+)$"))
                if WANTED:
                    await _minutes_of_play(casino, 25)
                    await _take(visitor, "pipeline-loader-killed")
            with moving(casino, servers):
                await _says(page, mover, "running")
                await _says(page, "#way-verdict", re.compile("Facts are visible .* after their commit"))
                await _says(page, ".processes", "gone, replaced")
                await expect(page.locator("#read-lag")).to_contain_text("now")
                for width in (320, 390, 768, 1024, 1280):
                    await page.set_viewport_size({"width": width, "height": 900})
                    assert (width, await page.evaluate("document.documentElement.scrollWidth > innerWidth")) == (
                        width,
                        False,
                    )
                await page.set_viewport_size({"width": 1280, "height": 900})
                await _settle_letters(casino, page)


async def _settle_letters(casino: Casino, page: Page) -> None:
    assert casino.settings.database_url
    good = (
        f'{{"id":"{clock.new_id()}","country":"MT","status":"active","kyc_status":"pending","created_at":'
        '"2026-01-03T00:00:00.000000Z","updated_at":"2026-01-03T00:00:00.000000Z","__deleted":"false","__op":"c",'
        '"__lsn":7,"__ts_us":1}'
    )
    keep = dead_letters.DeadLetters(casino.settings.database_url).keep
    await asyncio.to_thread(keep, Message("users", 7, good.encode()), "refused while a table was wrong")
    await asyncio.to_thread(keep, Message("users", 8, b'{"id": <script>\0'), "breaks the contract: it is no JSON")
    await _says(page, "#open-letters", "2")
    await page.reload()
    await page.get_by_role("button", name="Try all again").click()
    await expect(page.get_by_role("status").filter(has_text="1 stored, 1 still cannot be")).to_be_visible()
    await page.locator("#letters a").click()
    await expect(page.locator(".message")).to_have_text('{"id": <script>\\x00')
    if WANTED:
        await page.screenshot(path=PICTURES / "dead-letter-desktop-light.png", full_page=True)
    await page.get_by_label("Why it will never be stored").fill("made by a test")
    await page.get_by_role("button", name="Discard").click()
    await expect(page.locator("#outcome")).to_have_text("discarded")
    await expect(page.locator(".noted")).to_contain_text("dead letter discarded, by Administrator")
    await page.get_by_role("link", name="Pipeline", exact=True).first.click()
    await expect(page.locator("#letters")).to_contain_text("None: every message could be stored")


async def _says(page: Page, place: str, text: str | re.Pattern[str]) -> None:
    await expect(page.locator(place)).to_contain_text(text, timeout=PATIENCE_MS)


async def _minutes_of_play(casino: Casino, seconds: int) -> None:
    for _ in range(seconds * 2):
        await casino.play_round()
        await asyncio.sleep(0.5)


async def _take(visitor: Visitor, name: str) -> None:
    page = visitor.page
    for window, width, height in (("desktop", 1280, 900), ("phone", 390, 844)):
        await page.set_viewport_size({"width": width, "height": height})
        for theme in ("light", "dark"):
            await page.emulate_media(color_scheme=theme)
            await page.wait_for_timeout(2_500)
            await page.screenshot(path=PICTURES / f"{name}-{window}-{theme}.png", full_page=True)
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 1280, "height": 900})
