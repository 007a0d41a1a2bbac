"""The pages of reconciliation in a real browser: a report that agrees, one that does not, one that cannot be read."""

import csv
import io
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, Page, expect

import casino as wallet_casino
from browser.window import serving, visiting
from casino import Casino, Player
from countroom.players import staff
from countroom.settings import Settings
from countroom.warehouse import schema

PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
WANTED: Final = bool(os.environ.get("PICTURES"))
HEAD: Final = "transaction_id,type,status,amount,currency,round_id,account_id"
HOSTILE: Final = "<script>document.title='taken'</script><b>'"


class Desk:
    def __init__(self, casino: Casino, settings: Settings, door: tuple[str, str]) -> None:
        self.casino = casino
        self.settings = settings
        self.door = door


@pytest_asyncio.fixture(loop_scope="session")
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    assert settings.database_url
    assert settings.clickhouse_url
    schema.migrate(settings.clickhouse_url)
    async with wallet_casino.open_casino(settings.database_url) as opened:
        door = await staff.ensure_first(opened.database)
        assert door is not None
        yield Desk(opened, msgspec.structs.replace(settings, secret_key=opened.secret_key), door)


@pytest.fixture
def address(desk: Desk) -> Iterator[str]:
    with serving(desk.settings) as served:
        yield served


async def _played(desk: Desk) -> tuple[Player, list[str]]:
    """A player's rounds, and the lines in which the provider should report them."""
    player = await desk.casino.player(main="200.00")
    lines = []
    for number in range(12):
        key, round_key = f"7c1e{number:04}", f"r-20{number:02}"
        await player.bet("2.50", f"{key}-bet", round_key=round_key)
        lines.append(f"{key}-bet,bet,success,2.50,EUR,{round_key},{player.id}")
        if number % 3 == 0:
            await player.win("4.00", f"{key}-win", round_key=round_key)
            lines.append(f"{key}-win,win,success,4.00,EUR,{round_key},{player.id}")
    await player.reverse("7c1e0011-bet", "7c1e0011-undo", round_key="r-2011")
    return player, lines


async def test_reports_are_compared_and_their_differences_looked_at(desk: Desk, address: str, browser: Browser) -> None:
    _, lines = await _played(desk)
    day = str(datetime.now(UTC).date())
    agreeing = [line.replace("success", "cancelled") if "0011" in line else line for line in lines]
    wrong = [*agreeing[1:6], agreeing[6].replace("2.50", "2.05"), *agreeing[7:-1], lines[-1]]
    wrong.append(f"{'7c1e9999-win' if WANTED else HOSTILE},win,success,9.00,EUR,r-9999,nobody")
    async with visiting(browser, address) as visitor:
        await visitor.sign_in(*desk.door)
        page = visitor.page
        await page.get_by_role("link", name="Reconciliation").click()
        await expect(page.locator(".empty")).to_have_text("No report has been compared yet.")

        await _compare(page, day, "sandbox-agreeing.csv", agreeing)
        await expect(page.locator(".verdict")).to_have_text("Both ledgers agree")
        await expect(page.locator("#matched")).to_have_text("16")
        await expect(page.locator(".empty")).to_contain_text("equal to the cent")
        await _no_overflow(page)

        await page.get_by_role("link", name="Reconciliation").last.click()
        await _compare(page, day, "sandbox-wrong.csv", wrong)
        await expect(page.locator(".verdict")).to_have_text("4 differences")
        await expect(page.locator(".differences > li")).to_have_count(4)
        await expect(page.locator("#difference-1 .transaction")).to_have_text("7c1e9999-win" if WANTED else HOSTILE)
        await page.locator("#difference-2 summary").click()
        await page.get_by_label("What was done about 7c1e0000-bet").fill("Asked them, ticket 4711")
        await page.locator("#difference-2").get_by_role("button", name="Keep").click()
        await expect(page.locator("#difference-2 .noted-line")).to_contain_text("Asked them, ticket 4711")
        assert "taken" not in await page.title()
        await _no_overflow(page)
        await _picture(page, "reconciliation-desktop-light.png")
        await page.get_by_role("link", name="amount differs").click()
        await expect(page.locator(".differences > li")).to_have_count(1)
        await expect(page.locator(".differing").first).to_contain_text("2.05 EUR")

        answer = await page.request.get(f"{page.url.partition('?')[0]}/differences.csv")
        rows = list(csv.DictReader(io.StringIO(await answer.text())))
        assert [row["difference"] for row in rows] == [
            "missing here",
            "missing there",
            "amount differs",
            "status differs",
        ]

        await page.set_viewport_size({"width": 390, "height": 844})
        await _no_overflow(page)
        await page.goto(f"{address}/backoffice/reconciliations")
        await expect(page.locator(".compared tbody tr")).to_have_count(2)
        await _no_overflow(page)

        await _compare(page, day, "broken.csv", ["a,bet,success,1e9,EUR,r,p"])
        await expect(page.get_by_role("alert")).to_contain_text("Line 2, amount: '1e9'")
        await page.goto(f"{address}/backoffice/reconciliations/nonsense")
        await expect(page.get_by_role("alert")).to_have_text("There is no such reconciliation.")
        visitor.faults = [fault for fault in visitor.faults if not fault.startswith(("400", "404", "console error"))]


async def _compare(page: Page, day: str, name: str, lines: list[str]) -> None:
    await page.get_by_label("Day of the report").fill(day)
    body = "\n".join([HEAD, *lines]).encode()
    await page.get_by_label("File (CSV)").set_input_files(FilePayload(name=name, mimeType="text/csv", buffer=body))
    await page.get_by_role("button", name="Compare").click()


async def _picture(page: Page, name: str) -> None:
    if WANTED:
        await page.mouse.move(0, 0)
        await page.screenshot(path=PICTURES / name, full_page=True)


async def _no_overflow(page: Page) -> None:
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
