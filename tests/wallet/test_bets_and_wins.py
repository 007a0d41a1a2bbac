"""Bets, wins and reversals of every kind: the exact rows and balances that they leave, and what is owed."""

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from casino import Balances, Casino, Player
from countroom import clock
from countroom.wallet.commands import (
    Adjust,
    Answer,
    Bet,
    Command,
    Conclude,
    Convert,
    Deposit,
    Forfeit,
    Grant,
    Operation,
    Play,
    Reverse,
    Win,
    Withdraw,
)
from countroom.wallet.refusals import InsufficientFunds, KeyConflict, RolledBack

PAYMENT = clock.new_id()


# Several at once -------------------------------------------------------------------------


async def test_p5_several_bets_and_wins_are_one(casino: Casino) -> None:
    player = await casino.player(main="3.00", bonus="2.00")
    operations: list[Operation] = [
        Bet("b1", Decimal(4)),
        Win("w1", Decimal(8)),
        Bet("b2", Decimal(9)),
        Win("w2", Decimal("0.50")),
    ]
    before = await casino.everything()
    with pytest.raises(InsufficientFunds) as refused:
        await player.apply(*operations, Bet("b3", Decimal(1)))
    assert refused.value.balance == Decimal("5.00")
    assert await casino.everything() == before

    answer = await player.apply(*operations, close=True)
    # Of b1 3.00 is main's, and so are six of the eight won; b2 takes them and the two won for bonus
    # and the one left there. Of w2's fifty cents 35 are main's: 9/13 of 0.50 is 0.346…
    assert [posted.bonus for posted in answer.operations] == [Decimal(1), Decimal(2), Decimal(3), Decimal("0.15")]
    assert await player.balances() == Balances("0.35", "0.15")
    assert (await player.apply(*operations, close=True)).operations == answer.operations
    assert [line.partition(" [")[0] for line in await player.lines("sandbox:")] == [
        "sandbox:b1: bet main success 3.00", "sandbox:b1/bonus: bet bonus success 1.00",
        "sandbox:b2: bet main success 6.00", "sandbox:b2/bonus: bet bonus success 3.00",
        "sandbox:w1: win main success 6.00", "sandbox:w1/bonus: win bonus success 2.00",
        "sandbox:w2: win main success 0.35", "sandbox:w2/bonus: win bonus success 0.15",
    ]  # fmt: skip


async def test_a_bet_or_win_of_bonus_money_alone_is_one_row_on_the_bonus_wallet(casino: Casino) -> None:
    player = await casino.player(bonus="5.00")
    await player.apply(Bet("b", Decimal(2)), Win("w", Decimal(3)))
    assert await player.lines("sandbox:") == [
        "sandbox:b: bet bonus success 2.00 [bonus -2.00]",
        "sandbox:w: win bonus success 3.00 [bonus 3.00]",
    ]
    await player.reverse("b", key="x")
    assert await player.balances() == Balances("0.00", "8.00")


# Free rounds and promotions --------------------------------------------------------------


async def metadata(casino: Casino, key: str) -> Any:
    row = await casino.database.fetchrow("SELECT metadata->>'award', metadata->>'free_amount' FROM transactions "
                                         "WHERE external_id = $1", f"sandbox:{key}")  # fmt: skip
    assert row is not None
    return tuple(row)


async def test_a_free_round_is_kept_and_moves_nothing_until_its_winnings_are_paid(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    free = Bet("b", Decimal("0.50"), moves_money=False, award="spins-7")
    won = Win("w", Decimal(4), moves_money=False, award="spins-7")
    first = await player.apply(free, won)
    assert first.balance == Decimal("10.00")
    assert await player.lines("sandbox:") == [
        "sandbox:b: bet main success 0.00 []",
        "sandbox:w: win main success 0.00 []",
    ]
    assert await metadata(casino, "b") == ("spins-7", "0.50")
    assert await metadata(casino, "w") == ("spins-7", "4")
    assert (await player.apply(free, won)).operations == first.operations
    with pytest.raises(KeyConflict):
        await player.apply(Bet("b", Decimal("0.50"), award="spins-7"))  # the same, for money
    (round_,) = await casino.database.fetch("SELECT bet_amount, win_amount, status FROM game_rounds")
    assert tuple(round_) == (Decimal(0), Decimal(0), "open")

    await player.apply(Win("paid", Decimal(4), award="spins-7"), round_key="payout")
    assert await player.balances() == Balances("14.00")
    assert await metadata(casino, "paid") == ("spins-7", None)
    await player.reverse("b", key="x")
    assert await player.balances() == Balances("14.00")
    assert (await player.lines("sandbox:b"))[0] == "sandbox:b: bet main cancelled 0.00 []"


async def test_a_free_bet_needs_no_money(casino: Casino) -> None:
    player = await casino.player()
    assert (await player.apply(Bet("b", Decimal(100), moves_money=False))).balance == 0


async def test_a_round_that_won_nothing_is_told_under_a_key_like_any_win(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b")
    nothing = Win("w", Decimal(0), moves_money=False)
    first = await player.apply(nothing, close=True)
    assert first.balance == Decimal("9.00")
    await player.bet("1.00", key="b2", round_key="r2")
    assert await player.apply(nothing, close=True) == msgspec.structs.replace(first, repeated=True)
    with pytest.raises(KeyConflict):
        await player.win("1.00", key="w")
    assert (await player.lines("sandbox:w")) == ["sandbox:w: win main success 0.00 []"]
    assert await metadata(casino, "w") == (None, None)


async def test_what_was_reversed_before_it_came_is_accepted_where_its_protocol_wants_that(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.reverse("b1", key="x1")
    await player.reverse("w1", key="x2")

    def tolerant(*operations: Operation) -> Command:
        play = Play(casino.game_id, "r1", player.session_id, close_round=True, accept_reversed=True)
        return Command("sandbox", player.id, "EUR", operations, play)

    before = await casino.everything()
    late = await casino.batcher.submit(tolerant(Bet("b1", Decimal(3)), Win("w1", Decimal(4))))
    assert ([posted.id for posted in late.operations], late.balance) == ([None, None], Decimal("10.00"))
    assert await casino.everything() == before
    mixed = await casino.batcher.submit(tolerant(Bet("b2", Decimal(3)), Win("w1", Decimal(4)), Reverse("x3", "b1")))
    assert [posted.id is None for posted in mixed.operations] == [False, True, True]
    assert mixed.balance == Decimal("7.00")
    await casino.database.pool.execute("UPDATE users SET status = 'blocked'")
    assert (await casino.batcher.submit(tolerant(Bet("b1", Decimal(3))))).balance == Decimal("7.00")
    await casino.database.pool.execute("UPDATE users SET status = 'active'")
    await player.launch()  # the block has ended the session
    with pytest.raises(RolledBack):
        await player.bet("3.00", key="b1", round_key="r2")


async def test_a_promotional_win_is_the_players_own_money_and_is_paid_once(casino: Casino) -> None:
    player = await casino.player(bonus="1.00")
    prize = Win("p", Decimal("250.00"), award="tournament-3")
    answers = await asyncio.gather(*(player.apply(prize, round_key="tournament-3") for _ in range(5)))
    assert {answer.balance for answer in answers} == {Decimal("251.00")}
    assert await player.balances() == Balances("250.00", "1.00")
    assert await metadata(casino, "p") == ("tournament-3", None)
    with pytest.raises(KeyConflict):
        await player.apply(Win("p", Decimal("250.00"), award="tournament-4"), round_key="tournament-3")


# What is owed ----------------------------------------------------------------------------


async def in_debt(casino: Casino, *, main: str = "0", bonus: str = "0") -> Player:
    """A player who had spent a win of 10.00 of main when it was reversed, or of bonus money likewise."""
    player = await casino.player(main="1.00", bonus="0" if Decimal(main) else "1.00")
    if Decimal(bonus):
        await player.apply(Adjust("away", Decimal(-1)))
        await player.bet("1.00", key="b", round_key="owed")
    await player.win("10.00", key="won", round_key="owed")
    await player.bet(str(sum(map(Decimal, (await player.balances())[:2]))), key="spent", round_key="spent")
    await player.reverse("won", key="taken", round_key="owed")
    return player


async def test_a_reversed_win_that_was_spent_is_owed(casino: Casino) -> None:
    player = await casino.player(main="1.00")
    await player.win("10.00", key="w")
    await player.bet("8.00", key="b", round_key="r2")
    answer = await player.reverse("w", key="x")
    assert answer.balance == 0
    assert await player.balances() == Balances("0.00", owed="7.00")
    assert await player.lines("sandbox:w") == ["sandbox:w: win main cancelled 10.00 [main 10.00, main -10.00]"]
    assert await player.lines("sandbox:x") == [
        "sandbox:x/receivable: adjustment main success 7.00 receivable [main 7.00]"
    ]
    before = await casino.everything()
    assert (await player.reverse("w", key="x")).balance == 0
    assert await casino.everything() == before


async def test_both_wallets_owe_their_part_of_a_win_that_was_split(casino: Casino) -> None:
    player = await casino.player(main="1.00", bonus="1.00")
    await player.bet("2.00", key="b")
    await player.win("10.00", key="w")
    await player.bet("9.50", key="b2", round_key="r2")
    await player.reverse("w", key="x")
    assert await player.balances() == Balances("0.00", owed="9.50")
    assert await player.lines("sandbox:x") == [
        "sandbox:x/receivable: adjustment main success 5.00 receivable [main 5.00]",
        "sandbox:x/receivable/bonus: adjustment bonus success 4.50 receivable [bonus 4.50]",
    ]
    await player.reverse("b", key="y")
    assert await player.balances() == Balances("0.00", owed="7.50")
    assert await player.lines("sandbox:y") == [
        "sandbox:y/repayment: adjustment main success -1.00 repayment [main -1.00]",
        "sandbox:y/repayment/bonus: adjustment bonus success -1.00 repayment [bonus -1.00]",
    ]
    await player.reverse("b2", key="z", round_key="r2")
    assert await player.balances() == Balances("1.00", "1.00")


CREDITS: dict[str, tuple[Operation, ...]] = {
    "win": (Win("credit", Decimal(4)),),
    "deposit": (Deposit("credit", Decimal(5), PAYMENT, fee=Decimal(1)),),
    "adjustment": (Adjust("credit", Decimal(4)),),
}


@pytest.mark.parametrize("credit", sorted(CREDITS))
async def test_every_credit_of_main_repays_first(casino: Casino, credit: str) -> None:
    player = await in_debt(casino, main="10.00")
    owed = Decimal((await player.balances()).owed)
    assert owed == Decimal("10.00")
    before = await player.balances()
    answer = await player.apply(*CREDITS[credit])
    assert answer.balance == sum(map(Decimal, before[:2]))
    assert await player.balances() == before._replace(owed="6.00")
    assert (await player.lines("sandbox:credit/"))[0] == (
        "sandbox:credit/repayment: adjustment main success -4.00 repayment [main -4.00]"
    )
    assert (await player.apply(*CREDITS[credit])).operations == answer.operations
    assert await player.balances() == before._replace(owed="6.00")


async def test_more_than_is_owed_leaves_the_rest(casino: Casino) -> None:
    player = await in_debt(casino, main="10.00")
    await player.apply(Adjust("a", Decimal("9.99")))
    assert (await player.balances()).owed == "0.01"
    answer = await player.win("3.00", key="w", round_key="late")
    assert answer.balance == Decimal("2.99")
    assert await player.balances() == Balances("2.99")
    await player.win("1.00", key="w2", round_key="late")
    assert await player.lines("sandbox:w2/") == []


async def test_a_withdrawal_that_fails_repays_too(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.win("10.00", key="won", round_key="owed")
    await player.apply(Withdraw("w", Decimal(15), PAYMENT))
    await player.reverse("won", key="taken", round_key="owed")
    assert await player.balances() == Balances("0.00", locked="15.00", owed="5.00")
    await player.apply(Conclude("c", "w", "failed"))
    assert await player.balances() == Balances("10.00")
    assert await player.lines("sandbox:c/") == [
        "sandbox:c/repayment: adjustment main success -5.00 repayment [main -5.00]"
    ]


async def test_converted_bonus_money_repays_what_main_owes(casino: Casino) -> None:
    player = await in_debt(casino, main="10.00")
    await player.apply(Grant("g", Decimal(3)))
    await player.apply(Convert("v", Decimal(3)))
    assert await player.balances() == Balances("0.00", "0.00", owed="7.00")


async def test_granted_bonus_money_repays_what_bonus_owes_and_main_does_not(casino: Casino) -> None:
    player = await in_debt(casino, bonus="10.00")
    assert await player.balances() == Balances("0.00", owed="10.00")
    await player.apply(Deposit("d", Decimal(3), PAYMENT))
    assert await player.balances() == Balances("3.00", owed="10.00")
    await player.apply(Grant("g", Decimal(4)))
    assert await player.balances() == Balances("3.00", owed="6.00")
    assert await player.lines("sandbox:g/") == [
        "sandbox:g/repayment/bonus: adjustment bonus success -4.00 repayment [bonus -4.00]"
    ]
    await player.apply(Grant("g2", Decimal(7)))
    await player.apply(Forfeit("f", Decimal(1)))
    assert await player.balances() == Balances("3.00")


async def test_what_is_owed_keeps_nobody_from_playing_with_what_is_there(casino: Casino) -> None:
    player = await in_debt(casino, bonus="10.00")
    await player.apply(Deposit("d", Decimal(3), PAYMENT))
    assert (await player.bet("3.00", key="b9", round_key="r9")).balance == 0


# Reversals -------------------------------------------------------------------------------


async def test_a_reversal_gives_back_the_exact_split_and_takes_the_bet_out_of_its_round(casino: Casino) -> None:
    player = await casino.player(main="3.00", bonus="5.00")
    await player.bet("1.00", key="b1")
    await player.bet("4.00", key="b2")
    answer = await player.reverse("b2", key="x")
    assert answer.balance == Decimal("7.00")
    assert await player.balances() == Balances("2.00", "5.00")
    assert await player.lines("sandbox:b2") == [
        "sandbox:b2: bet main cancelled 2.00 [main -2.00, main 2.00]",
        "sandbox:b2/bonus: bet bonus cancelled 2.00 [bonus -2.00, bonus 2.00]",
    ]
    (round_,) = await casino.database.fetch("SELECT bet_amount, bonus_bet_amount, status FROM game_rounds")
    assert tuple(round_) == (Decimal(1), Decimal(0), "open")
    await player.win("2.00", key="w1")  # what is left of the round was real money, and so is its win
    assert await player.balances() == Balances("4.00", "5.00")


async def test_a_bet_and_its_reversal_in_one_command_move_nothing(casino: Casino) -> None:
    player = await casino.player(main="3.00")
    answer = await player.apply(Bet("b", Decimal(2)), Reverse("x", "b"))
    assert answer.balance == Decimal("3.00")
    again: Answer = await player.apply(Bet("b", Decimal(2)), Reverse("x", "b"))
    assert (again.operations, again.repeated) == (answer.operations, True)
    assert await player.lines("sandbox:b") == ["sandbox:b: bet main cancelled 2.00 [main -2.00, main 2.00]"]
