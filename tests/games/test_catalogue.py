"""The catalogue on the real database: what is found, what may be launched; a switch never stops a settlement.

One database for all: each test has games of its own, or leaves those of the provider "north" as they are.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from casino import Casino, open_casino
from countroom.__main__ import app
from countroom.games import service as games
from countroom.games.catalog import Catalog
from countroom.games.imports import UnknownProvider
from countroom.games.listing import Filters, InvalidGamesCursor, InvalidSearch
from countroom.games.rules import CountryNotAllowed, GameUnavailable, IdentityNotVerified
from countroom.wallet.refusals import NoOpenSession
from databases import Databases, RunningStores, with_database

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


async def _import(casino: Casino, told: object, provider: str = "west", **options: bool) -> games.Import:
    content = json.dumps(told).encode()
    return await games.look_at(
        casino.database, provider_code=provider, content=content, file_name="f.json", options=games.Options(**options)
    )


async def _west(casino: Casino) -> None:
    await games.ensure_provider(
        casino.database, code="west", title="West", dialect="gcp-v1", launch_url="https://west.test/",
        signing_keys=["w"], secret_key=casino.secret_key,
    )  # fmt: skip


WEST: Final[list[dict[str, Any]]] = [
    {"slug": "west:One", "title": "West One", "genre": "slots", "volatility": "low", "rtp": 96.5, "tags": "new west",
     "countries": ["SE", "MT"], "currencies": "EUR", "pictures": {"tile": "https://west.test/1.png"},
     "config": {"lines": 20, "name": "é"}},
    {"slug": "west:Two", "title": "West Two", "genre": "live", "volatility": "high"},
]  # fmt: skip


async def test_an_import_does_exactly_what_it_showed_and_deletes_nothing(casino: Casino) -> None:
    await _west(casino)

    seen = await _import(casino, WEST)
    assert [game.slug for game in seen.differences.added] == ["west:One", "west:Two"]
    assert await games.count_games(casino.database, Filters(provider="west")) == 0
    applied = await games.apply_import(casino.database, seen.id)
    assert (applied.differences, applied.is_applied) == (seen.differences, True)

    one = await games.game_of(casino.database, "west:One")
    assert (one.title, str(one.rtp), one.tags, one.countries, one.currencies, one.config, one.pictures) == (
        "West One", "96.50", ["new", "west"], ["MT", "SE"], ["EUR"], {"lines": 20, "name": "é"},
        {"tile": "https://west.test/1.png"},
    )  # fmt: skip
    again = (await _import(casino, WEST)).differences
    assert (again.does_something, again.unchanged) == (False, 2)
    shorter = await _import(casino, [{"slug": "west:Two", "rtp": "97"}])
    await games.apply_import(casino.database, shorter.id)
    assert [game.slug for game in shorter.differences.missing] == ["west:One"]
    assert await _slugs(casino, Filters(provider="west", is_launchable=True)) == ["west:One", "west:Two"]
    off = await _import(casino, [{"slug": "west:Two"}], turn_off_missing=True)
    await games.apply_import(casino.database, off.id)
    assert await _slugs(casino, Filters(provider="west", is_launchable=False)) == ["west:One"]
    assert (await games.game_of(casino.database, "west:One")).countries == ["MT", "SE"]
    kept = await games.past_imports(casino.database, 3)
    assert [(one.added, one.changed, one.turned_off) for one in kept] == [(0, 0, 1), (0, 1, 0), (2, 0, 0)]


async def test_what_would_do_something_else_than_it_showed_does_nothing(casino: Casino) -> None:
    await _west(casino)
    seen = await _import(casino, [{**WEST[1], "slug": "west:Three"}])
    await games.ensure_game(
        casino.database, provider_code="west", slug="west:Three", title="Mine", volatility="low", genre="slots"
    )

    with pytest.raises(games.NotAsShown):
        await games.apply_import(casino.database, seen.id)

    assert (await games.game_of(casino.database, "west:Three")).title == "Mine"
    now = await games.import_of(casino.database, seen.id)
    assert [change.field for change in now.differences.changed[0].changes] == ["title", "genre", "volatility"]
    done = await asyncio.gather(
        *(games.apply_import(casino.database, seen.id) for _ in range(3)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in done) == ["Import", "ImportApplied", "ImportApplied"]
    assert (await games.game_of(casino.database, "west:Three")).title == "West Two"


async def test_one_fault_refuses_a_whole_feed_and_no_provider_takes_anothers_game(casino: Casino) -> None:
    await _west(casino)

    with pytest.raises(games.FeedRefused) as refused:
        await _import(casino, [{"slug": "west:Four", "title": "Four"}, {"slug": "lucky-sevens", "title": "Mine now"}])

    assert [(fault.row, fault.field) for fault in refused.value.faults] == [
        (1, "genre"),
        (1, "volatility"),
        (2, "slug"),
    ]
    assert await games.count_games(casino.database, Filters(text="four")) == 0
    with pytest.raises(UnknownProvider):
        await _import(casino, WEST, provider="nowhere")


async def test_the_command_teaches_shows_and_imports(
    casino: Casino,
    stores: RunningStores,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await _west(casino)
    name = await casino.database.pool.fetchval("SELECT current_database()")
    monkeypatch.setenv("DATABASE_URL", with_database(stores.database_url, name))
    monkeypatch.setenv("REDIS_URL", stores.redis_url)
    monkeypatch.setenv("CLICKHOUSE_URL", stores.clickhouse_url)
    monkeypatch.setenv("COUNTROOM_DATA", str(tmp_path))
    feed = tmp_path / "west.csv"
    feed.write_text("slug,title,genre,volatility,rtp,studio\nwest-cli,Command Line,crash,low,97.1,x\n")

    async def said(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(app, ["games", *words], result_action="return_value")
        return code or 0, " ".join(capsys.readouterr().out.split())

    assert "book-of-ice,Book of Ice" in (await said("import", "--help"))[1]
    dry = await said("import", str(feed), "--provider", "west", "--dry-run")
    assert dry[0] == 0
    assert "1 new: + west-cli Command Line" in dry[1]
    assert "studio" in dry[1]
    assert "There are none." in (await said("list", "command line"))[1]
    assert "Done." in (await said("import", str(feed), "--provider", "west"))[1]
    assert "west-cli Command Line west crash low 97.10 % on" in (await said("list", "command line"))[1]
    feed.write_text("slug,rtp\nwest-cli,98\n")
    assert "rtp: 97.10 → 98.00" in (await said("import", str(feed), "--provider", "west"))[1]
    assert "RTP 98.00 %" in (await said("show", "west-cli"))[1]
    feed.write_text("slug,rtp\nwest-cli,0.98\n")
    refused = await said("import", str(feed), "--provider", "west")
    assert refused[0] == 1
    assert "row 2, rtp: It is in percent" in refused[1]


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
