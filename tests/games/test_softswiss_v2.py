"""`softswiss-v2` as a foreign client sees it: requests are built and signed by the `beexar` package."""

import asyncio
import dataclasses
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import beexar
import pytest
from beexar import ApiCode, ApiError, BetWinResult, Money

from casino import PROVIDER_KEY, Player
from countroom.money import AMOUNT_MAX
from countroom.wallet.commands import Command, Deposit
from serving import Served

GAME = "lucky-sevens"


def wire(request: Any) -> dict[str, Any]:
    """Turn a request of the package into what it puts on the wire."""

    def value(of: Any) -> Any:
        if isinstance(of, Money):
            return str(of)
        if dataclasses.is_dataclass(of) and not isinstance(of, type):
            fields = {f.name: value(getattr(of, f.name)) for f in dataclasses.fields(of)}
            return {name: given for name, given in fields.items() if given is not None}
        return [value(item) for item in of] if isinstance(of, list) else of

    body: dict[str, Any] = value(request)
    if isinstance(request, beexar.RollbackRequest):
        for transaction in body["transactions"]:
            transaction["type"] = "rollback"
    return body


class Aggregator:
    """A foreign caller for one player."""

    def __init__(self, served: Served, player: Player) -> None:
        self.served = served
        self.player = player
        self.account = {"account_id": str(player.id), "currency": player.currency}

    async def raw(self, action: str, body: bytes, signature: str | None, provider: str = "sandbox") -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"}
        if signature is not None:
            headers[beexar.SIGNATURE_HEADER] = signature
        answer = await self.served.http.post(f"/providers/{provider}/{action}", content=body, headers=headers)
        assert answer.headers["content-type"] == "application/json"
        return answer.status_code, answer.json()

    async def call(self, action: str, request: Any) -> Any:
        body = json.dumps(wire(request) if dataclasses.is_dataclass(request) else request).encode()
        status, answer = await self.raw(action, body, beexar.sign(body, PROVIDER_KEY))
        if status != 200:
            raise ApiError.from_envelope(status, answer)
        return answer

    async def bet_win(self, *transactions: tuple[str, str, str], round_id: str = "r1", **more: Any) -> BetWinResult:
        request = beexar.BetWinRequest(
            **self.account,
            game_id=GAME,
            round_id=round_id,
            finished=more.pop("finished", False),
            transactions=[
                beexar.BetWinTransaction(id_provider=key, type=kind, amount=Money.parse(amount))
                for kind, key, amount in transactions
            ],
            session_id=more.pop("session_id", str(self.player.session_id)),
        )
        answer = await self.call("betwin", request)
        return BetWinResult(
            round_id=answer["round_id"],
            balance=Money.parse(answer["balance"]),
            transactions=[
                beexar.BetWinTransactionResult(t["id_provider"], t["id"], Money.parse(t["bonus_amount"]))
                for t in answer["transactions"]
            ],
        )

    async def rollback(self, key: str, target: str, round_id: str = "r1") -> beexar.RollbackResult:
        request = beexar.RollbackRequest(
            **self.account,
            game_id=GAME,
            round_id_provider=round_id,
            finished=False,
            transactions=[beexar.RollbackTransaction(id_provider=key, original_id_provider=target)],
        )
        answer = await self.call("rollback", request)
        return beexar.RollbackResult(
            balance=Money.parse(answer["balance"]),
            round_id=answer["round_id"],
            transactions=[beexar.RollbackTransactionResult(**t) for t in answer["transactions"]],
        )

    async def finish(self, round_id: str = "r1") -> str:
        answer = await self.call("finish", beexar.FinishRequest(**self.account, round_id=round_id))
        return str(answer["balance"])

    async def balance(self) -> str:
        answer = await self.call("balance", beexar.BalanceRequest(**self.account, game_id=GAME))
        return str(answer["balance"])


@pytest.fixture
async def aggregator(served: Served) -> Aggregator:
    return Aggregator(served, await served.casino.player(main="100.00"))


async def test_bet_win_and_both_together_each_repeated(aggregator: Aggregator) -> None:
    assert await aggregator.balance() == "100.00"

    bet = await aggregator.bet_win(("bet", "b1", "10.00"))
    assert str(bet.balance) == "90.00"
    assert UUID(bet.round_id)
    assert UUID(bet.transactions[0].id)
    assert await aggregator.bet_win(("bet", "b1", "10.00")) == bet

    win = await aggregator.bet_win(("win", "w1", "25.5"))
    assert str(win.balance) == "115.50"
    assert win.round_id == bet.round_id
    assert await aggregator.bet_win(("win", "w1", "25.50")) == win

    both = await aggregator.bet_win(("bet", "b2", "1"), ("win", "w2", "0.01"), round_id="r2", finished=True)
    assert str(both.balance) == "114.51"
    assert await aggregator.bet_win(("bet", "b2", "1"), ("win", "w2", "0.01"), round_id="r2", finished=True) == both
    assert await aggregator.bet_win(("bet", "b1", "10.00")) == bet


async def test_rollback_repeated_and_with_another_id(aggregator: Aggregator) -> None:
    await aggregator.bet_win(("bet", "b1", "10.00"))
    first = await aggregator.rollback("x1", "b1")
    assert str(first.balance) == "100.00"
    assert UUID(first.transactions[0].id)
    assert await aggregator.rollback("x1", "b1") == first

    second = await aggregator.rollback("x2", "b1")
    assert second.transactions[0].id == first.transactions[0].id
    assert await aggregator.balance() == "100.00"


async def test_rollback_before_its_bet_answers_200_and_refuses_the_bet_for_ever(aggregator: Aggregator) -> None:
    early = await aggregator.rollback("x1", "b1")
    assert early.transactions[0].id == ""
    assert await aggregator.rollback("x1", "b1") == early
    for _ in range(2):
        with pytest.raises(ApiError) as refused:
            await aggregator.bet_win(("bet", "b1", "10.00"))
        assert refused.value.api_code == ApiCode.ALREADY_ROLLED_BACK
        assert not refused.value.is_retryable()
    assert await aggregator.balance() == "100.00"


async def test_finish_is_idempotent_and_knows_its_rounds(aggregator: Aggregator) -> None:
    await aggregator.bet_win(("bet", "b1", "10.00"))
    assert await aggregator.finish() == "90.00"
    assert await aggregator.finish() == "90.00"
    with pytest.raises(ApiError) as refused:
        await aggregator.finish("never")
    assert refused.value.api_code == ApiCode.NOT_FOUND


async def test_no_id_with_a_null_byte_reaches_the_database(aggregator: Aggregator) -> None:
    with pytest.raises(ApiError) as refused:
        await aggregator.finish("nul\x00")
    assert refused.value.api_code == ApiCode.BAD_REQUEST


async def test_fifty_equal_bets_at_once_charge_once(aggregator: Aggregator) -> None:
    answers = await asyncio.gather(*(aggregator.bet_win(("bet", "b1", "10.00")) for _ in range(50)))

    assert all(answer == answers[0] for answer in answers)
    assert await aggregator.balance() == "90.00"


async def test_two_rollbacks_with_different_ids_at_once_credit_once(aggregator: Aggregator) -> None:
    await aggregator.bet_win(("bet", "b1", "10.00"))
    await asyncio.gather(*(aggregator.rollback(f"x{n}", "b1") for n in range(10)))
    assert await aggregator.balance() == "100.00"


async def test_funds_errors_carry_the_balance(aggregator: Aggregator) -> None:
    body = json.dumps(
        {
            **aggregator.account,
            "game_id": GAME,
            "round_id": "r1",
            "transactions": [{"id_provider": "b1", "type": "bet", "amount": "100.01"}],
        }
    ).encode()
    status, answer = await aggregator.raw("betwin", body, beexar.sign(body, PROVIDER_KEY))
    assert status == 400
    assert answer["meta"] == {
        "api_code": ApiCode.INSUFFICIENT_FUNDS,
        "api_message": "The wallet cannot cover this stake.",
        "balance": "100.00",
    }


GOOD: dict[str, Any] = {
    "game_id": GAME,
    "round_id": "r1",
    "transactions": [{"id_provider": "b1", "type": "bet", "amount": "1.00"}],
}


def amount(value: object) -> dict[str, Any]:
    return {"transactions": [{"id_provider": "b1", "type": "bet", "amount": value}]}


BAD: list[tuple[dict[str, Any], str]] = [
    (amount(1.0), "400"),
    (amount(1), "400"),
    (amount("1E2"), "400"),
    (amount("1E2000000000"), "400"),
    (amount("-1.00"), "400"),
    (amount("-0"), "400"),
    (amount("NaN"), "400"),
    (amount("0.00"), "400"),
    (amount("1.001"), "400"),
    (amount("0.00000000000000001"), "400"),
    (amount(" 1"), "400"),
    (amount("\u0661"), "400"),
    (amount("99999999999999999999.00"), "400"),
    (amount(None), "400"),
    ({"transactions": []}, "400"),
    ({"transactions": [{"id_provider": "b1", "type": "jackpot", "amount": "1"}]}, "400"),
    ({"transactions": [{"id_provider": "", "type": "bet", "amount": "1"}]}, "400"),
    ({"transactions": [{"id_provider": "nul\x00", "type": "bet", "amount": "1"}]}, "400"),
    ({"transactions": [{"id_provider": "a/bonus", "type": "bet", "amount": "1"}]}, "400"),
    ({"transactions": [{"id_provider": "x" * 201, "type": "bet", "amount": "1"}]}, "400"),
    ({"round_id": 7}, "400"),
    ({"finished": "yes"}, "400"),
    ({"account_id": "nobody"}, "101"),
    ({"account_id": "01900000-0000-7000-8000-000000000000"}, "101"),
    ({"session_id": "01900000-0000-7000-8000-000000000000"}, "101"),
    ({"session_id": "not-ours"}, "101"),
    ({"currency": "USD"}, "154"),
    ({"currency": "XXX"}, "154"),
    ({"currency": "eur"}, "400"),
    ({"game_id": "unknown"}, "405"),
]


async def test_bad_input_is_refused_in_the_protocols_form_and_moves_nothing(aggregator: Aggregator) -> None:
    for change, code in BAD:
        with pytest.raises(ApiError) as refused:
            await aggregator.call("betwin", {**aggregator.account, **GOOD, **change})
        assert (refused.value.http_status, refused.value.api_code) == (400, code), change
        assert await aggregator.balance() == "100.00", change


async def refused(aggregator: Aggregator, action: str, code: str, body: dict[str, Any]) -> None:
    """The call is refused so, for good, and in the very same bytes when it comes again; nothing has moved."""
    content = json.dumps({**aggregator.account, **body}).encode()
    before = await aggregator.served.casino.everything()
    status, answer = await aggregator.raw(action, content, beexar.sign(content, PROVIDER_KEY))
    assert (status, answer["code"], answer["meta"]["api_code"]) == (400, "invalid_argument", code), answer
    assert await aggregator.raw(action, content, beexar.sign(content, PROVIDER_KEY)) == (status, answer)
    assert await aggregator.served.casino.everything() == before


def bet_win(kind: str, key: str, amount: str, round_id: str) -> dict[str, Any]:
    transactions = [{"id_provider": key, "type": kind, "amount": amount}]
    return {"game_id": GAME, "round_id": round_id, "transactions": transactions}


def rollback(target: str, round_id: str, key: str = "x9") -> dict[str, Any]:
    transactions = [{"id_provider": key, "original_id_provider": target, "type": "rollback"}]
    return {"game_id": GAME, "round_id_provider": round_id, "transactions": transactions}


async def test_what_contradicts_what_is_there_is_refused_for_good_and_moves_nothing(
    aggregator: Aggregator, served: Served
) -> None:
    other = Aggregator(served, await served.casino.player(main="100.00"))
    await aggregator.bet_win(("bet", "b1", "10.00"))
    await aggregator.bet_win(("bet", "b2", "5.00"), round_id="r2", finished=True)
    await aggregator.rollback("x1", "b1")
    cashier = Command("sandbox", aggregator.player.id, "EUR", (Deposit("d1", Decimal(5), aggregator.player.id),))
    await served.casino.batcher.submit(cashier)

    await refused(aggregator, "betwin", "400", bet_win("bet", "b1", "11.00", "r1"))  # other content
    await refused(aggregator, "betwin", "400", bet_win("win", "x1", "1.00", "r1"))
    await refused(aggregator, "betwin", "400", bet_win("bet", "b3", "1.00", "r2"))  # a round that is settled
    await refused(aggregator, "rollback", "400", rollback("x1", "r1"))  # a reversal
    await refused(aggregator, "rollback", "400", rollback("d1", "r1"))  # a deposit
    await refused(aggregator, "rollback", "400", rollback("b2", "r2", key="b1"))  # the key of a bet
    await refused(other, "rollback", "400", rollback("b2", "r9"))  # somebody else's bet
    await refused(other, "rollback", "400", rollback("b1", "r9"))
    await refused(other, "betwin", "400", bet_win("win", "w9", "1.00", "r2"))  # somebody else's round
    await refused(other, "betwin", "400", bet_win("bet", "b2", "5.00", "r9"))
    await refused(other, "finish", "404", {"round_id": "r2"})


async def test_more_than_a_wallet_holds_is_refused_for_good_and_is_no_error(served: Served) -> None:
    aggregator = Aggregator(served, await served.casino.player(main=str(AMOUNT_MAX)))
    await refused(aggregator, "betwin", "400", bet_win("win", "w1", "0.01", "r1"))
    assert str((await aggregator.bet_win(("bet", "b1", str(AMOUNT_MAX)))).balance) == "0.00"
    assert str((await aggregator.bet_win(("win", "w1", "9.00"))).balance) == "9.00"
    await refused(aggregator, "betwin", "400", bet_win("bet", "b2", "1.00", "r1"))  # the round's sum
    session = {"session_id": str(aggregator.player.session_id)}
    await refused(aggregator, "betwin", "400", bet_win("bet", "b3", "1.00", "r2") | session)  # the session's


MALFORMED = [
    b"",
    b"[]",
    b"null",
    b"{",
    b'"\xff"',
    b'{"account_id": "\\ud800"}',
    b"[" * 30_000,
    b'{"a":' * 10_000,
    b"\xef\xbb\xbf{}",
]


async def test_a_malformed_body_is_a_400_of_the_protocol(aggregator: Aggregator) -> None:
    for body in MALFORMED:
        for action in ("balance", "betwin", "rollback", "finish"):
            status, answer = await aggregator.raw(action, body, beexar.sign(body, PROVIDER_KEY))
            assert (status, answer["meta"]["api_code"]) == (400, "400"), body[:40]


async def test_unknown_fields_are_tolerated(aggregator: Aggregator) -> None:
    answer = await aggregator.call("betwin", {**aggregator.account, **GOOD, "new_field": {"deep": [1, 2]}})
    assert answer["balance"] == "99.00"


async def test_an_oversized_body_is_refused(aggregator: Aggregator) -> None:
    body = json.dumps({**aggregator.account, **GOOD, "pad": "x" * 70_000}).encode()
    status, answer = await aggregator.raw("betwin", body, beexar.sign(body, PROVIDER_KEY))
    assert (status, answer["meta"]["api_code"]) == (400, ApiCode.BAD_REQUEST)


async def test_p8_nothing_is_read_before_the_signature_holds(aggregator: Aggregator) -> None:
    body = json.dumps({**aggregator.account, **GOOD}).encode()
    good = beexar.sign(body, PROVIDER_KEY)
    altered = body.replace(b"1.00", b"9.00")
    # With the wallets locked, anything that went on to the wallet would hang.
    async with aggregator.served.casino.database.transaction() as tx:
        await tx.execute("SELECT FROM wallet_accounts FOR UPDATE")
        await tx.execute("LOCK TABLE users, games, game_sessions, transactions IN ACCESS EXCLUSIVE MODE")
        for signature, content in [
            (None, body),
            ("", body),
            ("0" * 64, body),
            (good[:-1], body),
            (good, altered),
            (good, body + b"\n"),
            (beexar.sign(body, "another key"), body),
        ]:
            status, answer = await asyncio.wait_for(aggregator.raw("betwin", content, signature), 5)
            assert (status, answer["meta"]["api_code"]) == (400, ApiCode.FORBIDDEN)
        status, answer = await asyncio.wait_for(aggregator.raw("betwin", body, good, provider="unknown"), 5)
        assert (status, answer["meta"]["api_code"]) == (400, ApiCode.NOT_FOUND)
    assert await aggregator.balance() == "100.00"


async def test_whole_yen_only(served: Served) -> None:
    player = await served.casino.player(main="1000", currency="JPY")
    aggregator = Aggregator(served, player)
    assert str((await aggregator.bet_win(("bet", "b1", "10"))).balance) == "990"
    with pytest.raises(ApiError) as refused:
        await aggregator.bet_win(("bet", "b2", "10.5"))
    assert refused.value.api_code == ApiCode.BAD_REQUEST


async def test_a_lost_database_is_a_retryable_answer(aggregator: Aggregator) -> None:
    database = aggregator.served.casino.database
    name = await database.pool.fetchval("SELECT current_database()")
    await database.pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name
    )
    tries = [aggregator.bet_win(("bet", "b1", "10.00")) for _ in range(20)]
    outcomes = [(await asyncio.gather(each, return_exceptions=True))[0] for each in tries]

    assert all(outcome.is_retryable() for outcome in outcomes if isinstance(outcome, ApiError))
    assert {str(outcome.balance) for outcome in outcomes if isinstance(outcome, BetWinResult)} == {"90.00"}
