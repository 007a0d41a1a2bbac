"""A process decides from memory, and is never wrong for it: whatever somebody else has written is noticed."""

from decimal import Decimal

import pytest

from casino import Casino, open_casino
from countroom import clock
from countroom.money import Money
from countroom.wallet import memory, service
from countroom.wallet.commands import Bet, Reverse, Win
from countroom.wallet.refusals import (
    InsufficientFunds,
    KeyConflict,
    NoOpenSession,
    PlayerBlocked,
    RolledBack,
    RoundClosed,
)


async def test_a_remembered_player_is_not_read_for(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b1")

    async with casino.database.transaction() as tx:
        await tx.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")  # whoever reads for a player waits here
        assert (await player.bet("1.00", key="b2", round_key="r2")).balance == Decimal("8.00")
        assert (await player.win("5.00", key="w2", round_key="r2")).balance == Decimal("13.00")


async def test_what_another_process_has_posted_counts(casino: Casino, database_url: str) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b1")
    async with open_casino(database_url) as other:
        await other.batcher.submit(player.command(Bet("b2", Decimal(9)), round_key="r2"))
    await deposit(casino, player.id, "3.00")

    assert (await player.bet("2.00", key="b3", round_key="r3")).balance == Decimal("1.00")


async def test_nobody_is_refused_for_what_is_no_longer_true(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("10.00", key="b1")
    await deposit(casino, player.id, "3.00")
    assert (await player.bet("2.00", key="b2", round_key="r2")).balance == Decimal("1.00")  # there was nothing before

    async with casino.database.connection() as connection:
        await connection.execute("UPDATE users SET status = 'blocked' WHERE id = $1", player.id)
    with pytest.raises(PlayerBlocked):
        await player.bet("1.00", key="b3", round_key="r3")
    async with casino.database.connection() as connection:
        await connection.execute("UPDATE users SET status = 'active' WHERE id = $1", player.id)
    await player.launch()  # the block has ended the session
    assert (await player.bet("1.00", key="b3", round_key="r3")).balance == Decimal("0.00")


async def test_an_answer_that_moves_nothing_shows_the_balance_of_now(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.apply(Bet("b1", Decimal(1)), close=True)
    await deposit(casino, player.id, "3.00")
    assert (await player.apply(close=True)).balance == Decimal("12.00")


async def test_a_reversal_in_another_process_before_its_bet_holds(casino: Casino, database_url: str) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b1")
    stranger = await casino.player(main="10.00")
    async with open_casino(database_url) as other:
        # Of another player, whose versions are not the first one's: the write itself finds it.
        await other.batcher.submit(stranger.command(Reverse("x2", "b2"), round_key="other"))

    with pytest.raises(RolledBack):
        await player.bet("1.00", key="b2", round_key="r2")
    with pytest.raises(KeyConflict):
        await player.bet("1.00", key="x2", round_key="r2")


async def test_a_round_of_before_is_found_again(casino: Casino, database_url: str) -> None:
    player = await casino.player(main="10.00")
    async with open_casino(database_url) as other:
        await other.batcher.submit(player.command(Bet("b1", Decimal(1)), Win("w1", Decimal(1)), round_key="old"))
    await player.bet("1.00", key="b2")

    answer = await player.bet("1.00", key="b3", round_key="old")
    row = await casino.database.fetchrow("SELECT id, bet_amount FROM game_rounds WHERE external_id = 'old'")
    assert row is not None
    assert tuple(row) == (answer.round_id, Decimal("2.00"))


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE users SET status = 'blocked' WHERE id = $1", PlayerBlocked),
        ("UPDATE game_sessions SET status = 'closed' WHERE user_id = $1", NoOpenSession),
        ("DELETE FROM game_sessions WHERE user_id = $1", NoOpenSession),
    ],
)
async def test_p7_who_was_blocked_or_whose_session_is_over_is_refused_at_once(
    casino: Casino, statement: str, refusal: type[Exception]
) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b1")
    async with casino.database.connection() as connection:
        await connection.execute(statement, player.id)

    with pytest.raises(refusal):
        await player.bet("1.00", key="b2", round_key="r2")


async def test_memory_is_bounded(casino: Casino, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PLAYERS_MAX", 2)
    players = [await casino.player(main="10.00") for _ in range(6)]
    for number in range(3):
        for player in players:
            for round_ in range(6):
                await player.bet(
                    "0.10", key=f"{player.id}-{number}-{round_}", round_key=f"{player.id}-{number}-{round_}"
                )

    remembered = casino.batcher._lanes[0].memory
    assert 1 <= len(remembered) <= 2
    held = [*remembered._players.values(), *remembered._older_players.values()]
    assert all(len(player.rounds) <= memory.ROUNDS_MAX for player in held)


async def deposit(casino: Casino, user_id: object, amount: str) -> None:
    async with casino.database.transaction() as tx:
        await service.post_deposit(
            tx, user_id=clock.parse_id(str(user_id)), money=Money.parse(amount, "EUR"), external_id="test:more",
            payment_id=clock.new_id(), provider="test",
        )  # fmt: skip


async def test_p2_a_repeat_of_what_only_another_process_knows_is_answered_and_not_refused(
    casino: Casino, database_url: str
) -> None:
    player = await casino.player(main="10.00")
    spent = player.command(Bet("b1", Decimal(10)), close=True)
    async with open_casino(database_url) as other:
        first = await other.batcher.submit(spent)
    # From here on this process remembers the player and his closed round, and has never seen the bet's key.
    with pytest.raises(RoundClosed):
        await player.bet("1.00", key="b2")

    again = await casino.batcher.submit(spent)

    assert (again.operations, again.balance, again.repeated) == (first.operations, Decimal("0.00"), True)
    await player.win("1.00", key="w1", round_key="r2")
    with pytest.raises(InsufficientFunds):
        await player.bet("5.00", key="b3", round_key="r2")
    assert (await casino.batcher.submit(spent)).repeated
