"""The catalogue on the real database: what is found, what may be launched; a switch never stops a settlement.

One database for all: each test has games of its own, or leaves those of the provider "north" as they are.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from casino import Casino, open_casino
from countroom.games import service as games
from countroom.games.catalog import Catalog
from countroom.games.listing import Filters, InvalidGamesCursor, InvalidSearch
from countroom.games.rules import CountryNotAllowed, GameUnavailable, IdentityNotVerified
from countroom.wallet.refusals import NoOpenSession
from databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def casino(databases: Databases) -> AsyncIterator[Casino]:
    with databases.one() as database_url:
        async with open_casino(database_url) as opened:
            await _stock(opened)
            yield opened
            await opened.check_books()


async def _stock(casino: Casino) -> None:
    """Thirty games of a second provider; every third is a roulette, and nine have tags."""
    await games.ensure_provider(
        casino.database, code="north", title="North", dialect="swipegames", launch_url="https://north.test/?room={token}",
        demo_url="https://north.test/fun", signing_keys=["n"], secret_key=casino.secret_key,
    )  # fmt: skip
    for number in range(30):
        await games.ensure_game(
            casino.database, provider_code="north", slug=f"north-{number:02}",
            title=f"{'100% Roulette' if number % 3 == 0 else 'Book of Ice'} {number}", volatility="high",
            genre="table" if number % 3 == 0 else "slots", tags=("new", "ice") if number < 9 else (),
        )  # fmt: skip


async def _slugs(casino: Casino, filters: Filters) -> list[str]:
    found = (await games.find_games(casino.database, filters, limit=100)).games
    assert len(found) == await games.count_games(casino.database, filters)
    return [game.slug for game in found]


async def test_games_are_found_by_any_part_of_their_title_and_by_what_they_are(casino: Casino) -> None:
    assert await _slugs(casino, Filters(text="LUCKY sev")) == ["lucky-sevens"]
    assert await _slugs(casino, Filters(text="ky-se")) == ["lucky-sevens"]
    assert len(await _slugs(casino, Filters(text="oulett"))) == 10
    assert await _slugs(casino, Filters(text="ice book")) == []
    # Not a pattern of ours: the signs stand for themselves.
    assert len(await _slugs(casino, Filters(text="100%"))) == 10
    assert await _slugs(casino, Filters(text="_ook")) == await _slugs(casino, Filters(text="\\")) == []
    assert len(await _slugs(casino, Filters(provider="north", genre="slots", tag="ice", volatility="high"))) == 6
    assert await _slugs(casino, Filters(text="lucky", has_demo=False)) == ["lucky-sevens"]
    with pytest.raises(InvalidSearch):
        await _slugs(casino, Filters(text="\0"))
    with pytest.raises(InvalidSearch):
        await _slugs(casino, Filters(tag="x" * 101))


async def test_pages_stay_whole_while_games_come_and_go(casino: Casino) -> None:
    everything = await _slugs(casino, Filters(provider="north", volatility="high"))
    seen: list[str] = []
    cursor = None
    for turn in range(4):
        page = await games.find_games(
            casino.database, Filters(provider="north", volatility="high"), limit=8, cursor=cursor
        )
        seen += [game.slug for game in page.games]
        cursor = page.next
        # Before the place where the next page begins: with a number of the page, a game would now appear twice.
        await games.ensure_game(
            casino.database,
            provider_code="north",
            slug=f"early-{turn}",
            title=f"0 {turn}",
            volatility="low",
            genre="slots",
        )

    assert (seen, cursor) == (everything, None)
    for wrong in ("x", "é", "WyJhIl0", "bnVsbA"):
        with pytest.raises(InvalidGamesCursor):
            await games.find_games(casino.database, Filters(), limit=8, cursor=wrong)


async def test_what_may_not_be_played_somewhere_is_not_found_for_it_and_not_launched(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    write = casino.database.pool.execute
    await games.ensure_game(
        casino.database, provider_code="sandbox", slug="fjord", title="Fjord", volatility="low", genre="live"
    )
    await write("UPDATE games SET countries = '{SE,NO}', currencies = '{EUR}' WHERE slug = 'fjord'")

    assert await _slugs(casino, Filters(text="fjord", country="MT")) == []
    assert await _slugs(casino, Filters(text="fjord", currency="SEK")) == []
    assert await _slugs(casino, Filters(text="fjord", country="SE", currency="EUR")) == ["fjord"]
    with pytest.raises(CountryNotAllowed):
        await games.launch(casino.database, user_id=player.id, slug="fjord", currency="EUR")
    await write("UPDATE games SET countries = NULL, verified_only = true WHERE slug = 'fjord'")
    with pytest.raises(IdentityNotVerified):
        await games.launch(casino.database, user_id=player.id, slug="fjord", currency="EUR")
    await write("UPDATE users SET kyc_status = 'verified' WHERE id = $1", player.id)
    await games.launch(
        casino.database, user_id=player.id, slug="fjord", currency="EUR", policy=games.HousePolicy(identity="verified")
    )


@pytest.mark.parametrize("table", ["games", "game_providers"])
async def test_a_switch_stops_launches_and_never_a_settlement(casino: Casino, table: str) -> None:
    player = await casino.player(main="10.00")
    await player.bet("4.00", f"{table}-b1", f"{table}-r1")
    await player.bet("2.00", f"{table}-b2", f"{table}-r2")
    where = "id = $1" if table == "games" else "id = (SELECT provider_id FROM games WHERE id = $1)"
    await casino.database.pool.execute(f"UPDATE {table} SET is_active = false WHERE {where}", casino.game_id)

    assert await _slugs(casino, Filters(text="lucky", is_launchable=True)) == []
    with pytest.raises(GameUnavailable):
        await games.launch(casino.database, user_id=player.id, slug="lucky-sevens", currency="EUR")
    await player.win("9.00", f"{table}-w1", f"{table}-r1")
    await player.reverse(f"{table}-b2", f"{table}-x2", f"{table}-r2")
    assert str(await player.balance()) == "15.00"
    await casino.database.pool.execute(f"UPDATE {table} SET is_active = true WHERE {where}", casino.game_id)


async def test_a_demo_touches_no_money_and_names_no_player(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    before = await casino.everything()

    demo = await games.launch_demo(casino.database, user_id=player.id, slug="north-01", currency="EUR")

    assert demo.demo_url == "https://north.test/fun?game=north-01&currency=EUR&mode=fun"
    assert await casino.everything() == before
    with pytest.raises(NoOpenSession):  # whatever comes in its name finds no session
        await casino.batcher.submit(
            player.command_in((await games.game_of(casino.database, "north-01")).id, "1.00", "fun-bet")
        )


async def test_an_address_of_the_providers_own_form_gets_only_what_it_asks_for(casino: Casino) -> None:
    player = await casino.player(main="10.00")

    opened = await games.launch(casino.database, user_id=player.id, slug="north-01", currency="EUR")

    assert opened.launch_url == f"https://north.test/?room={opened.token}"


async def test_the_catalogue_is_read_again_only_when_it_has_changed(casino: Casino) -> None:
    async with Catalog(casino.database, casino.secret_key) as catalog:
        known = catalog.providers
        await catalog.refresh()
        assert catalog.providers is known
        await games.ensure_game(
            casino.database, provider_code="sandbox", slug="fresh", title="Fresh", volatility="low", genre="crash"
        )
        await catalog.refresh()
        assert "fresh" in catalog.providers["sandbox"].games
