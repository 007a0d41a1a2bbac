"""Corners that random histories have found; each was wrong once."""

from decimal import Decimal

import pytest

from casino import Casino
from countroom.wallet.commands import Bet, Reverse, Win
from countroom.wallet.refusals import NotReversible, RolledBack, RoundClosed


async def test_p4_a_bet_reversed_earlier_in_its_own_command_moves_nothing(casino: Casino) -> None:
    player = await casino.player(main="10.00")

    with pytest.raises(RolledBack):
        await player.apply(Reverse("x1", "b1"), Bet("b1", Decimal(3)))

    assert await player.balance() == Decimal("10.00")
    assert (await player.bet("3.00", key="b1")).balance == Decimal("7.00"), "a refused command has left nothing"


async def test_p4_nobody_reverses_another_players_bet_that_is_reversed_already(casino: Casino) -> None:
    victim, thief = await casino.player(main="10.00"), await casino.player()
    await victim.bet("3.00", key="b1")
    await victim.reverse("b1", key="x1")

    with pytest.raises(NotReversible):
        await thief.reverse("b1", key="x2", round_key="other")


async def test_p2_a_reversal_repeated_after_its_round_was_opened_names_the_round_of_the_first_answer(
    casino: Casino,
) -> None:
    player = await casino.player(main="10.00")
    unseen = await player.reverse("never", key="x1")
    await player.bet("3.00", key="b1")
    undone = await player.reverse("b1", key="x2", round_key="another")

    assert (await player.reverse("never", key="x1")).round_id is unseen.round_id is None
    assert (await player.reverse("b1", key="x2", round_key="a third")).round_id == undone.round_id is not None


async def test_p2_a_bet_repeated_beside_a_late_win_is_no_new_bet_in_a_closed_round(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.apply(Bet("b1", Decimal(3)), close=True)

    answer = await player.apply(Bet("b1", Decimal(3)), Win("w1", Decimal(5)))

    assert answer.balance == Decimal("12.00")
    with pytest.raises(RoundClosed):
        await player.apply(Bet("b1", Decimal(3)), Bet("b2", Decimal(1)))


async def test_p4_a_reversal_of_a_reversal_that_was_awaited_as_something_else_undoes_nothing_and_names_no_round(
    casino: Casino,
) -> None:
    player = await casino.player(main="10.00")
    unseen = await player.reverse("b2", key="x1")
    await player.bet("3.00", key="b1")
    await player.reverse("b1", key="b2")

    again = await player.reverse("b2", key="x2")

    assert (again.round_id, again.operations[0].id) == (None, None) == (unseen.round_id, unseen.operations[0].id)
    assert await player.balance() == Decimal("10.00")
