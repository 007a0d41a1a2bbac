"""The contract of every dialect, first part: bets, wins, repeats, rounds, money of several kinds."""

import asyncio
from decimal import Decimal

from casino import Balances
from contract_table import Scenarios, Table, scenario
from countroom.money import AMOUNT_MAX, Money
from countroom.wallet import service

OPEN_10 = ("open 10.00 0.00",)
SETTLED_10 = ("settled 10.00 0.00",)


class Bets(Scenarios):
    @scenario
    async def test_the_balance_is_what_the_player_can_play_with(self, table: Table) -> None:
        seat = await table.seat("100.00", bonus="7.50")
        table.says(await table.caller.balance(seat), "ok", "107.50")

    @scenario
    async def test_a_bet_takes_its_stake(self, table: Table) -> None:
        seat = await table.seat()
        table.says(await table.caller.bet(seat, "b1", "10.00"), "ok", "90.00")
        table.says(await table.caller.balance(seat), "ok", "90.00")
        await table.ends(seat, "90.00", "bet main -10.00", rounds=OPEN_10)

    @scenario
    async def test_a_bet_repeated_at_once_is_charged_once(self, table: Table) -> None:
        seat = await table.seat()
        first = await table.caller.bet(seat, "b1", "10.00")
        for _ in range(3):
            table.repeats(await table.caller.bet(seat, "b1", "10.00"), first, "90.00")
        await table.ends(seat, "90.00", "bet main -10.00", rounds=OPEN_10)

    @scenario
    async def test_a_bet_repeated_after_others_gets_its_answer(self, table: Table) -> None:
        seat = await table.seat()
        first = await table.caller.bet(seat, "b1", "10.00")
        await table.caller.bet(seat, "b2", "5.00", "r2")
        table.repeats(await table.caller.bet(seat, "b1", "10.00"), first, "85.00")
        await table.ends(
            seat, "85.00", "bet main -10.00", "bet main -5.00", rounds=("open 10.00 0.00", "open 5.00 0.00")
        )

    @scenario
    async def test_a_bet_is_repeated_after_its_round_has_ended_and_its_money_is_gone(self, table: Table) -> None:
        seat = await table.seat("10.00")
        first = await table.caller.bet(seat, "b1", "10.00")
        await table.caller.close(seat)
        table.repeats(await table.caller.bet(seat, "b1", "10.00"), first, "0.00")
        await table.ends(seat, "0.00", "bet main -10.00", rounds=SETTLED_10)

    @scenario
    async def test_a_win_is_paid_and_ends_its_round(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        table.says(await table.caller.win(seat, "w1", "25.50"), "ok", "115.50")
        await table.ends(seat, "115.50", "bet main -10.00", "win main 25.50", rounds=("settled 10.00 25.50",))

    @scenario
    async def test_a_win_repeated_is_paid_once(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        first = await table.caller.win(seat, "w1", "25.50")
        await table.caller.bet(seat, "b2", "1.00", "r2")
        table.repeats(await table.caller.win(seat, "w1", "25.50"), first, "114.50")
        await table.ends(
            seat, "114.50", "bet main -10.00", "win main 25.50", "bet main -1.00",
            rounds=("settled 10.00 25.50", "open 1.00 0.00"),
        )  # fmt: skip

    @scenario
    async def test_a_round_without_a_win_ends_and_ends_once(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        for _ in range(2):
            table.says(await table.caller.close(seat), "ok", "90.00")
        await table.ends(seat, "90.00", "bet main -10.00", rounds=SETTLED_10)

    @scenario
    async def test_a_win_of_nothing_is_told_once_and_moves_nothing(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        first = await table.caller.win(seat, "w1", "0")
        table.says(first, "ok", "90.00")
        table.repeats(await table.caller.win(seat, "w1", "0"), first, "90.00")
        table.says(await table.caller.win(seat, "w1", "1.00"), "conflict", "90.00")
        await table.ends(seat, "90.00", "bet main -10.00", rounds=SETTLED_10)

    @scenario
    async def test_several_bets_and_wins_of_one_round(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        table.says(await table.caller.bet(seat, "b2", "5.00"), "ok", "85.00")
        table.says(await table.caller.win(seat, "w1", "3.00"), "ok", "88.00")
        table.says(await table.caller.win(seat, "w2", "4.00", bet="b2"), "ok", "92.00")
        await table.ends(
            seat, "92.00", "bet main -10.00", "bet main -5.00", "win main 3.00", "win main 4.00",
            rounds=("settled 15.00 7.00",),
        )  # fmt: skip

    @scenario
    async def test_a_late_win_is_paid_into_a_round_that_has_ended(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.close(seat)
        table.says(await table.caller.win(seat, "w1", "3.00"), "ok", "93.00")
        await table.ends(seat, "93.00", "bet main -10.00", "win main 3.00", rounds=("settled 10.00 3.00",))

    @scenario
    async def test_a_bet_in_a_round_that_has_ended_is_refused(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.close(seat)
        for _ in range(2):
            table.says(await table.caller.bet(seat, "b2", "1.00"), "round_closed", "90.00")
        await table.ends(seat, "90.00", "bet main -10.00", rounds=SETTLED_10)

    @scenario
    async def test_a_win_without_a_bet_is_what_the_protocol_says(self, table: Table) -> None:
        seat = await table.seat()
        told = await table.caller.win(seat, "w1", "3.00", bet="never")
        if table.caller.policies.win_without_bet == "accepted":
            table.says(told, "ok", "103.00")
            await table.ends(seat, "103.00", "win main 3.00", rounds=("settled 0.00 3.00",))
        else:
            table.says(told, "bet_not_found")
            await table.ends(seat, "100.00")

    @scenario
    async def test_a_win_for_a_bet_that_was_taken_back_is_what_the_protocol_says(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.reverse(seat, "x1", "b1", "10.00")
        told = await table.caller.win(seat, "w1", "3.00")
        lines = ("bet main -10.00", "bet main 10.00")
        if table.caller.policies.win_without_bet == "accepted":
            table.says(told, "ok", "103.00")
            await table.ends(seat, "103.00", *lines, "win main 3.00", rounds=("cancelled 0.00 3.00",))
        else:
            table.says(told, "rolled_back")
            await table.ends(seat, "100.00", *lines, rounds=("cancelled 0.00 0.00",))

    @scenario
    async def test_the_whole_balance_can_be_bet(self, table: Table) -> None:
        seat = await table.seat()
        table.says(await table.caller.bet(seat, "b1", "100.00"), "ok", "0.00")
        await table.ends(seat, "0.00", "bet main -100.00", rounds=("open 100.00 0.00",))

    @scenario
    async def test_a_cent_more_than_there_is_is_refused_with_the_balance(self, table: Table) -> None:
        seat = await table.seat()
        for _ in range(2):
            table.says(await table.caller.bet(seat, "b1", "100.01"), "insufficient_funds", "100.00")
        await table.ends(seat, "100.00")

    @scenario
    async def test_a_bet_refused_for_money_is_taken_once_the_money_is_there(self, table: Table) -> None:
        seat = await table.seat("5.00")
        table.says(await table.caller.bet(seat, "b1", "10.00"), "insufficient_funds", "5.00")
        async with table.casino.database.transaction() as tx:
            await service.post_deposit(
                tx, user_id=seat.player.id, money=Money.parse("5.00", "EUR"), provider="test",
                external_id=f"test:{table.caller.id('d1')}", payment_id=seat.player.id,
            )  # fmt: skip
        table.says(await table.caller.bet(seat, "b1", "10.00"), "ok", "0.00")
        await table.ends(seat, "0.00", "bet main -10.00", rounds=OPEN_10)

    @scenario
    async def test_bonus_money_is_bet_after_the_players_own_and_wins_are_split_alike(self, table: Table) -> None:
        seat = await table.seat("6.00", bonus="10.00")
        table.says(await table.caller.bet(seat, "b1", "8.00"), "ok", "8.00")
        table.says(await table.caller.win(seat, "w1", "4.00"), "ok", "12.00")
        await table.ends(
            seat, "3.00", "bet main -6.00", "bet bonus -2.00", "win main 3.00", "win bonus 1.00",
            bonus="9.00", rounds=("settled 8.00 4.00",),
        )  # fmt: skip

    @scenario
    async def test_bonus_money_returns_to_the_bonus(self, table: Table) -> None:
        seat = await table.seat("6.00", bonus="10.00")
        await table.caller.bet(seat, "b1", "8.00")
        table.says(await table.caller.reverse(seat, "x1", "b1", "8.00"), "ok", "16.00")
        assert await seat.player.balances() == Balances("6.00", "10.00")

    @scenario
    async def test_fifty_equal_bets_at_once_are_charged_once(self, table: Table) -> None:
        seat = await table.seat()
        told = await asyncio.gather(*(table.caller.bet(seat, "b1", "10.00") for _ in range(50)))
        assert {(each.word, each.balance, each.own_ids) for each in told} == {
            (table.caller.OK, Decimal("90.00"), told[0].own_ids)
        }
        await table.ends(seat, "90.00", "bet main -10.00", rounds=OPEN_10)

    @scenario
    async def test_p3_bets_at_once_never_spend_more_than_there_is(self, table: Table) -> None:
        seat = await table.seat("10.00")
        told = await asyncio.gather(*(table.caller.bet(seat, f"b{n}", "3.00", f"r{n}") for n in range(10)))
        assert [each.word for each in told].count(table.caller.OK) == 3
        assert [each.word for each in told].count(table.caller.word("insufficient_funds")) == 7
        await table.ends(seat, "1.00", *["bet main -3.00"] * 3, rounds=("open 3.00 0.00",) * 3)

    @scenario
    async def test_twenty_rounds_add_up(self, table: Table) -> None:
        seat = await table.seat("20.00")
        for n in range(20):
            table.says(await table.caller.bet(seat, f"b{n}", "1.00", f"r{n}"), "ok")
            if n % 4 == 0:
                table.says(await table.caller.win(seat, f"w{n}", "2.50", f"r{n}", bet=f"b{n}"), "ok")
            else:
                table.says(await table.caller.close(seat, f"r{n}", bet=f"b{n}"), "ok")
        table.says(await table.caller.balance(seat), "ok", "12.50")

    @scenario
    async def test_yen_have_no_cents(self, table: Table) -> None:
        seat = await table.seat("1000", currency="JPY")
        told = await table.caller.bet(seat, "b1", "10")
        assert told.word == table.caller.OK
        assert told.body["balance"] == {
            "softswiss-v2": "990", "swipegames": "990", "hub88": 99_000_000, "gcp-v1": 990,
        }[self.dialect]  # fmt: skip
        assert (await table.caller.bet(seat, "b2", "10.50")).word != table.caller.OK
        assert await seat.player.balance() == Decimal(990)

    @scenario
    async def test_an_amount_finer_than_the_currency_is_refused_and_not_rounded(self, table: Table) -> None:
        seat = await table.seat()
        table.says(await table.caller.bet(seat, "b1", "0.001"), "bad_amount")
        table.says(await table.caller.bet(seat, "b1", "10.00001"), "bad_amount")
        await table.ends(seat, "100.00")

    @scenario
    async def test_a_bet_of_nothing_is_refused(self, table: Table) -> None:
        seat = await table.seat()
        table.says(await table.caller.bet(seat, "b1", "0"), "bad_amount")
        await table.ends(seat, "100.00")

    @scenario
    async def test_the_largest_balance_is_shown_exactly_and_no_win_exceeds_it(self, table: Table) -> None:
        seat = await table.seat(str(AMOUNT_MAX))
        table.says(await table.caller.balance(seat), "ok", str(AMOUNT_MAX))
        table.says(await table.caller.bet(seat, "b1", "0.01"), "ok", str(AMOUNT_MAX - Decimal("0.01")))
        table.says(await table.caller.win(seat, "w1", "0.02"), "balance_limit")
        table.says(await table.caller.win(seat, "w2", "0.01"), "ok", str(AMOUNT_MAX))
        await table.ends(seat, str(AMOUNT_MAX), "bet main -0.01", "win main 0.01", rounds=("settled 0.01 0.01",))
