"""The catalogue over HTTP: the list, demo and launch of players; pages where the staff look, switch and import."""

import json
import re
from urllib.parse import unquote

from countroom.games import service as games
from countroom.players import staff
from countroom.schema.enumerations import StaffRole
from serving import Served

WHO = {"email": "ada@example.com", "password": "the engine weaves patterns"}
FEED = [
    {"slug": "b&<i>", "title": "wrong"},
    {"slug": "north-1", "title": "<b>North</b>", "genre": "live", "volatility": "low", "countries": "SE", "rtp": 97},
]


async def _sign_in(served: Served, name: str, role: StaffRole) -> dict[str, str]:
    who = {"email": f"{name}@example.test"}
    password = await staff.add(served.casino.database, name=name.title(), role=role, **who)
    answer = await served.http.post("/api/v1/staff/sign-in", json=who | {"password": password})
    return {"Authorization": f"Bearer {answer.json()['token']}"}


async def test_players_find_games_play_for_fun_and_are_told_why_they_may_not_launch(served: Served) -> None:
    await games.ensure_provider(
        served.casino.database, code="north", title="North", dialect="gcp-v1", launch_url="https://north.test/",
        demo_url="https://north.test/fun", signing_keys=["n"], secret_key=served.casino.secret_key,
    )  # fmt: skip
    await games.ensure_game(
        served.casino.database,
        provider_code="north",
        slug="ice",
        title="Ice",
        volatility="high",
        genre="live",
        tags=["new"],
    )
    get, post = served.http.get, served.http.post
    await post("/api/v1/players", json={**WHO, "country": "MT", "birth_date": "1990-12-10", "currency": "EUR"})
    mine = {"Authorization": f"Bearer {(await post('/api/v1/sign-in', json=WHO)).json()['token']}"}

    first = (await get("/api/v1/games?limit=1")).json()
    assert first["games"][0] == {
        "slug": "ice", "title": "Ice", "provider": "north", "volatility": "high", "genre": "live", "rtp": None,
        "tags": ["new"], "pictures": {}, "currencies": None, "has_demo": True, "verified_only": False,
    }  # fmt: skip
    second = (await get(f"/api/v1/games?limit=1&cursor={first['next']}")).json()
    assert ([game["slug"] for game in second["games"]], second["next"]) == (["lucky-sevens"], None)
    assert [game["slug"] for game in (await get("/api/v1/games?q=UCK&demo=false")).json()["games"]] == ["lucky-sevens"]
    assert (await get("/api/v1/games?cursor=x")).json()["code"] == "invalid_cursor"
    assert (await get("/api/v1/games?q=%00")).json()["code"] == "invalid_search"

    demo = await post("/api/v1/games/ice/demo", json={"currency": "EUR"}, headers=mine)
    assert demo.json() == {"game_id": "ice", "demo_url": "https://north.test/fun?game=ice&currency=EUR&mode=fun"}
    refused = await post("/api/v1/games/lucky-sevens/demo", json={}, headers=mine)
    assert (refused.status_code, refused.json()["code"]) == (409, "no_demo")
    await served.casino.database.pool.execute("UPDATE games SET countries = '{SE}' WHERE slug = 'ice'")
    refused = await post("/api/v1/games/ice/launch", json={"currency": "EUR"}, headers=mine)
    assert (refused.status_code, refused.json()["code"]) == (403, "country_not_allowed")
    assert (await post("/api/v1/games/lucky-sevens/launch", json={"currency": "EUR"}, headers=mine)).status_code == 201


async def test_the_staff_find_switch_and_import_games_as_their_role_allows(served: Served) -> None:
    eve, bob = await _sign_in(served, "eve", "compliance"), await _sign_in(served, "bob", "support")
    get, post = served.http.get, served.http.post
    assert (await get("/backoffice/games")).headers["location"] == "/backoffice/sign-in"

    listed = (await get("/backoffice/games?q=ucky&provider=sandbox&state=on", headers=bob)).text
    assert 'href="/backoffice/games/lucky-sevens"' in listed
    assert "No game matches." in (await get("/backoffice/games?q=%3Cb%3E", headers=bob)).text
    assert "Nothing was looked for" in (await get("/backoffice/games?cursor=x", headers=bob)).text
    assert (await get("/backoffice/games/nothing%00", headers=bob)).status_code == 404
    assert (await get("/backoffice/game-terms/nobody", headers=bob)).status_code == 404

    # A switch wants a reason and a role, and says who did it.
    url = "/backoffice/games/lucky-sevens"
    off = {"to": "off", "reason": "the odds are <wrong>"}
    refused = await post(f"{url}/switch", data=off, headers=bob)
    assert refused.status_code == 403
    assert "Your role (support) may not do this" in refused.text
    assert (await post(f"{url}/switch", data={"to": "off"}, headers=eve)).status_code == 400
    assert (await post(f"{url}/switch", data=off, headers=eve)).status_code == 303
    shown = (await get(url, headers=bob)).text
    assert "Its switch is off" in shown
    assert "the odds are &lt;wrong&gt;" in shown
    assert (await games.count_games(served.casino.database, games.Filters(is_launchable=True))) == 0
    await post(f"{url}/switch", data={"to": "on", "reason": "put right"}, headers=eve)

    terms = "/backoffice/game-terms/sandbox"
    wrong = await post(terms, data={"countries": "UK", "reason": "why"}, headers=eve)
    assert (wrong.status_code, "no codes such as SE" in wrong.text) == (400, True)
    wanted = {"countries": "mt se", "demo_url": "https://a.test/fun", "verified_only": "yes", "reason": "the licence"}
    assert (await post(terms, data=wanted, headers=eve)).status_code == 303
    told = (await get(terms, headers=eve)).text
    assert ">MT SE</textarea>" in told
    assert "Terms: countries MT SE, currencies *, verified only. the licence" in told
    assert (await post(f"{terms}/switch", data={"to": "off", "reason": "x"}, headers=eve)).status_code == 303
    assert "provider off" in (await get(url, headers=bob)).text

    async def upload(feed: object, headers: dict[str, str]) -> tuple[int, str]:
        answer = await post(
            "/backoffice/game-imports", data={"provider": "sandbox"}, headers=headers,
            files={"feed": ("<f>.json", json.dumps(feed).encode())},
        )  # fmt: skip
        return answer.status_code, unquote(answer.headers.get("location", "")) or answer.text

    assert (await upload(FEED[1:], bob))[0] == 403
    status, text = await upload(FEED, eve)
    assert (status, "A slug has letters" in text, "<i>" in text) == (400, True, False)
    status, place = await upload(FEED[1:], eve)
    assert status == 303
    seen = (await get(place, headers=bob)).text
    assert ("&lt;b&gt;North&lt;/b&gt;" in seen, "<b>North" in seen, "Your role may look" in seen) == (True, False, True)
    assert "not in the feed; they stay as they are" in re.sub(r"\s+", " ", seen)
    assert (await post(place, headers=bob)).status_code == 403
    assert (await get("/backoffice/games/north-1", headers=eve)).status_code == 404
    assert (await post(place, headers=eve)).status_code == 303
    assert "Imported" in (await get(place, headers=eve)).text
    assert (await get("/backoffice/games/north-1", headers=eve)).status_code == 200
    assert (await post(place, headers=eve)).status_code == 409
    assert "1 new, 0 changed" in (await get("/backoffice/game-imports", headers=bob)).text
    assert (await get("/backoffice/game-imports/nothing", headers=bob)).status_code == 404
