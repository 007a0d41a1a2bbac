"""The dashboard, looked at in a real browser on real stores."""

import re

from msgspec.structs import replace
from playwright.async_api import Browser, Page, expect

from browser.played import Casino
from browser.window import Theme, serving, visiting

SHAPES: list[tuple[int, int, Theme]] = [
    (1280, 900, "light"),
    (1280, 900, "dark"),
    (390, 844, "light"),
    (390, 844, "dark"),
]
WIDTHS = [320, 390, 768, 1024, 1280, 1920]


async def test_the_dashboard_shows_what_was_played_at_both_widths_by_day_and_by_night(
    played: Casino, address: str, browser: Browser
) -> None:
    for width, height, theme in SHAPES:
        async with visiting(browser, address, width=width, height=height, theme=theme) as visitor:
            page = visitor.page
            await visitor.sign_in(played.email, played.password)

            for tile in ("ggr", "players", "deposits", "withdrawals", "conversion"):
                await expect(page.locator(f"#tile-{tile} .value")).to_have_text(re.compile("[1-9]"))
                await expect(page.locator(f"#tile-{tile} .before-value")).to_have_text(re.compile("[1-9]"))
            await expect(page.locator("#playing")).to_have_text(re.compile("[1-9]"))
            await expect(page.locator("#lag-seconds")).to_have_text(re.compile("[0-9]"))
            await expect(page.locator("#verdict")).to_contain_text("All 6 promises hold")
            await expect(page.locator("#chart-ggr canvas, #chart-bets canvas")).to_have_count(2)
            await expect(page.locator("#read-bets")).to_contain_text("this minute")
            fresh = await played.play_round()
            await expect(page.locator(f"#round-{fresh}")).to_be_visible()
            assert await page.locator("#rounds tbody tr").first.get_attribute("id") == f"round-{fresh}"
            assert await _overflow(page) == 0


async def test_a_proof_that_has_left_much_to_the_next_fits_at_every_width(
    casino: Casino, address: str, browser: Browser
) -> None:
    await casino.prove()
    await casino.database.pool.execute(
        "UPDATE proofs SET scope = 'incremental', seconds = 3.9, waiting = 123456789 WHERE promise = 'P1'"
    )
    for width in WIDTHS:
        async with visiting(browser, address, width=width, height=900, theme="light") as visitor:
            await visitor.sign_in(casino.email, casino.password)
            await expect(visitor.page.locator(".promises")).to_contain_text("123,456,789 entries wait for the next")
            assert (width, await _overflow(visitor.page)) == (width, 0)


async def test_the_page_can_be_held_still(casino: Casino, address: str, browser: Browser) -> None:
    await casino.register_players(1)
    async with visiting(browser, address) as visitor:
        page = visitor.page
        await visitor.sign_in(casino.email, casino.password)
        await page.get_by_role("button", name="Live").click()
        await expect(page.locator("#live-text")).to_have_text("Paused")
        await page.wait_for_load_state("networkidle")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))

        held = await casino.play_round()
        await page.wait_for_timeout(2_500)  # longer than the page ever waits between two questions

        assert asked == []
        await page.get_by_role("button", name="Paused").click()
        await expect(page.locator(f"#round-{held}")).to_be_visible()


async def test_an_empty_casino_has_a_whole_dashboard_at_every_width(
    casino: Casino, address: str, browser: Browser
) -> None:
    async with visiting(browser, address) as visitor:
        page = visitor.page
        await visitor.sign_in(casino.email, casino.password)

        await expect(page.locator("#tile-ggr .value")).to_have_text("0.00")
        await expect(page.locator("#tile-conversion .value")).to_have_text("–")  # noqa: RUF001 - the page's dash
        await expect(page.locator("#rounds")).to_contain_text("No round has been played yet")
        await expect(page.locator("#verdict")).to_contain_text("Waiting for the first proof")
        await expect(page.locator("#chart-when")).to_have_text("no bet in these minutes")
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 800})
            assert (width, await _overflow(page)) == (width, 0)

        await casino.prove(broken="P1")
        await expect(page.locator("#verdict")).to_contain_text("P1 does not hold")
        await expect(page.locator("#promise-P1")).to_contain_text("wallet 0198f3a2 is off")


async def test_a_chosen_theme_beats_the_systems_and_outlasts_the_session(
    casino: Casino, address: str, browser: Browser
) -> None:
    async with visiting(browser, address, theme="light") as visitor:
        page = visitor.page
        await visitor.sign_in(casino.email, casino.password)
        by_day = await _background(page)

        await page.get_by_role("button", name="Switch between light and dark").click()
        by_night = await _background(page)
        assert by_night != by_day
        await page.reload()
        assert await _background(page) == by_night

        await page.get_by_text("Administrator").first.click()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", name="Back office")).to_be_visible()
        await page.goto(f"{address}/backoffice")
        await expect(page.get_by_role("heading", name="Back office")).to_be_visible()

        await visitor.sign_in(casino.email, casino.password)
        assert await _background(page) == by_night


async def test_a_lost_warehouse_is_said_and_the_rest_goes_on(casino: Casino, browser: Browser) -> None:
    await casino.register_players(2)
    await casino.prove()
    settings = replace(casino.settings, clickhouse_url="http://127.0.0.1:9/nothing-listens-here")
    with serving(settings) as address:
        async with visiting(browser, address) as visitor:
            page = visitor.page
            await visitor.sign_in(casino.email, casino.password)

            for part in ("#tiles", "#pipeline", "#chart-note"):
                await expect(page.locator(part)).to_contain_text("The warehouse (ClickHouse) does not answer.")
            await expect(page.locator("#verdict")).to_contain_text("All 6 promises hold")
            fresh = await casino.play_round()
            await expect(page.locator(f"#round-{fresh}")).to_be_visible()
            await expect(page.locator("#live-text")).to_have_text("Live")


async def _overflow(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    wide = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert isinstance(wide, int)
    return max(0, wide)


async def _background(page: Page) -> object:
    return await page.evaluate("getComputedStyle(document.body).backgroundColor")
