"""The lobby's door, over HTTP: who comes in, and what another site cannot make a browser do there."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

import httpx
import msgspec
from litestar import Litestar

from countroom.games import service as games
from countroom.settings import Settings
from countroom.wallet.balances import Shown
from countroom.web.app import create_app
from countroom.web.lobby.pages import PLAYER_COOKIE
from countroom.web.lobby.views import purse
from serving import Served

FORM: Final = {"email": "ada@example.com", "password": "the engine weaves patterns"}
ACCOUNT: Final = {**FORM, "country": "MT", "birth_date": "1990-12-10", "currency": "EUR"}


@contextmanager
def _as_a_browser(http: httpx.AsyncClient) -> Iterator[None]:
    http.headers["origin"] = str(http.base_url).rstrip("/")
    http.follow_redirects = True
    yield


async def test_a_player_comes_in_launches_and_leaves(served: Served) -> None:
    http = served.http
    await games.ensure_game(
        served.casino.database, provider_code="sandbox", slug="off", title="Northern Tables", volatility="low",
        genre="table",
    )  # fmt: skip
    await served.casino.database.fetch("UPDATE games SET is_active = false WHERE slug = 'off'")
    with _as_a_browser(http):
        assert "Play as a demo player" in (await http.get("/lobby")).text
        hall = await http.post("/lobby/register", data=ACCOUNT)
        assert "ada@example.com" in hall.text
        assert "Lucky Sevens" in hall.text
        assert "Northern Tables" not in hall.text
        assert "HttpOnly" in hall.history[0].headers["set-cookie"]
        assert "SameSite=strict" in hall.history[0].headers["set-cookie"]

        game = await http.post("/lobby/games/lucky-sevens", data={"currency": "EUR"})
        assert 'src="http://127.0.0.1:9/launch?token=' in game.text
        assert "frame-src http://127.0.0.1:9;" in game.headers["content-security-policy"]
        sessions = await served.casino.database.fetch("SELECT status FROM game_sessions")
        assert [row["status"] for row in sessions] == ["open"]
        assert '<b class="playable">0.00</b>' in (await http.get("/lobby/purse")).text

        again = await http.post("/lobby/games/lucky-sevens", data={"currency": "USD"})
        assert (again.status_code, "You hold no wallet in this currency." in again.text) == (409, True)
        none = await http.post("/lobby/games/lucky-sevens/fun", data={"currency": "EUR"})
        assert (none.status_code, "This game is not played for fun." in none.text) == (409, True)
        left = await http.post("/lobby/sign-out")
        assert "Play as a demo player" in left.text
        assert "Play as a demo player" in (await http.get("/lobby")).text
        back = await http.post("/lobby/sign-in", data=FORM)
        assert "ada@example.com" in back.text


async def test_one_button_makes_a_demo_player(served: Served) -> None:
    with _as_a_browser(served.http):
        hall = await served.http.post("/lobby/demo")

    assert "@example.com" in hall.text
    assert 'name="amount"' in hall.text


async def test_who_cannot_come_in_is_told_why_at_the_door(served: Served) -> None:
    with _as_a_browser(served.http):
        for path, data, status, sentence in (
            ("sign-in", FORM, 401, "E-mail address or password are wrong."),
            ("register", {**ACCOUNT, "birth_date": "yesterday"}, 400, "This cannot be the birth date"),
            ("register", {**ACCOUNT, "birth_date": "2020-01-01"}, 403, "Nobody under 18 plays here."),
            ("register", {**ACCOUNT, "country": "<b>"}, 400, "A country is given by its ISO 3166-1 code"),
        ):
            answer = await served.http.post(f"/lobby/{path}", data=data)

            assert (answer.status_code, sentence in answer.text) == (status, True), sentence
            assert "<b>" not in answer.text
            assert PLAYER_COOKIE not in served.http.cookies


async def test_another_site_cannot_play_with_a_players_cookie(served: Served) -> None:
    with _as_a_browser(served.http):
        await served.http.post("/lobby/demo")
        for path in ("games/lucky-sevens", "pay-in", "sign-out", "demo"):
            answer = await served.http.post(f"/lobby/{path}", data={}, headers={"origin": "http://evil.test"})
            assert answer.status_code == 403, path

    assert await served.casino.database.fetch("SELECT FROM game_sessions") == []


async def test_whoever_is_not_signed_in_is_led_to_the_door(served: Served) -> None:
    with _as_a_browser(served.http):
        assert "Play as a demo player" in (await served.http.get("/lobby/purse")).text
        part = await served.http.get("/lobby/purse", headers={"hx-request": "true"})

    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/lobby")


def test_without_the_sandboxes_there_is_no_lobby(settings: Settings) -> None:
    assert "/lobby" in _paths(create_app(msgspec.structs.replace(settings, sandbox_psp_secret="s" * 16)))
    assert "/lobby" not in _paths(create_app(msgspec.structs.replace(settings, sandbox_psp_secret=None)))


def _paths(app: Litestar) -> set[str]:
    return {route.path for route in app.routes}


def test_locked_money_is_shown_and_not_counted_as_playable() -> None:
    held = [("EUR", "main", "5.00"), ("EUR", "bonus", "1.50"), ("EUR", "locked", "7.00"), ("JPY", "main", "0.00")]
    shown = purse([Shown(uuid.uuid4(), currency, kind, Decimal(amount)) for currency, kind, amount in held])

    assert [(one.currency, one.playable) for one in shown] == [("EUR", "6.50"), ("JPY", "0")]
    assert shown[0].parts == (("main", "5.00"), ("bonus", "1.50"), ("locked", "7.00"))
