"""A player signs up in the lobby, pays in, and plays the slot: one balance on every page, in the API and in the books.

With PICTURES=1 the README's pictures of the lobby and of the slot are taken here.
"""

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from playwright.async_api import Browser, FrameLocator, Page, expect

from browser.played import open_casino
from browser.window import Theme, serving, visiting
from countroom.demo.callbacks import WalletClient
from countroom.demo.ledger import Ledger
from countroom.demo.provider import Provider
from countroom.demo.psp import Psp
from countroom.demo.psp_store import Store
from countroom.demo.rounds import Owed
from countroom.demo.webhooks import Deliveries
from countroom.embedded.process import free_port
from countroom.postgres import Database
from countroom.settings import Settings
from sandbox_process import PSP_SECRET, served

PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"
WANTED: Final = bool(os.environ.get("PICTURES"))
PROVIDER_KEY: Final = "a key that protects nothing"
SPINS: Final = 10
WHO: Final = {"email": "ada@example.com", "password": "the engine weaves patterns"}


@dataclass
class Town:
    """The casino, the sandbox PSP and the sandbox provider, each behind an address of its own."""

    address: str
    database: Database
    ledger: Ledger

    async def balance_in_the_books(self) -> Decimal:
        row = await self.database.fetchrow(
            """
            SELECT sum(w.balance) AS balance, sum((SELECT sum(amount) FROM wallet_entries e
                                                    WHERE e.wallet_account_id = w.id)) AS journal
              FROM wallet_accounts w JOIN users u ON u.id = w.user_id
             WHERE u.email = $1
            """,
            WHO["email"],
        )
        assert row is not None
        assert row["balance"] == row["journal"]
        balance: Decimal = row["balance"]
        return balance

    async def balance_in_the_api(self) -> Decimal:
        async with httpx.AsyncClient(base_url=f"{self.address}/api/v1", trust_env=False) as api:
            token = (await api.post("/sign-in", json=WHO)).json()["token"]
            shown: list[dict[str, Any]] = (
                await api.get("/wallets", headers={"Authorization": f"Bearer {token}"})
            ).json()["wallets"]
        return sum((Decimal(wallet["balance"]) for wallet in shown), Decimal(0))


@asynccontextmanager
async def town(settings: Settings, folder: Path) -> AsyncIterator[Town]:
    ports = {"port": free_port(), "sandbox_provider_port": free_port(), "sandbox_psp_port": free_port()}
    settings = msgspec.structs.replace(
        settings, **ports, sandbox_psp_secret=PSP_SECRET,
        sandbox_psp_url=f"http://127.0.0.1:{ports['sandbox_psp_port']}",
    )  # fmt: skip
    casino = await open_casino(settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(casino.database.close)
        address = stack.enter_context(serving(settings, settings.port))
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        store = Store.open(folder / "psp.sqlite3")
        stack.callback(store.close)
        deliveries = Deliveries(store, PSP_SECRET, http)
        psp = Psp(store, PSP_SECRET, settings.sandbox_psp_url, wake=deliveries.wake)
        await stack.enter_async_context(served(psp.application(), settings.sandbox_psp_port))
        ledger = Ledger.in_memory()
        wallet = WalletClient(f"{address}/providers/sandbox", PROVIDER_KEY, http, ledger)
        owed = Owed(wallet)
        provider = Provider(wallet, owed, chance=random.Random(42))  # noqa: S311 - the same spins each time
        await stack.enter_async_context(served(provider.application(), settings.sandbox_provider_port))
        tasks = [asyncio.create_task(deliveries.run()), asyncio.create_task(owed.run())]
        try:
            yield Town(address, casino.database, ledger)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_ten_spins_leave_one_balance_on_the_pages_in_the_api_and_in_the_books(
    settings: Settings, browser: Browser, tmp_path: Path
) -> None:
    async with town(settings, tmp_path) as place, visiting(browser, place.address) as visitor:
        page = visitor.page
        await _open_an_account(page, place.address)
        await _pay_in(page, "50.00")
        await _no_overflow(page)
        await _picture(page, "lobby-desktop-light")

        await page.get_by_role("button", name="Play Golden Ledger").click()
        game = page.frame_locator("iframe")
        await expect(game.locator("#balance")).to_have_text("50.00")
        for number in range(SPINS):
            if number % 2:
                await game.get_by_role("button", name="Spin").click()
            else:
                await page.keyboard.press("Space")
            await expect(game.locator("#rounds")).to_have_text(str(number + 1))
            await expect(game.locator("#game")).to_have_attribute("data-state", "ready")
        await expect(game.locator("#told-count")).to_have_text("last told as plain")

        in_the_books = await place.balance_in_the_books()
        assert await place.balance_in_the_api() == in_the_books
        (won,) = place.ledger.won().values()
        assert in_the_books == Decimal("50.00") + won
        assert won != 0
        await expect(game.locator("#balance")).to_have_text(str(in_the_books))
        await expect(page.locator(".playable")).to_have_text(str(in_the_books))
        await _no_overflow(page)
        await _spin_until_paid(game)
        await expect(page.locator(".playable")).to_have_text(str(await place.balance_in_the_books()))
        await _picture(page, "slot-desktop-light")

        await page.get_by_role("link", name="Back to the games").click()
        await expect(page.get_by_role("heading", name="Games")).to_be_visible()
        await page.set_viewport_size({"width": 390, "height": 844})
        await _no_overflow(page)
        await page.get_by_role("button", name="Play Sakura Reels").click()
        await _keys_and_odds(page.frame_locator("iframe"))
        await _no_overflow(page)
        await page.get_by_role("link", name="Back to the games").click()
        before = await place.balance_in_the_books()
        await page.get_by_role("button", name="Try Golden Ledger for fun").click()
        await expect(game.locator("#balance")).to_have_text("1000.00")
        await game.get_by_role("button", name="Spin").click()
        await expect(game.locator("#rounds")).to_have_text("1")
        await expect(game.locator("#balance")).not_to_have_text("1000.00")
        assert await place.balance_in_the_books() == before
        await _no_overflow(page)
        await page.get_by_role("link", name="Back to the games").click()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("button", name="Play as a demo player")).to_be_visible()
        await _no_overflow(page)


async def _open_an_account(page: Page, address: str) -> None:
    await page.goto(f"{address}/lobby")
    await page.get_by_role("heading", name="Open an account").click()
    form = page.locator("form[action='/lobby/register']")
    await form.get_by_label("E-mail").fill(WHO["email"])
    await form.get_by_label("Password").fill(WHO["password"])
    await form.get_by_label("Born on").fill("1990-12-10")
    await form.get_by_label("Country").fill("mt")
    await form.get_by_role("button", name="Open the account").click()
    await expect(page.locator(".playable")).to_have_text("0.00")


async def _pay_in(page: Page, amount: str) -> None:
    await page.get_by_label("Pay in").fill(amount)
    await page.get_by_role("button", name="To the cashier").click()
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator(".playable")).to_have_text(amount)


async def _spin_until_paid(game: FrameLocator) -> None:
    """For the picture alone: a slot that has just paid."""
    while WANTED and not await game.locator("#cabinet.paid").count():
        await game.get_by_role("button", name="Spin").click()
        await expect(game.locator("#game")).to_have_attribute("data-state", "ready")


async def _keys_and_odds(game: FrameLocator) -> None:
    await expect(game.locator("#game")).to_have_attribute("data-state", "ready")
    await expect(game.locator("#stake")).to_have_text("0.50")
    await game.get_by_role("button", name="Spin").press("ArrowDown")
    await expect(game.locator("#stake")).to_have_text("0.20")
    await expect(game.get_by_role("button", name="Lower the stake")).to_be_disabled()
    await game.locator("#odds summary").click()
    await expect(game.locator("#pays tr")).to_have_count(8)
    await expect(game.locator("#odds")).to_contain_text(re.compile("returns exactly 96%"))
    # Three coins: a fifth of 0.20 on the line, five times.
    await expect(game.locator("#pays tr").nth(1)).to_contain_text("0.20")


async def _no_overflow(page: Page) -> None:
    for frame in page.frames:
        assert await frame.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), frame.url


async def _picture(page: Page, name: str, theme: Theme = "light") -> None:
    if WANTED:
        await page.mouse.move(0, 0)
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        await page.screenshot(path=PICTURES / f"{name}.png")
