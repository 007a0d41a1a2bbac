"""What each operation does to the three wallets, and what it leaves behind; docs/wallet.md says the same."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from casino import Balances, Casino, Player, open_casino
from countroom import clock
from countroom.money import Money
from countroom.wallet import service
from countroom.wallet.commands import (
    Bet,
    Command,
    Conclude,
    Win,
    Withdraw,
)
from countroom.wallet.refusals import InsufficientFunds, KeyConflict

PAYMENT = clock.new_id()


class Cashier:
    """A player, as the rooms that use the wallet's service see him: each call a transaction of its own."""

    def __init__(self, casino: Casino, player: Player) -> None:
        self.casino = casino
        self.player = player
        self.staff_id = clock.new_id()

    async def call(self, door: Callable[..., Awaitable[UUID]], amount: str | None = None, **arguments: Any) -> UUID:
        if amount is not None:
            arguments["money"] = Money(Decimal(amount), self.player.currency)
        async with self.casino.database.transaction() as tx:
            return await door(tx, user_id=self.player.id, **arguments)

    async def deposit(self, amount: str, key: str = "d", **arguments: Any) -> UUID:
        return await self.call(
            service.post_deposit, amount, external_id=f"psp:{key}", payment_id=PAYMENT, provider="psp", **arguments
        )

    async def withdraw(self, amount: str, key: str = "w", fee: str = "0") -> UUID:
        return await self.call(
            service.request_withdrawal, amount, external_id=f"psp:{key}", payment_id=PAYMENT, fee=Decimal(fee)
        )

    async def conclude(self, outcome: str, key: str = "c", withdrawal: str = "w") -> UUID:
        return await self.call(
            service.conclude_withdrawal, currency=self.player.currency, external_id=f"psp:{key}",
            withdrawal=f"psp:{withdrawal}", outcome=outcome,
        )  # fmt: skip

    async def grant(self, amount: str, key: str = "g", award: str = "") -> UUID:
        return await self.call(service.grant_bonus, amount, external_id=f"bonus:{key}", award=award)

    async def convert(self, amount: str, key: str = "v") -> UUID:
        return await self.call(service.convert_bonus, amount, external_id=f"bonus:{key}")

    async def forfeit(self, amount: str, key: str = "f", reason: str = "forfeited") -> UUID:
        return await self.call(service.forfeit_bonus, amount, external_id=f"bonus:{key}", reason=reason)

    async def adjust(self, amount: str, key: str = "a", wallet_type: str = "main", reason: str = "agreed") -> UUID:
        return await self.call(
            service.adjust, amount, external_id=f"staff:{key}", staff_id=self.staff_id, reason=reason,
            wallet_type=wallet_type,
        )  # fmt: skip


@pytest.fixture
async def cashier(casino: Casino) -> Cashier:
    cashier = Cashier(casino, await casino.player(main="100.00", bonus="20.00"))
    async with casino.database.connection() as connection:
        await connection.execute(
            "INSERT INTO staff (id, email, name, password_hash, role) VALUES ($1, 'a@example.com', 'Ann', '', 'admin')",
            cashier.staff_id,
        )
    return cashier


# Money that comes and goes ---------------------------------------------------------------


async def test_a_deposit_is_credited_less_its_fee(cashier: Cashier) -> None:
    await cashier.deposit("10.00", fee=Decimal("0.35"))
    assert await cashier.player.balances() == Balances("109.65", "20.00")
    assert await cashier.player.lines("psp:") == ["psp:d: deposit main success 10.00 fee 0.35 [main 9.65]"]


async def test_a_withdrawal_waits_in_the_locked_wallet_until_it_settles(cashier: Cashier) -> None:
    identity = await cashier.withdraw("30.00", fee="1.00")
    assert await cashier.player.balances() == Balances("69.00", "20.00", "31.00")
    assert await cashier.player.lines("psp:") == [
        "psp:w: withdrawal main pending 30.00 fee 1.00 [main -31.00, locked 31.00]"
    ]
    assert await service.spendable(cashier.casino.database, cashier.player.id, "EUR") == Decimal("89.00")
    with pytest.raises(InsufficientFunds):
        await cashier.player.bet("89.01", key="b")

    assert await cashier.conclude("settled") == identity
    assert await cashier.player.balances() == Balances("69.00", "20.00")
    assert await cashier.player.lines("psp:") == [
        "psp:w: withdrawal main success 30.00 fee 1.00 [main -31.00, locked 31.00, locked -31.00]"
    ]


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
async def test_a_withdrawal_that_comes_to_nothing_returns_to_main(cashier: Cashier, outcome: str) -> None:
    identity = await cashier.withdraw("30.00", fee="1.00")
    assert await cashier.conclude(outcome) == identity
    assert await cashier.player.balances() == Balances("100.00", "20.00")
    assert await cashier.player.lines("psp:") == [
        f"psp:w: withdrawal main {outcome} 30.00 fee 1.00 [main -31.00, locked 31.00, main 31.00, locked -31.00]"
    ]
    (stone,) = await cashier.casino.database.fetch("SELECT external_id, target_external_id, outcome FROM tombstones")
    assert tuple(stone) == ("psp:c", "psp:w", outcome)


async def test_a_withdrawal_may_take_the_last_cent_and_never_bonus_money(cashier: Cashier) -> None:
    with pytest.raises(InsufficientFunds):
        await cashier.withdraw("100.01")
    await cashier.withdraw("99.99", fee="0.01")
    assert await cashier.player.balances() == Balances("0.00", "20.00", "100.00")


async def test_several_withdrawals_wait_and_end_each_for_itself(cashier: Cashier) -> None:
    for n in range(3):
        await cashier.withdraw(f"{n + 1}.00", key=f"w{n}")
    await cashier.conclude("settled", key="c0", withdrawal="w0")
    await cashier.conclude("failed", key="c1", withdrawal="w1")
    assert await cashier.player.balances() == Balances("96.00", "20.00", "3.00")


async def test_a_withdrawal_may_be_asked_for_and_ended_in_one_batch(casino: Casino) -> None:
    player = await casino.player(main="3.00")
    command = Command(
        "psp", player.id, "EUR", (Withdraw("w", Decimal(2), PAYMENT), Conclude("c", "w", "settled"))
    )  # fmt: skip
    answer = await casino.batcher.submit(command)
    assert answer.balance == Decimal("1.00")
    assert (await casino.batcher.submit(command)).operations == answer.operations
    assert await player.lines("psp:") == ["psp:w: withdrawal main success 2.00 [main -2.00, locked 2.00, locked -2.00]"]


# Bonus money and corrections -------------------------------------------------------------


async def test_bonus_money_is_granted_converted_forfeited_and_expires(cashier: Cashier) -> None:
    await cashier.grant("10.00", key="given", award="welcome")
    await cashier.convert("12.00")
    await cashier.forfeit("3.00")
    await cashier.forfeit("4.00", key="late", reason="expired")
    assert await cashier.player.balances() == Balances("112.00", "11.00")
    assert await cashier.player.lines("bonus:") == [
        "bonus:f: bonus bonus success -3.00 forfeited [bonus -3.00]",
        "bonus:given: bonus bonus success 10.00 granted [bonus 10.00]",
        "bonus:late: bonus bonus success -4.00 expired [bonus -4.00]",
        "bonus:v: bonus main success 12.00 converted [main 12.00]",
        "bonus:v/bonus: bonus bonus success -12.00 converted [bonus -12.00]",
    ]
    awards = await cashier.casino.database.fetch("SELECT metadata->>'award' FROM transactions WHERE metadata ? 'award'")
    assert [row[0] for row in awards] == ["welcome"]


async def test_a_correction_is_signed_and_says_who_and_why(cashier: Cashier) -> None:
    up = await cashier.adjust("5.00", key="up")
    await cashier.adjust("-7.50", key="down", wallet_type="bonus", reason="granted twice")
    assert await cashier.player.balances() == Balances("105.00", "12.50")
    assert await cashier.player.lines("staff:") == [
        "staff:down: adjustment bonus success -7.50 adjustment [bonus -7.50]",
        "staff:up: adjustment main success 5.00 adjustment [main 5.00]",
    ]
    rows = await cashier.casino.database.fetch("SELECT * FROM staff_postings ORDER BY reason")
    assert [(row["staff_id"], row["reason"]) for row in rows] == [
        (cashier.staff_id, "agreed"),
        (cashier.staff_id, "granted twice"),
    ]
    assert rows[0]["transaction_id"] == up
    assert await cashier.adjust("5.00", key="up", reason="said otherwise") == up
    assert await cashier.casino.database.fetch("SELECT * FROM staff_postings ORDER BY reason") == rows


# The same again --------------------------------------------------------------------------


async def test_p2_each_door_gives_its_first_answer_again_and_refuses_other_content(cashier: Cashier) -> None:
    await cashier.withdraw("1.00", key="pending")
    doors: list[tuple[Callable[[], Awaitable[UUID]], list[Callable[[], Awaitable[UUID]]]]] = [
        (
            lambda: cashier.deposit("10.00", fee=Decimal(1)),
            [lambda: cashier.deposit("10.01", fee=Decimal(1)), lambda: cashier.deposit("10.00")],
        ),
        (
            lambda: cashier.withdraw("5.00", fee="0.50"),
            [lambda: cashier.withdraw("5.00"), lambda: cashier.withdraw("5.50")],
        ),
        (
            lambda: cashier.conclude("settled"),
            [lambda: cashier.conclude("failed"), lambda: cashier.conclude("settled", withdrawal="pending")],
        ),
        (lambda: cashier.grant("2.00"), [lambda: cashier.grant("2.01"), lambda: cashier.grant("2.00", award="other")]),
        (lambda: cashier.convert("3.00"), [lambda: cashier.convert("3.01"), lambda: cashier.grant("3.00", key="v")]),
        (lambda: cashier.forfeit("1.00"), [lambda: cashier.forfeit("1.00", reason="expired")]),
        (
            lambda: cashier.adjust("-1.00"),
            [lambda: cashier.adjust("1.00"), lambda: cashier.adjust("-1.00", wallet_type="bonus")],
        ),
    ]
    for door, others in doors:
        first = await door()
        before = await cashier.casino.everything()
        assert await door() == first
        for other in others:
            with pytest.raises(KeyConflict):
                await other()
        assert await cashier.casino.everything() == before


async def test_p2_equal_calls_of_two_processes_at_once_are_one(cashier: Cashier, database_url: str) -> None:
    async with open_casino(database_url) as elsewhere:
        there = Cashier(elsewhere, cashier.player)
        there.staff_id = cashier.staff_id
        await cashier.withdraw("1.00", key="w")
        both = [cashier, there] * 4
        for calls in (
            [each.deposit("10.00") for each in both],
            [each.withdraw("5.00", key="w2") for each in both],
            [each.conclude("cancelled") for each in both],
            [each.grant("2.00") for each in both],
            [each.convert("3.00") for each in both],
            [each.forfeit("1.00") for each in both],
            [each.adjust("-1.00") for each in both],
        ):
            assert len(set(await asyncio.gather(*calls))) == 1
    assert await cashier.player.balances() == Balances("107.00", "18.00", "5.00")


async def test_p2_of_two_ends_of_a_withdrawal_at_once_one_holds(cashier: Cashier) -> None:
    for n in range(10):
        await cashier.withdraw("1.00", key=f"w{n}")
        outcomes = await asyncio.gather(
            cashier.conclude("settled", key=f"s{n}", withdrawal=f"w{n}"),
            cashier.conclude("failed", key=f"f{n}", withdrawal=f"w{n}"),
            return_exceptions=True,
        )
        assert sorted(isinstance(outcome, UUID) for outcome in outcomes) == [False, True]
    settled = await cashier.casino.database.fetch(
        "SELECT FROM transactions WHERE type = 'withdrawal' AND status = 'success'"
    )
    assert await cashier.player.balances() == Balances(f"{100 - len(settled)}.00", "20.00")


async def test_p2_a_key_twice_in_one_command_or_one_batch_counts_once(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    answer = await player.apply(Bet("b", Decimal(1)), Bet("b", Decimal(1)), Win("w", Decimal(2)), Win("w", Decimal(2)))
    assert answer.balance == Decimal("11.00")
    assert [posted.id for posted in answer.operations[::2]] == [posted.id for posted in answer.operations[1::2]]
    with pytest.raises(KeyConflict):
        await player.apply(Bet("c", Decimal(1)), Bet("c", Decimal(2)))

    first, *others = await asyncio.gather(*(player.bet("1.00", key="same", round_key="r2") for _ in range(5)))
    assert {(other.operations, other.balance, other.round_id) for other in others} == {
        (first.operations, first.balance, first.round_id)
    }
    assert await player.balances() == Balances("10.00")


async def test_p2_a_command_may_repeat_a_part_and_add_another(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    first = await player.bet("1.00", key="b1")
    both = await player.apply(Bet("b1", Decimal(1)), Win("w1", Decimal(3)))
    assert both.operations[0] == first.operations[0]
    assert (both.balance, both.repeated) == (Decimal("12.00"), False)


async def test_p2_trailing_zeros_are_the_same_number(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    first = await player.bet("1", key="b1")
    assert (await player.bet("1.00", key="b1")).operations == first.operations
    assert (await player.bet("0.1E+1", key="b1")).repeated
