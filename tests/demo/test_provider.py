import asyncio
import csv
import io
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import beexar
import httpx
import pytest
from beexar.asgi import asgi_app

from countroom.demo import callbacks, rounds
from countroom.demo.callbacks import WalletClient
from countroom.demo.ledger import Ledger
from countroom.demo.provider import Provider
from countroom.demo.rounds import Owed
from sandbox_process import PROVIDER_KEY, served

SEAT = {"session_id": "s-1", "account_id": "player-1", "game_id": "count-room-classic", "currency": "EUR"}


class Purse:
    """A casino's wallet of one player behind beexar's server, which verifies and parses every call."""

    def __init__(self) -> None:
        self.money = Decimal("100.00")
        self.calls: list[tuple[str, Any]] = []
        self.bodies: list[bytes] = []
        self.answers: dict[str, Any] = {}
        self.dead: set[str] = set()
        self.charged: dict[str, Decimal] = {}

    def _heard(self, name: str, request: Any, context: beexar.RequestContext) -> None:
        assert beexar.verify(context.raw_body, context.headers["x-request-sign"], PROVIDER_KEY)
        assert request.account_id == "player-1"
        self.calls.append((name, request))
        self.bodies.append(context.raw_body)

    def _balance(self) -> beexar.Money:
        return beexar.Money.parse(str(self.money))

    def balance(self, request: beexar.BalanceRequest, context: beexar.RequestContext) -> beexar.BalanceResult:
        self._heard("balance", request, context)
        return beexar.BalanceResult(self._balance())

    def bet_win(self, request: beexar.BetWinRequest, context: beexar.RequestContext) -> beexar.BetWinResult:
        self._heard("betwin", request, context)
        key = request.transactions[0].id_provider
        if key in self.dead:
            raise beexar.WalletError.already_rolled_back()
        if key not in self.answers:
            for transaction in request.transactions:
                amount = Decimal(str(transaction.amount)) * (-1 if transaction.type == "bet" else 1)
                if self.money + amount < 0:
                    raise beexar.WalletError.insufficient_funds(self._balance())
                self.money += amount
                self.charged[transaction.id_provider] = amount
            done = [beexar.BetWinTransactionResult(item.id_provider, "our-id") for item in request.transactions]
            self.answers[key] = beexar.BetWinResult("our-round", self._balance(), done)
        result: beexar.BetWinResult = self.answers[key]
        return result

    def rollback(self, request: beexar.RollbackRequest, context: beexar.RequestContext) -> beexar.RollbackResult:
        self._heard("rollback", request, context)
        item = request.transactions[0]
        self.dead.add(item.original_id_provider)
        moved = self.charged.pop(item.original_id_provider, None)
        self.money -= moved or 0
        if item.id_provider not in self.answers:
            self.answers[item.id_provider] = "" if moved is None else "our-id"
        done = [beexar.RollbackTransactionResult(item.id_provider, self.answers[item.id_provider])]
        return beexar.RollbackResult(self._balance(), "our-round", done)

    def finish(self, request: beexar.FinishRequest, context: beexar.RequestContext) -> beexar.FinishResult:
        self._heard("finish", request, context)
        return beexar.FinishResult(self._balance())


class Table:
    """The provider, the casino it calls, and the casino's ledger."""

    def __init__(self, ledger: Purse, owed: Owed, client: httpx.AsyncClient, wallet: WalletClient) -> None:
        self.ledger = ledger
        self.wallet = wallet
        self.owed = owed
        self.client = client

    async def spin(self, **wanted: Any) -> dict[str, Any]:
        answer = await self.client.post("/spin", json={**SEAT, "stake": "1.00", **wanted})
        played: dict[str, Any] = answer.json()
        assert answer.status_code == 200, played
        return played

    @property
    def routes(self) -> list[str]:
        return [name for name, _ in self.ledger.calls]


class Moody:
    """Answers 500 so often before it lets a call through; with ``after``, only once the casino has done it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.failures = 0
        self.heard = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.heard += 1
        if self.failures == 0:
            await self.inner(scope, receive, send)
            return
        self.failures -= 1

        async def swallow(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "status": 500}
            await send(message)

        await self.inner(scope, receive, swallow)


@asynccontextmanager
async def table(seed: int = 1) -> AsyncIterator[tuple[Table, Moody]]:
    ledger = Purse()
    casino = Moody(asgi_app(beexar.WalletServer(ledger, PROVIDER_KEY)))
    async with served(casino) as address, httpx.AsyncClient(trust_env=False) as outward:
        wallet = WalletClient(f"{address}/providers/sandbox", PROVIDER_KEY, outward)
        owed = Owed(wallet)
        provider = Provider(wallet, owed, chance=random.Random(seed))  # noqa: S311 - a fixed seed
        transport = httpx.ASGITransport(provider.application())
        async with httpx.AsyncClient(transport=transport, base_url="http://provider") as client:
            yield Table(ledger, owed, client, wallet), casino


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "BACKOFF_SECONDS", 0.001)


async def test_each_way_of_telling_a_round_is_understood_by_beexar_and_adds_up() -> None:
    async with table() as (playing, _):
        for story in ("plain", "win_apart", "finish_apart", "bet_reversed", "reversed_unseen"):
            for repeat in (False, True):
                for _ in range(6):
                    before = playing.ledger.money
                    played = await playing.spin(story=story, repeat=repeat)
                    assert played["surprises"] == []
                    assert played["refused"] is None
                    assert played["closed"]
                    stake = Decimal(0) if played["reversed"] else Decimal(played["stake"])
                    assert playing.ledger.money == before - stake + Decimal(played["win"])
                    assert Decimal(played["balance"]) == playing.ledger.money

        assert set(playing.routes) == {"betwin", "rollback", "finish"}


async def test_a_repeat_is_the_same_bytes() -> None:
    async with table() as (playing, _):
        await playing.spin(story="plain", repeat=True)

        assert len(playing.ledger.bodies) == 2
        assert playing.ledger.bodies[0] == playing.ledger.bodies[1]


async def test_the_reversal_of_an_unseen_bet_comes_before_the_bet() -> None:
    async with table() as (playing, _):
        played = await playing.spin(story="reversed_unseen")

        (_, reversal), (_, bet) = playing.ledger.calls
        assert reversal.transactions[0].original_id_provider == bet.transactions[0].id_provider
        assert reversal.round_id_provider == bet.round_id == played["round_id"]
        assert played["calls"][1]["api_code"] == "409"


async def test_two_reversals_of_one_bet_have_different_ids() -> None:
    async with table() as (playing, _):
        await playing.spin(story="bet_reversed")

        reversals = [request.transactions[0] for name, request in playing.ledger.calls if name == "rollback"]
        assert len({item.id_provider for item in reversals}) == 2
        assert len({item.original_id_provider for item in reversals}) == 1
        assert playing.ledger.money == Decimal("100.00")


async def test_a_win_can_come_later_and_only_once() -> None:
    async with table() as (playing, _):
        started = await playing.spin(story="win_later")
        assert (started["closed"], started["win"], started["symbols"]) == (False, "0", [])
        path = f"/rounds/{started['round_id']}/settle"
        settled = (await playing.client.post(path, json={"repeat": True})).json()
        again = await playing.client.post(path, json={})

        assert settled["closed"]
        assert playing.ledger.money == Decimal("99.00") + Decimal(settled["win"])
        assert again.status_code == 404


async def test_a_call_without_a_good_answer_is_repeated_with_the_same_ids_and_charged_once() -> None:
    async with table() as (playing, casino):
        casino.failures = 2
        played = await playing.spin(story="plain")

        assert casino.heard == 3
        assert played["calls"][0]["attempts"] == 3
        assert len(set(playing.ledger.bodies)) == 1
        assert playing.ledger.money == Decimal("100.00") - 1 + Decimal(played["win"])


async def test_a_bet_that_was_never_answered_is_taken_back_once_the_casino_is_there_again() -> None:
    async with table() as (playing, casino):
        casino.failures = callbacks.ATTEMPTS["betwin"]
        answer = await playing.client.post("/spin", json={**SEAT, "stake": "1.00", "story": "win_later"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_answer")
        assert playing.ledger.money == Decimal("99.00")

        await until_nothing_is_owed(playing.owed)

        assert playing.routes[-1] == "rollback"
        assert playing.ledger.money == Decimal("100.00")


async def until_nothing_is_owed(owed: Owed) -> None:
    paying = asyncio.create_task(owed.run())
    async with asyncio.timeout(10):
        while len(owed):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
    paying.cancel()


async def test_a_stake_above_the_balance_is_told_as_the_casino_told_it() -> None:
    async with table() as (playing, _):
        played = await playing.spin(stake="100.01")

        assert played["refused"] == {"api_code": "100", "message": "insufficient funds"}
        assert (played["win"], played["calls"][0]["http_status"]) == ("0", 400)


async def test_an_answer_that_the_protocol_does_not_know_is_a_finding() -> None:
    async with table() as (playing, casino):
        casino.inner = _teapot
        answer = await playing.client.post("/spin", json=SEAT)

        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "strange_answer")


async def _teapot(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.mark.parametrize(
    "changes",
    [{"stake": "0"}, {"stake": "1e3"}, {"stake": "-1"}, {"stake": "0.005"}, {"stake": "0.5", "currency": "JPY"},
     {"stake": 1}, {"story": "unheard"}, {"game_id": "of-another"}],
)  # fmt: skip
async def test_a_spin_that_makes_no_sense_never_reaches_the_casino(changes: dict[str, Any]) -> None:
    async with table() as (playing, _):
        answer = await playing.client.post("/spin", json={**SEAT, **changes})

        assert answer.status_code in {400, 404}
        assert playing.ledger.calls == []


async def test_another_sites_form_cannot_spin() -> None:
    async with table() as (playing, _):
        answer = await playing.client.post("/spin", content=b"{}", headers={"Content-Type": "text/plain"})

        assert answer.status_code == 415


async def test_the_game_page_shows_the_game_and_escapes_its_address() -> None:
    async with table() as (playing, _):
        query = {"session_id": "s", "account": '"><script>alert(1)</script>', "game": "rocket-run", "currency": "EUR"}
        page = await playing.client.get("/launch", params=query)
        incomplete = await playing.client.get("/launch", params={"game": "rocket-run"})
        balance = await playing.client.post("/balance", json=SEAT)

        assert "Rocket Run" in page.text
        assert "returns 96%" in page.text
        assert "<script>alert" not in page.text
        assert incomplete.status_code == 400
        assert balance.json() == {"balance": "100.00", "refused": None}


async def test_a_slot_publishes_its_reels_and_shows_where_they_stopped() -> None:
    async with table() as (playing, _):
        query = {
            "session_id": "s",
            "account": '"><script>alert(1)</script>',
            "game": "golden-ledger",
            "currency": "EUR",
        }
        page = await playing.client.get("/launch", params={**query, "chaos": "late,double"})
        unknown = await playing.client.get("/launch", params={**query, "chaos": "politeness"})
        odds = (await playing.client.get("/games/golden-ledger")).json()
        played = await playing.spin(story="plain")

        assert "returns 96%" in page.text
        assert 'data-chaos="double late"' in page.text
        assert "<script>alert" not in page.text
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (400, "unknown_chaos")
        assert (odds["return_to_player"], odds["chances_in"], len(odds["line_pays"])) == ("0.96", 15_625, 8)
        for reel, column in zip(odds["reels"], played["window"], strict=True):
            assert any((reel + reel)[place : place + 3] == column for place in range(len(reel)))
        paid = sum(line["pays"] for line in played["lines"])
        assert Decimal(played["win"]) == Decimal(played["stake"]) * paid / len(odds["lines"])


async def test_for_fun_the_casino_hears_nothing() -> None:
    async with table() as (playing, _):
        page = await playing.client.get("/launch", params={"game": "golden-ledger", "currency": "EUR", "mode": "fun"})
        nobody = {"session_id": "", "account_id": "", "game_id": "golden-ledger", "currency": "EUR"}
        answer = await playing.client.post("/spin", json={**nobody, "stake": "1.00", "fun": True})

        assert 'data-fun="fun"' in page.text
        assert (answer.status_code, answer.json()["calls"], playing.ledger.calls) == (200, [], [])
        assert len(answer.json()["window"]) == 3


async def test_the_daily_report_has_what_stands_and_what_was_taken_back() -> None:
    async with table() as (playing, _):
        own = Ledger.in_memory()
        playing.wallet.ledger = own
        for story in ("plain", "bet_reversed", "reversed_unseen"):
            await playing.spin(story=story)
        await playing.spin(stake="1000.00")
        day = datetime.now(UTC).date()
        report = await playing.client.get(f"/reports/{day}")
        nothing = await playing.client.get("/reports/2020-01-01")
        nonsense = await playing.client.get("/reports/today")

        rows = list(csv.DictReader(io.StringIO(report.text)))
        assert {row["status"] for row in rows} == {"success", "cancelled"}
        assert [row["amount"] for row in rows if row["status"] == "cancelled"] == ["1.00"]
        told = sum((Decimal(row["amount"]) * (1 if row["type"] == "win" else -1) for row in rows
                    if row["status"] == "success"), Decimal(0))  # fmt: skip
        assert playing.ledger.money == Decimal("100.00") + told
        assert own.won() == {("player-1", "EUR"): told}
        assert (len(nothing.text.splitlines()), nonsense.status_code) == (1, 404)


async def test_a_win_before_its_bet_is_taken_back_when_the_bet_is_refused() -> None:
    async with table() as (playing, _):
        for _ in range(40):
            played = await playing.spin(stake="500.00", story="win_first")
            assert played["refused"]
            if playing.routes[-1] == "rollback":
                break
        assert playing.routes[-3:] == ["betwin", "betwin", "rollback"]
        assert playing.ledger.calls[-1][1].transactions[0].original_id_provider.endswith("-win")
        assert (played["win"], playing.ledger.money) == ("0", Decimal("100.00"))


async def test_late_messages_come_later_and_the_balance_is_right_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "LATE_SECONDS", (0.01, 0.02))
    async with table() as (playing, _):
        won = Decimal(0)
        for _ in range(8):
            won += Decimal((await playing.spin(story="win_late"))["win"])
        taken_back = await playing.spin(story="reversed_late")
        assert taken_back["reversed"]
        assert playing.ledger.money == Decimal("91.00")
        await until_nothing_is_owed(playing.owed)

        assert playing.ledger.money == Decimal("92.00") + won


async def test_a_bad_line_repeats_and_doubles_and_finds_a_casino_that_forgets() -> None:
    async with table() as (playing, _):
        for _ in range(12):
            await playing.spin(chaos=["retries", "double"])
        assert len(playing.ledger.bodies) > len(set(playing.ledger.bodies))
        playing.ledger.answers = Unremembering()
        surprises = [found for _ in range(30) for found in (await playing.spin(chaos=["double"]))["surprises"]]

        assert any("a repeat was answered" in found for found in surprises)


async def test_a_casino_that_takes_a_late_bet_or_forgets_its_answers_is_found_out() -> None:
    async with table() as (playing, _):
        playing.ledger.dead = Forgetful()
        late = await playing.spin(story="reversed_unseen")
        playing.ledger.answers = Unremembering()
        charged_twice = await playing.spin(story="plain", repeat=True)

        assert late["surprises"] == ["a bet after its reversal was answered 200"]
        assert len(charged_twice["surprises"]) == 1
        assert charged_twice["surprises"][0].startswith("betwin: a repeat was answered ")


class Forgetful(set[str]):
    def __contains__(self, key: object) -> bool:
        return False


class Unremembering(dict[str, Any]):
    def __contains__(self, key: object) -> bool:
        return False
