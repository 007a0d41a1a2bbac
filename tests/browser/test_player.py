"""A player's page, looked at in a real browser: wallets, a past moment, the statement and its pages."""

import csv
import io
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, FloatRect, Page, expect

import casino as wallet_casino
from browser.window import Theme, Visitor, serving, visiting
from casino import Casino, Player
from countroom.players import staff
from countroom.settings import Settings
from countroom.wallet import history
from countroom.warehouse import schema

PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
WANTED: Final = bool(os.environ.get("PICTURES"))
SHAPES: Final[dict[str, tuple[int, int, Theme]]] = {
    "desktop-light": (1280, 900, "light"),
    "desktop-dark": (1280, 900, "dark"),
    "phone-light": (390, 844, "light"),
    "phone-dark": (390, 844, "dark"),
}
KEPT: Final = {"desktop-light": 1100, "phone-dark": 1560}
"""The pictures of the documentation, and how much of the page they show."""
HOSTILE: Final = "<script>document.title='taken'</script><b>\"'"


class Desk:
    """A served casino with a player in it, and a member of the staff."""

    def __init__(self, casino: Casino, settings: Settings, email: str, password: str) -> None:
        self.casino = casino
        self.settings = settings
        self.email = email
        self.password = password

    @asynccontextmanager
    async def visit(
        self, browser: Browser, address: str, *, width: int = 1280, height: int = 900, theme: Theme = "light"
    ) -> AsyncIterator[Visitor]:
        async with visiting(browser, address, width=width, height=height, theme=theme) as visitor:
            await visitor.sign_in(self.email, self.password)
            yield visitor


@pytest_asyncio.fixture(loop_scope="session")
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    assert settings.database_url
    assert settings.clickhouse_url
    schema.migrate(settings.clickhouse_url)
    async with wallet_casino.open_casino(settings.database_url) as opened:
        found = await staff.ensure_first(opened.database)
        assert found is not None
        yield Desk(opened, msgspec.structs.replace(settings, secret_key=opened.secret_key), *found)
        await opened.check_books()


@pytest.fixture
def address(desk: Desk) -> Iterator[str]:
    with serving(desk.settings) as served:
        yield served


async def _played(desk: Desk, rounds: int = 40) -> Player:
    player = await desk.casino.player(main="120.00", bonus="15.00")
    for number in range(rounds):
        stake = ("1.00", "2.50", "0.50", "5.00")[number % 4]
        await player.bet(stake, f"2{number:03}81f6-bet", round_key=f"7c1e{number:04}")
        if number % 3 == 0:
            win = ("4.20", "12.00", "1.75")[number % 9 // 3]
            await player.win(win, f"2{number:03}81f6-win", round_key=f"7c1e{number:04}")
        if number % 8 == 5:
            await player.reverse(f"2{number:03}81f6-bet", f"2{number:03}81f6-undo", round_key=f"7c1e{number:04}")
    return player


async def test_a_statement_is_read_at_both_widths_by_day_and_by_night(
    desk: Desk, address: str, browser: Browser
) -> None:
    player = await _played(desk)
    entries = await _entries(player)
    for name, (width, height, theme) in SHAPES.items():
        async with desk.visit(browser, address, width=width, height=height, theme=theme) as visitor:
            page = visitor.page
            # From the feed to the round and to its player, as somebody who watches it goes.
            await page.locator("#rounds tbody tr a").first.click()
            await expect(page.locator("table.story tbody tr").first).to_contain_text("Bet")
            assert await _overflow(page) == 0
            await page.locator(".traits a").first.click()
            await expect(page.get_by_role("heading", level=1)).to_contain_text("@example.test")
            await expect(page.locator("#wallet-EUR-main .value")).to_have_text(str(await player.balance()))
            await expect(page.locator("table.statement tbody tr")).to_have_count(50)
            await expect(page.locator(".pager")).to_contain_text(f"of {entries}")
            assert await _overflow(page) == 0

            await page.get_by_role("link", name="Older").click()
            await expect(page.locator("#entry-1")).to_contain_text("Deposit")
            await expect(page.locator("#entry-1 .amount")).to_have_text(re.compile(r"credit \+120\.00"))
            await expect(page.locator("#entry-2 .amount")).to_have_text(re.compile(r"debit −1\.00"))  # noqa: RUF001
            assert "cursor=" in page.url
            await page.get_by_role("link", name="Newest").click()
            await expect(page.locator("table.statement tbody tr").first).to_have_id(f"entry-{entries}")
            assert await _overflow(page) == 0
            if WANTED and name in KEPT:
                await page.mouse.move(0, 0)
                clip: FloatRect = {"x": 0, "y": 0, "width": width, "height": KEPT[name]}
                await page.screenshot(path=PICTURES / f"statement-{name}.png", full_page=True, clip=clip)


async def test_filters_paging_and_going_back_keep_what_was_asked_for(
    desk: Desk, address: str, browser: Browser
) -> None:
    player = await _played(desk)
    async with desk.visit(browser, address) as visitor:
        page = visitor.page
        await page.goto(f"{address}/backoffice/players/{player.id}")
        await page.get_by_label("Wins").check()
        await page.get_by_role("button", name="Filter").click()
        await expect(page.locator("table.statement tbody tr")).to_have_count(14)
        assert "type=win" in page.url
        await page.get_by_label("Wins").uncheck()
        await page.get_by_label("Status").select_option("cancelled")
        await page.get_by_role("button", name="Filter").click()
        await expect(page.locator("table.statement tbody tr")).to_have_count(10)
        await expect(page.locator("table.statement tbody tr").first).to_contain_text("Bet given back")

        await page.locator("a.round").first.click()
        await expect(page.locator("table.statement tbody tr")).to_have_count(2)
        await page.go_back()
        await expect(page.locator("table.statement tbody tr")).to_have_count(10)
        await expect(page.get_by_label("Status")).to_have_value("cancelled")
        await page.reload()
        await expect(page.locator("table.statement tbody tr")).to_have_count(10)

        answer = await page.request.get(address + str(await page.get_by_text("Download CSV").get_attribute("href")))
        rows = list(csv.DictReader(io.StringIO(await answer.text())))
        assert len(rows) == 10
        assert {row["status"] for row in rows} == {"cancelled"}
        await page.get_by_role("link", name="All lines").click()
        await expect(page.locator("table.statement tbody tr")).to_have_count(50)
        await page.get_by_label("Status").select_option("failed")
        await page.get_by_role("button", name="Filter").click()
        await expect(page.locator(".statement-panel .empty")).to_have_text("No entry matches these filters.")


async def test_a_past_moment_is_shown_beside_now(desk: Desk, address: str, browser: Browser) -> None:
    player = await _played(desk, rounds=3)
    async with desk.casino.database.transaction() as tx:  # the deposit was made a day ago
        await tx.execute("ALTER TABLE wallet_entries DISABLE TRIGGER wallet_entries_append_only")
        await tx.execute("UPDATE wallet_entries SET created_at = created_at - interval '1 day' WHERE sequence = 1")
        await tx.execute("ALTER TABLE wallet_entries ENABLE TRIGGER wallet_entries_append_only")
    moment = (await _first_moment(player)) + timedelta(hours=1)
    async with desk.visit(browser, address) as visitor:
        page = visitor.page
        await page.goto(f"{address}/backoffice/players/{player.id}")
        await page.get_by_label("Balances as of").fill(moment.strftime("%Y-%m-%dT%H:%M:%S"))
        await page.get_by_role("button", name="Show").click()
        await expect(page.locator("#wallet-EUR-main .then")).to_have_text("then 120.00")
        await expect(page.locator("#wallet-EUR-main .value")).to_have_text(str(await player.balance()))

        await page.get_by_label("From").fill(moment.strftime("%Y-%m-%dT%H:%M:%S"))
        await page.get_by_role("button", name="Filter").click()
        await expect(page.locator("#opening")).to_have_text("120.00")
        await expect(page.locator("#closing")).to_have_text(str(await player.balance()))
        await expect(page.locator("#entry-1")).to_have_count(0)

        await page.get_by_role("link", name="Only now").click()
        await expect(page.locator(".then")).to_have_count(0)


async def test_what_cannot_be_asked_is_said_where_it_was_asked(desk: Desk, address: str, browser: Browser) -> None:
    player = await _played(desk, rounds=2)
    where = f"{address}/backoffice/players/{player.id}"
    async with desk.visit(browser, address) as visitor:
        page = visitor.page
        await page.goto(where)
        await page.get_by_label("Game").fill("no-such-game")
        await page.get_by_role("button", name="Filter").click()
        await expect(page.get_by_role("alert")).to_have_text("There is no game with this slug.")
        await expect(page.get_by_label("Game")).to_have_value("no-such-game")
        await page.goto(f"{where}?at=2999-01-01T00:00")
        await expect(page.get_by_role("alert")).to_have_text("Nobody knows yet what the balance will be then.")
        await expect(page.locator("table.statement")).to_be_visible()
        await page.goto(f"{where}?cursor=nonsense&type=gift&from=yesterday")
        await expect(page.get_by_role("alert")).to_have_text("This is not a date and a time.")
        visitor.faults = [fault for fault in visitor.faults if "400" not in fault]


async def test_players_are_found_by_id_and_address_and_nobody_is_said_politely(
    desk: Desk, address: str, browser: Browser
) -> None:
    player = await _played(desk, rounds=1)
    email = (await desk.casino.database.fetch("SELECT email FROM users WHERE id = $1", player.id))[0]["email"]
    async with desk.visit(browser, address, width=390, height=844) as visitor:
        page = visitor.page
        for sought in (str(player.id), f"  {email.upper()} "):
            await page.goto(f"{address}/backoffice")
            await _seek(page, sought)
            await expect(page.get_by_role("heading", level=1)).to_have_text(email)
            assert page.url == f"{address}/backoffice/players/{player.id}"
        for sought in ("nobody@example.test", HOSTILE, "\x00@", str(UUID(int=7))):
            await _seek(page, sought)
            await expect(page.get_by_role("heading", level=1)).to_have_text("There is no such player")
            assert await _overflow(page) == 0
        await page.goto(f"{address}/backoffice/players/not-an-id")
        await expect(page.get_by_role("heading", level=1)).to_have_text("There is no such player")
        assert await page.title() != "taken"
        visitor.faults = [fault for fault in visitor.faults if "404" not in fault]


async def test_what_strangers_wrote_is_shown_and_never_run(desk: Desk, address: str, browser: Browser) -> None:
    player = await desk.casino.player(main="10.00")
    await player.bet("1.00", HOSTILE, round_key=HOSTILE)
    await desk.casino.database.fetch("UPDATE games SET title = $1", HOSTILE)
    await desk.casino.database.fetch("UPDATE users SET email = $1", HOSTILE)
    async with desk.visit(browser, address) as visitor:
        page = visitor.page
        await page.goto(f"{address}/backoffice/players/{player.id}")

        await expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
        await expect(page.locator("#entry-2 .reference")).to_have_text(f"sandbox:{HOSTILE}")
        await expect(page.locator("#entry-2 .where")).to_have_text(f"{HOSTILE * 2}story")
        await page.locator("#entry-2 .round").click()
        await expect(page.locator(".only")).to_be_visible()
        assert await page.locator("main script, main b").count() == 0
        assert HOSTILE in await page.title()
        await page.get_by_role("link", name="its story").click()
        await expect(page.locator("table.story .reference")).to_have_text(HOSTILE)
        assert await page.locator("main script, main b").count() == 0
        assert HOSTILE in await page.title()


async def test_an_empty_player_has_a_whole_page_at_every_width(desk: Desk, address: str, browser: Browser) -> None:
    player = await desk.casino.player()
    async with desk.visit(browser, address) as visitor:
        page = visitor.page
        await page.goto(f"{address}/backoffice/players/{player.id}")
        await expect(page.locator(".statement-panel .empty")).to_have_text("Nothing has moved in this wallet yet.")
        for width in (320, 390, 768, 1024, 1280, 1920):
            await page.set_viewport_size({"width": width, "height": 800})
            assert (width, await _overflow(page)) == (width, 0)


async def test_whoever_is_not_signed_in_sees_the_door(desk: Desk, address: str, browser: Browser) -> None:
    player = await _played(desk, rounds=30)
    async with visiting(browser, address) as visitor:
        await visitor.page.goto(f"{address}/backoffice/players/{player.id}")
        await expect(visitor.page.get_by_role("heading", name="Back office")).to_be_visible()
    async with desk.visit(browser, address) as visitor:
        page = visitor.page
        await page.goto(f"{address}/backoffice/players/{player.id}?type=bet")
        await page.context.clear_cookies()
        await page.get_by_role("button", name="Filter").click()
        await expect(page.get_by_role("heading", name="Back office")).to_be_visible()
        visitor.faults = [fault for fault in visitor.faults if "401" not in fault]


async def _seek(page: Page, sought: str) -> None:
    await page.get_by_label("Find a player by id or e-mail").fill(sought)
    await page.get_by_role("button", name="Find the player").click()


async def _entries(player: Player) -> int:
    accounts = await history.wallets_of(player.casino.database, player.id)
    return next(account.sequence for account in accounts if account.type == "main")


async def _first_moment(player: Player) -> datetime:
    rows = await player.casino.database.fetch("SELECT min(created_at) AS first FROM wallet_entries")
    moment: datetime = rows[0]["first"]
    return moment


async def _overflow(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    wide = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert isinstance(wide, int)
    return max(0, wide)
