"""Plain bets and wins of several processes are added to what is there: none of them has to read anew (P1, P3)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from itertools import count

import pytest

from casino import Casino, Player, open_casino
from countroom.wallet import batch
from countroom.wallet.commands import Answer, Bet, Win
from countroom.wallet.refusals import InsufficientFunds, RoundClosed, WalletRefusal


@pytest.fixture
async def other(casino: Casino, database_url: str) -> AsyncIterator[Casino]:
    """Another process of the same casino."""
    async with open_casino(database_url) as found:
        yield found


@asynccontextmanager
async def nobody_reads(casino: Casino) -> AsyncIterator[None]:
    """Whoever reads for a player waits here until the test gives up."""
    async with asyncio.timeout(5), casino.database.transaction() as tx:
        await tx.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def stale_passes() -> Iterator[list[float]]:
    """Count the passes that are made anew."""
    before = batch.STALE._value.get()
    found: list[float] = []
    yield found
    found.append(batch.STALE._value.get() - before)


async def version(player: Player) -> int:
    row = await player.casino.database.fetchrow(
        "SELECT version FROM wallet_accounts WHERE user_id = $1 AND type = 'main'", player.id
    )
    assert row is not None
    return int(row["version"])


async def test_what_another_process_has_bet_and_won_is_neither_lost_nor_read_for(casino: Casino, other: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b1")
    await other.batcher.submit(player.command(Bet("b2", Decimal("0.50")), round_key="r2"))
    guarded_by = await version(player)

    async with nobody_reads(casino):
        assert (await player.bet("1.00", key="b3", round_key="r3")).balance == Decimal("7.50")
        win = player.command(Win("w2", Decimal("4.25")), round_key="r2", close=True)
        assert (await other.batcher.submit(win)).balance == Decimal("11.75")
        assert (await player.bet("7.50", key="b4", round_key="r4")).balance == Decimal("4.25")

    assert await version(player) == guarded_by
    answers = await casino.database.fetch(
        "SELECT answer_balance FROM transactions WHERE user_id = $1 AND game_id IS NOT NULL ORDER BY id", player.id
    )
    assert [str(row[0]) for row in answers] == ["9.00", "8.50", "7.50", "11.75", "4.25"]


async def test_each_of_several_bets_at_once_has_its_own_balance(casino: Casino, other: Casino) -> None:
    player, beside = [await casino.player(main="100.00", bonus="5.00") for _ in range(2)]
    for who in (player, beside):
        await who.bet("1.00", key=f"{who.id}-0", round_key=f"{who.id}-0")
    await other.batcher.submit(player.command(Bet("elsewhere", Decimal(10)), round_key="elsewhere"))

    async with nobody_reads(casino):
        answers = await asyncio.gather(
            *(who.bet("2.00", key=f"{who.id}-{number}", round_key=f"{who.id}-{number}")
              for number in (1, 2, 3) for who in (player, beside))
        )  # fmt: skip

    assert [answer.balance for answer in answers[::2]] == [Decimal(92), Decimal(90), Decimal(88)]
    assert [answer.balance for answer in answers[1::2]] == [Decimal(102), Decimal(100), Decimal(98)]


async def test_money_that_another_process_has_taken_is_not_spent_again(casino: Casino, other: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b1")
    await other.batcher.submit(player.command(Bet("b2", Decimal("8.50")), round_key="r2"))

    with stale_passes() as stale, pytest.raises(InsufficientFunds) as refused:
        await player.bet("1.00", key="b3", round_key="r3")
    assert refused.value.balance == Decimal("0.50")
    assert stale == [1]
    assert (await player.bet("0.50", key="b4", round_key="r4")).balance == Decimal("0.00")


async def test_money_that_another_process_has_paid_is_there(casino: Casino, other: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("10.00", key="b1")
    await other.batcher.submit(player.command(Win("w1", Decimal(3)), round_key="r1"))
    assert (await player.bet("2.00", key="b2", round_key="r2")).balance == Decimal("1.00")


async def test_who_is_refused_beside_a_bet_that_is_taken_is_told_the_true_balance(
    casino: Casino, other: Casino
) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b1")
    await other.batcher.submit(player.command(Win("w1", Decimal(2)), round_key="r1"))

    async def bet(amount: str, key: str) -> Answer | WalletRefusal:
        try:
            return await player.bet(amount, key=key, round_key=key)
        except WalletRefusal as refusal:
            return refusal

    # By what this process remembers, the second one is too much; by what is true, the third one is.
    first, second, third = await asyncio.gather(bet("8.00", "b2"), bet("2.00", "b3"), bet("1.50", "b4"))
    assert (first.balance, second.balance, third.balance) == (Decimal(3), Decimal(1), Decimal(1))
    assert isinstance(second, Answer)
    assert isinstance(third, InsufficientFunds)


async def test_a_round_that_another_process_has_ended_takes_no_more_bets(casino: Casino, other: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b1")
    await other.batcher.submit(player.command(Win("w1", Decimal(2)), round_key="r1", close=True))

    with pytest.raises(RoundClosed):
        await player.bet("1.00", key="b2")
    assert (await player.win("1.00", key="w2")).balance == Decimal("12.00")
    row = await casino.database.fetchrow("SELECT bet_amount, win_amount, status FROM game_rounds")
    assert row is not None
    assert tuple(row) == (Decimal("1.00"), Decimal("3.00"), "settled")


async def test_a_round_adds_up_what_both_have_posted_in_it(casino: Casino, other: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b1")
    await other.batcher.submit(player.command(Bet("b2", Decimal(2)), round_key="r1"))
    await other.batcher.submit(player.command(Win("w2", Decimal("0.25")), round_key="r1"))

    async with nobody_reads(casino):
        await player.bet("3.00", key="b3")
        await player.win("0.50", key="w3")
    row = await casino.database.fetchrow("SELECT bet_amount, win_amount FROM game_rounds")
    assert row is not None
    assert tuple(row) == (Decimal("6.00"), Decimal("0.75"))


async def test_two_processes_that_play_one_player_at_once_wait_and_do_not_read(casino: Casino, other: Casino) -> None:
    player = await casino.player(main="100.00")
    await player.bet("0.10", key="first")
    await other.batcher.submit(player.command(Bet("first elsewhere", Decimal("0.10")), round_key="elsewhere"))
    numbers = count()

    async def play(where: Casino) -> None:
        for _ in range(40):
            key = f"b{next(numbers)}"
            await where.batcher.submit(player.command(Bet(key, Decimal("0.10")), round_key=key))

    with stale_passes() as stale:
        await asyncio.gather(*(play(where) for where in (casino, other) for _ in range(4)))

    assert stale == [0]
    assert await player.balance() == Decimal("67.80")
