"""The contract of every dialect, second part: what is taken back, before and after it came, and contradictions."""

import asyncio
from decimal import Decimal

from contract_table import Scenarios, Table, scenario

TAKEN_BACK = ("bet main -10.00", "bet main 10.00")
CANCELLED = ("cancelled 0.00 0.00",)


class Reversals(Scenarios):
    @scenario
    async def test_a_reversal_gives_the_stake_back(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        table.says(await table.caller.reverse(seat, "x1", "b1", "10.00"), "ok", "100.00")
        await table.ends(seat, "100.00", *TAKEN_BACK, rounds=CANCELLED)

    @scenario
    async def test_a_reversal_repeated_gives_back_once(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        first = await table.caller.reverse(seat, "x1", "b1", "10.00")
        await table.caller.bet(seat, "b2", "5.00", "r2")
        for _ in range(3):
            table.repeats(await table.caller.reverse(seat, "x1", "b1", "10.00"), first, "95.00")
        await table.ends(seat, "95.00", *TAKEN_BACK, "bet main -5.00", rounds=(*CANCELLED, "open 5.00 0.00"))

    @scenario
    async def test_p4_a_second_reversal_under_another_id_gives_nothing(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.reverse(seat, "x1", "b1", "10.00")
        for _ in range(2):
            second = await table.caller.reverse(seat, "x2", "b1", "10.00")
            accepted = table.caller.policies.second_reversal != "refused"
            table.says(second, "ok" if accepted else "second_reversal", "100.00")
        await table.ends(seat, "100.00", *TAKEN_BACK, rounds=CANCELLED)

    @scenario
    async def test_p4_ten_reversals_under_ten_ids_at_once_give_back_once(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        told = await asyncio.gather(*(table.caller.reverse(seat, f"x{n}", "b1", "10.00") for n in range(10)))
        assert table.caller.OK in {each.word for each in told}
        await table.ends(seat, "100.00", *TAKEN_BACK, rounds=CANCELLED)

    @scenario
    async def test_a_bet_repeated_after_its_reversal_is_not_charged_again(self, table: Table) -> None:
        seat = await table.seat()
        first = await table.caller.bet(seat, "b1", "10.00")
        await table.caller.reverse(seat, "x1", "b1", "10.00")
        table.repeats(await table.caller.bet(seat, "b1", "10.00"), first, "100.00")
        await table.ends(seat, "100.00", *TAKEN_BACK, rounds=CANCELLED)

    @scenario
    async def test_a_reversal_of_what_never_came_is_accepted(self, table: Table) -> None:
        seat = await table.seat()
        first = await table.caller.reverse(seat, "x1", "b1", "10.00")
        table.says(first, "ok", "100.00")
        table.repeats(await table.caller.reverse(seat, "x1", "b1", "10.00"), first, "100.00")
        await table.ends(seat, "100.00")

    @scenario
    async def test_p4_a_bet_that_comes_after_its_reversal_moves_nothing_for_ever(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.reverse(seat, "x1", "b1", "10.00")
        first = await table.caller.bet(seat, "b1", "10.00")
        refused = table.caller.policies.late_bet == "refused"
        table.says(first, "rolled_back" if refused else "ok", "100.00")
        for _ in range(2):
            again = await table.caller.bet(seat, "b1", "10.00")
            assert (again.word, again.own_ids, again.balance) == (first.word, first.own_ids, first.balance)
        await table.ends(seat, "100.00")

    @scenario
    async def test_p4_a_late_bet_of_another_amount_moves_nothing_either(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.reverse(seat, "x1", "b1", "10.00")
        refused = table.caller.policies.late_bet == "refused"
        late = await table.caller.bet(seat, "b1", "20.00", "r2")
        table.says(late, "rolled_back" if refused else "ok", "100.00")
        await table.ends(seat, "100.00")

    @scenario
    async def test_p4_a_late_win_moves_nothing_either(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.reverse(seat, "x1", "w1", "5.00")
        refused = table.caller.policies.late_bet == "refused"
        for _ in range(2):
            late = await table.caller.win(seat, "w1", "5.00", close=False)
            table.says(late, "rolled_back" if refused else "ok", "90.00")
        await table.ends(seat, "90.00", "bet main -10.00", rounds=("open 10.00 0.00",))

    @scenario
    async def test_a_bet_and_its_reversal_at_once_leave_the_balance_as_it_was(self, table: Table) -> None:
        seat = await table.seat()
        for n in range(5):
            await asyncio.gather(
                table.caller.bet(seat, f"b{n}", "10.00", f"r{n}"),
                table.caller.reverse(seat, f"x{n}", f"b{n}", "10.00", f"r{n}"),
            )
        table.says(await table.caller.balance(seat), "ok", "100.00")

    @scenario
    async def test_a_reversal_after_the_win_leaves_the_win(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.win(seat, "w1", "4.00")
        table.says(await table.caller.reverse(seat, "x1", "b1", "10.00"), "ok", "104.00")
        lines = ("bet main -10.00", "win main 4.00", "bet main 10.00")
        await table.ends(seat, "104.00", *lines, rounds=("settled 0.00 4.00",))

    @scenario
    async def test_a_win_is_taken_back_as_the_protocol_says(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.win(seat, "w1", "4.00")
        told = await table.caller.reverse(seat, "x1", "w1", "4.00")
        lines = ("bet main -10.00", "win main 4.00")
        if table.caller.policies.reversal_of_win == "accepted":
            table.says(told, "ok", "90.00")
            await table.ends(seat, "90.00", *lines, "win main -4.00", rounds=("settled 10.00 0.00",))
        else:
            table.says(told, "not_reversible")
            await table.ends(seat, "94.00", *lines, rounds=("settled 10.00 4.00",))

    @scenario
    async def test_a_win_that_is_spent_and_taken_back_is_owed(self, table: Table) -> None:
        seat = await table.seat("10.00")
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.win(seat, "w1", "8.00")
        await table.caller.bet(seat, "b2", "8.00", "r2")
        table.says(await table.caller.reverse(seat, "x1", "w1", "8.00"), "ok", "0.00")
        balances = await seat.player.balances()
        assert (balances.main, balances.owed) == ("0.00", "8.00")

    @scenario
    async def test_a_reversal_is_not_taken_back(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.reverse(seat, "x1", "b1", "10.00")
        table.says(await table.caller.reverse(seat, "x2", "x1", "10.00"), "not_reversible", "100.00")
        await table.ends(seat, "100.00", *TAKEN_BACK, rounds=CANCELLED)

    @scenario
    async def test_somebody_elses_bet_is_not_taken_back(self, table: Table) -> None:
        seat, other = await table.seat(), await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        table.says(await table.caller.reverse(other, "x1", "b1", "10.00"), "not_reversible", "100.00")
        await table.ends(seat, "90.00", "bet main -10.00", rounds=("open 10.00 0.00",))
        await table.ends(other, "100.00")

    @scenario
    async def test_another_providers_bet_is_not_touched(self, table: Table) -> None:
        seat = await table.seat()
        await seat.player.bet("10.00", key=table.caller.id("b1"), round_key=table.caller.id("r1"))
        table.says(await table.caller.reverse(seat, "x1", "b1", "10.00"), "ok", "90.00")
        assert await seat.player.balance() == Decimal("90.00")

    @scenario
    async def test_two_providers_may_use_the_same_id(self, table: Table) -> None:
        seat = await table.seat()
        await seat.player.bet("10.00", key=table.caller.id("b1"), round_key=table.caller.id("r1"))
        table.says(await table.caller.bet(seat, "b1", "5.00"), "ok", "85.00")
        await table.caller.reverse(seat, "x1", "b1", "5.00")
        assert await seat.player.balance() == Decimal("90.00")

    # One id for two things -----------------------------------------------------------------

    @scenario
    async def test_p2_the_same_id_with_another_amount_is_refused(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        table.says(await table.caller.bet(seat, "b1", "10.01"), "conflict", "90.00")
        await table.ends(seat, "90.00", "bet main -10.00", rounds=("open 10.00 0.00",))

    @scenario
    async def test_p2_the_same_id_in_another_round_is_refused(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        table.says(await table.caller.bet(seat, "b1", "10.00", "r2"), "conflict", "90.00")
        await table.ends(seat, "90.00", "bet main -10.00", rounds=("open 10.00 0.00",))

    @scenario
    async def test_p2_the_same_id_of_another_player_is_refused(self, table: Table) -> None:
        seat, other = await table.seat(), await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        table.says(await table.caller.bet(other, "b1", "10.00", "r2"), "conflict", "100.00")
        await table.ends(other, "100.00")

    @scenario
    async def test_p2_the_id_of_a_bet_is_no_win_and_no_reversal(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.bet(seat, "b2", "1.00")
        table.says(await table.caller.win(seat, "b2", "1.00"), "conflict", "89.00")
        table.says(await table.caller.reverse(seat, "b2", "b1", "10.00"), "conflict", "89.00")
        await table.ends(seat, "89.00", "bet main -10.00", "bet main -1.00", rounds=("open 11.00 0.00",))

    @scenario
    async def test_p2_the_id_of_a_reversal_is_no_bet_and_no_other_reversal(self, table: Table) -> None:
        seat = await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.bet(seat, "b2", "1.00")
        await table.caller.reverse(seat, "x1", "b1", "10.00")
        table.says(await table.caller.bet(seat, "x1", "1.00"), "conflict", "99.00")
        table.says(await table.caller.reverse(seat, "x1", "b2", "1.00"), "conflict", "99.00")
        await table.ends(
            seat, "99.00", "bet main -10.00", "bet main -1.00", "bet main 10.00", rounds=("open 1.00 0.00",)
        )

    @scenario
    async def test_somebody_elses_round_takes_no_bets_and_pays_no_wins(self, table: Table) -> None:
        seat, other = await table.seat(), await table.seat()
        await table.caller.bet(seat, "b1", "10.00")
        await table.caller.bet(other, "b2", "10.00", "r2")
        table.says(await table.caller.bet(other, "b3", "10.00"), "foreign_round", "90.00")
        table.says(await table.caller.win(other, "w1", "10.00", bet="b2"), "foreign_round", "90.00")
        await table.ends(other, "90.00", "bet main -10.00", rounds=("open 10.00 0.00",))
