"""Statements and past balances as callers meet them: a player's own, anybody's for the staff, pages and files."""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from casino import Casino, Player
from countroom import clock
from countroom.games import service as games
from countroom.money import Money
from countroom.players import staff
from countroom.wallet import service as wallet
from countroom.wallet.history import Place
from countroom.web import statements
from serving import Served

WHO = {"email": "ann@example.com", "password": "a long walk home"}
NEW_PLAYER = {**WHO, "country": "MT", "birth_date": "1990-01-02", "currency": "EUR"}
HOSTILE = '=HYPERLINK("http://evil.test","x")'


@dataclass
class Desk:
    """A player with money who plays, and everybody's way to ask."""

    http: httpx.AsyncClient
    player: Player
    tokens: dict[str, str]

    async def ask(self, path: str, *, by: str = "player", **query: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[by]}"} if by else {}
        return await self.http.get(f"/api/v1{path}", params=query, headers=headers)

    async def wallet_id(self, wallet_type: str = "main") -> str:
        wallets = (await self.ask(f"/players/{self.player.id}/wallets", by="staff")).json()["wallets"]
        return next(str(one["id"]) for one in wallets if one["type"] == wallet_type)

    async def statement(self, suffix: str = "", *, by: str = "player", **query: Any) -> httpx.Response:
        whose = f"/players/{self.player.id}" if by == "staff" else ""
        return await self.ask(f"{whose}/wallets/{await self.wallet_id()}/statement{suffix}", by=by, **query)


@pytest.fixture
async def desk(served: Served) -> Desk:
    created = await served.http.post("/api/v1/players", json=NEW_PLAYER)
    user_id = UUID(created.json()["id"])
    token = (await served.http.post("/api/v1/sign-in", json=WHO)).json()["token"]
    found = await staff.ensure_first(served.casino.database)
    assert found
    member = await served.http.post("/api/v1/staff/sign-in", json={"email": found[0], "password": found[1]})
    await _pay_in(served.casino, user_id, "50.00")
    launched = await games.launch(served.casino.database, user_id=user_id, slug="lucky-sevens", currency="EUR")
    player = Player(served.casino, user_id, "EUR", launched.session_id)
    await player.bet("2.00", "b1")
    await player.win("5.00", "w1")
    await player.bet("1.00", "b2", round_key="r2")
    await player.reverse("b2", "undo", round_key="r2")
    return Desk(served.http, player, {"player": token, "staff": member.json()["token"]})


async def _pay_in(casino: Casino, user_id: UUID, amount: str) -> None:
    async with casino.database.transaction() as tx:
        await wallet.post_deposit(
            tx,
            user_id=user_id,
            money=Money.parse(amount, "EUR"),
            external_id=f"test:{clock.new_id()}",
            payment_id=clock.new_id(),
            provider="test",
        )


def _refused(answer: httpx.Response, status: int, code: str, field: str | None) -> None:
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.text
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem.get("field")) == (status, code, field), answer.text


async def test_a_player_and_the_staff_read_the_same_statement(desk: Desk) -> None:
    own = (await desk.statement()).json()
    theirs = (await desk.statement(by="staff")).json()

    assert own == theirs
    assert [(one["sequence"], one["amount"], one["balance_after"]) for one in own["entries"]] == [
        (5, "1.00", "53.00"), (4, "-1.00", "52.00"), (3, "5.00", "53.00"), (2, "-2.00", "48.00"), (1, "50.00", "50.00"),
    ]  # fmt: skip
    bet = own["entries"][3]
    assert {name: bet[name] for name in ("type", "movement", "status", "fee", "provider", "external_id")} == {
        "type": "bet", "movement": "posted", "status": "success", "fee": "0.00", "provider": "sandbox",
        "external_id": "sandbox:b1",
    }  # fmt: skip
    assert (bet["game"], bet["game_title"], bet["provider_round_id"]) == ("lucky-sevens", "Lucky Sevens", "r1")
    assert (own["opening_balance"], own["closing_balance"]) == ("0.00", "53.00")
    assert (own["wallet"]["balance"], own["wallet"]["entries"]) == ("53.00", 5)
    assert (own["has_older"], own["has_newer"]) == (False, False)


async def test_pages_go_on_in_both_directions_while_money_moves(desk: Desk) -> None:
    first = (await desk.statement(limit=2)).json()
    await desk.player.bet("1.00", "b3", round_key="r3")
    second = (await desk.statement(limit=2, cursor=first["older"])).json()
    third = (await desk.statement(limit=2, cursor=second["older"])).json()
    back = (await desk.statement(limit=2, cursor=third["newer"])).json()
    fresh = (await desk.statement(limit=2, cursor=first["newer"])).json()

    pages = [[one["sequence"] for one in page["entries"]] for page in (first, second, third, back, fresh)]
    assert pages == [[5, 4], [3, 2], [1], [3, 2], [6]]
    assert [page["has_older"] for page in (first, second, third, fresh)] == [True, True, False, True]
    assert [page["has_newer"] for page in (first, second, fresh)] == [False, True, False]


async def test_filters_choose_lines_and_time_gives_the_balances_around_them(desk: Desk) -> None:
    entries = (await desk.statement(order="oldest")).json()["entries"]
    assert [one["sequence"] for one in entries] == [1, 2, 3, 4, 5]

    async def found(**query: Any) -> list[int]:
        return [one["sequence"] for one in (await desk.statement(**query)).json()["entries"]]

    assert await found(type="bet") == [5, 4, 2]
    assert await found(type=["win", "deposit"]) == [3, 1]
    assert await found(status="cancelled") == [5, 4]
    assert await found(game="lucky-sevens") == [5, 4, 3, 2]
    assert await found(round=entries[1]["round_id"]) == [3, 2]
    day = {"from": entries[1]["time"], "to": entries[3]["time"]}
    assert await found(**day) == [3, 2]
    page = (await desk.statement(**day)).json()
    assert (page["opening_balance"], page["closing_balance"]) == ("50.00", "53.00")
    assert await found(**{"from": "2999-01-01T00:00:00Z"}) == []


async def test_past_balances_are_those_of_the_moment(desk: Desk) -> None:
    entries = (await desk.statement(order="oldest")).json()["entries"]
    at = entries[1]["time"]
    own = (await desk.ask("/wallets/balances", at=at)).json()

    assert own == (await desk.ask(f"/players/{desk.player.id}/balances", by="staff", at=at)).json()
    assert [(one["type"], one["balance"], one["entries"], one["existed"]) for one in own["balances"]] == [
        ("main", "48.00", 2, True), ("bonus", "0.00", 0, True), ("locked", "0.00", 0, True),
    ]  # fmt: skip
    before = (await desk.ask("/wallets/balances", at="2001-01-01T00:00:00+02:00")).json()
    assert before["at"] == "2000-12-31T22:00:00Z"
    assert {(one["balance"], one["existed"]) for one in before["balances"]} == {("0.00", False)}


async def test_nobody_sees_the_wallet_of_another(desk: Desk) -> None:
    other = await desk.player.casino.player(main="7.00")
    theirs = (await desk.ask(f"/players/{other.id}/wallets", by="staff")).json()["wallets"][0]["id"]
    unknown = clock.new_id()

    for answer in (
        await desk.ask(f"/wallets/{theirs}/statement"),
        await desk.ask(f"/wallets/{theirs}/statement.csv"),
        await desk.ask(f"/players/{desk.player.id}/wallets/{theirs}/statement", by="staff"),
        await desk.ask(f"/wallets/{unknown}/statement"),
    ):
        _refused(answer, 404, "unknown_wallet", None)
    mine = await desk.wallet_id()
    for path in (f"/wallets/{mine}/statement", f"/wallets/{mine}/statement.csv", "/wallets/balances"):
        _refused(await desk.ask(path, by=""), 401, "not_signed_in", None)
        _refused(await desk.ask(path, by="staff"), 401, "not_signed_in", None)
    for path in ("wallets", f"wallets/{mine}/statement", f"wallets/{mine}/statement.csv", "balances"):
        _refused(await desk.ask(f"/players/{desk.player.id}/{path}"), 401, "not_signed_in", None)
    for path in ("wallets", "balances"):
        _refused(await desk.ask(f"/players/{unknown}/{path}", by="staff"), 404, "unknown_player", None)


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ({"type": "gift"}, "invalid_filter", "type"),
        ({"type": ["bet", ""]}, "invalid_filter", "type"),
        ({"status": "SUCCESS"}, "invalid_filter", "status"),
        ({"order": "random"}, "invalid_filter", "order"),
        ({"round": "r1"}, "invalid_filter", "round"),
        ({"round": "0198f3a2-0000-7000-8000-000000000000"}, "unknown_round", "round"),
        ({"game": "no-such-game"}, "unknown_game", "game"),
        ({"game": "\x00"}, "unknown_game", "game"),
        ({"from": "yesterday"}, "invalid_moment", "from"),
        ({"from": "2026-01-31T12:00:00"}, "invalid_moment", "from"),
        ({"to": "0001-01-01T00:00:00+14:00"}, "invalid_moment", "to"),
        ({"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "invalid_range", "from"),
        ({"cursor": "a"}, "invalid_cursor", "cursor"),
        ({"cursor": "é"}, "invalid_cursor", "cursor"),
        ({"cursor": "bwAAAAAAAAA"}, "invalid_cursor", "cursor"),
        ({"limit": "0"}, "invalid_request", "limit"),
        ({"limit": "201"}, "invalid_request", "limit"),
        ({"limit": "ten"}, "invalid_request", "limit"),
    ],
)
async def test_a_value_that_cannot_be_is_refused_by_its_name(
    desk: Desk, query: dict[str, Any], code: str, field: str
) -> None:
    _refused(await desk.statement(**query), 400, code, field)


async def test_a_moment_to_come_is_refused_and_none_is_now(desk: Desk) -> None:
    tomorrow = _iso(datetime.now(UTC) + timedelta(days=1))

    _refused(await desk.ask("/wallets/balances", at=tomorrow), 400, "moment_in_future", "at")
    _refused(await desk.ask("/wallets/balances", at="now"), 400, "invalid_moment", "at")
    now = (await desk.ask("/wallets/balances")).json()["balances"]
    assert [one["balance"] for one in now] == ["53.00", "0.00", "0.00"]


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def test_a_cursor_is_its_place_and_nothing_else_is_a_cursor() -> None:
    for place in (Place("older", 1), Place("newer", 0), Place("older", 2**62)):
        assert statements.place_of(statements.cursor_of(place)) == place
    for wrong in ("", "AAAA", "x" * 12, statements.cursor_of(Place("older", -1))):
        with pytest.raises(statements.InvalidCursor):
            statements.place_of(wrong)


async def test_a_file_holds_every_line_of_its_filters_and_no_formula(desk: Desk) -> None:
    await desk.player.bet("1.00", HOSTILE, round_key=HOSTILE)
    await desk.player.casino.database.fetch("UPDATE games SET title = '+cmd|'' /C calc''!A0'")

    for by in ("player", "staff"):
        answer = await desk.statement(".csv", by=by, type="bet", order="oldest")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="statement-EUR-main-')
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["sequence"] for row in rows] == ["2", "4", "5", "6"]
        assert [row["amount"] for row in rows] == ["-2.00", "-1.00", "1.00", "-1.00"]
        assert rows[-1]["balance_after"] == "52.00"
        assert rows[-1]["provider_round_id"] == f"'{HOSTILE}"
        assert rows[-1]["external_id"] == f"sandbox:{HOSTILE}"
        assert {row["game_title"] for row in rows} == {"'+cmd|' /C calc'!A0"}


async def test_a_long_file_comes_in_parts_and_is_whole(desk: Desk) -> None:
    async with desk.player.casino.database.transaction() as tx:
        wallet_id = await tx.fetchval(
            "UPDATE wallet_accounts SET balance = balance + 25.00, sequence = sequence + 2500 "
            "WHERE user_id = $1 AND type = 'main' RETURNING id",
            desk.player.id,
        )
        await tx.execute(
            """
            WITH posted AS (
                INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, user_id,
                                          wallet_type, currency, request_hash)
                SELECT gen_random_uuid(), $1, 'test:' || n, 0.01, 'adjustment', 'success', $2, 'main', 'EUR', sha256('')
                  FROM generate_series(6, 2505) AS n
                RETURNING id, substr(external_id, 6)::bigint AS n)
            INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after)
            SELECT $1, n, id, 0.01, 53.00 + (n - 5) * 0.01 FROM posted
            """,
            wallet_id,
            desk.player.id,
        )

    answer = await desk.statement(".csv")

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [int(row["sequence"]) for row in rows] == list(range(2505, 0, -1))
    assert rows[0]["balance_after"] == "78.00"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@a", "'@a"), ("\t=1", "'\t=1"), ("\r=1", "'\r=1"),
        ("  =1", "'  =1"), ("＝1", "'＝1"), ("plain", "plain"), ("", ""), (None, ""), ("a=1", "a=1"),  # noqa: RUF001
    ],
)  # fmt: skip
def test_text_never_becomes_a_formula(text: str | None, cell: str) -> None:
    assert statements.plain_cell(text) == cell
