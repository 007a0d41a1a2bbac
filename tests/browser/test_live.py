"""The dashboard of a casino that `countroom up` has started and bots are playing in: what a stranger sees.

With PICTURES=1 the README's pictures are taken here, after some minutes of play.
"""

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, Page, expect

import whole_casino as whole_casino_module
from browser.window import Theme, visiting
from whole_casino import WholeCasino, whole_casino

PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
WANTED: Final = bool(os.environ.get("PICTURES"))
WINDOWS: Final[dict[str, tuple[int, int]]] = {"desktop": (1280, 900), "phone": (390, 844)}
# The pictures want minutes of play; a test of every day does not.
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Iterator[WholeCasino]:
    monkeypatch.setattr(whole_casino_module, "BACK_SECONDS", 600.0)
    with whole_casino(bots=True) as casino:
        casino.play_on(4_000 if WANTED else 120)
        yield casino


async def test_a_stranger_sees_the_money_of_the_bots_arrive(live: WholeCasino, browser: Browser) -> None:
    proved = await asyncio.to_thread(live.check)
    assert proved.returncode == 0, proved.stdout
    shown = re.search(r"sign in as\s+(\S+)\s+password (\S+)", live.said.read_text())
    assert shown is not None
    address = f"http://127.0.0.1:{live.port}"
    for window, (width, height) in WINDOWS.items():
        for theme in THEMES if WANTED else THEMES[:1]:
            async with visiting(browser, address, width=width, height=height, theme=theme) as visitor:
                await visitor.sign_in(shown[1], shown[2])
                page = visitor.page
                for tile in ("#tile-ggr", "#tile-players", "#tile-deposits"):
                    await expect(page.locator(f"{tile} .value")).to_have_text(re.compile("[1-9]"))
                await expect(page.locator("#verdict")).to_contain_text("All 6 promises hold")
                assert await page.locator("#rounds [id^=round-]").count() > 0
                assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
                if WANTED:
                    await _take(page, f"dashboard-{window}-{theme}.png")


async def _take(page: Page, name: str) -> None:
    await page.wait_for_timeout(1_000)  # the chart is drawn
    await page.screenshot(path=PICTURES / name, full_page=True)
