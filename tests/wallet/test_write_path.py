"""The write path's promises, on real PostgreSQL with real concurrency. The books are checked after each."""

import asyncio
import contextlib
from decimal import Decimal

import asyncpg
import pytest

from casino import Casino, open_casino
from countroom.wallet.commands import Answer, Bet, Operation, Reverse, Win
from countroom.wallet.refusals import (
    ForeignRound,
    InsufficientFunds,
    KeyConflict,
    NoOpenSession,
    NotReversible,
    Overloaded,
    PlayerBlocked,
    RolledBack,
    RoundClosed,
    RoundNotFound,
    UnknownPlayer,
    WalletRefusal,
    WrongCurrency,
)


async def test_p2_a_bet_retried_fifty_times_at_once_is_charged_once(casino: Casino) -> None:
    player = await casino.player(main="10.00")

    answers = await asyncio.gather(*(player.bet("3.00", key="b1") for _ in range(50)))

    assert {answer.operations[0].id for answer in answers} == {answers[0].operations[0].id}
    assert {answer.balance for answer in answers} == {Decimal("7.00")}
    assert await player.balance() == Decimal("7.00")


async def test_p2_two_processes_with_one_key_give_one_answer(casino: Casino, database_url: str) -> None:
    player = await casino.player(main="10.00")
    async with open_casino(database_url) as other:
        mine, theirs = await asyncio.gather(
            *(batcher.submit(player.command(Bet("b1", Decimal(4)))) for batcher in (casino.batcher, other.batcher))
        )

    assert mine.operations == theirs.operations
    assert mine.balance == theirs.balance == Decimal("6.00")


async def test_p2_the_same_key_of_two_players_costs_only_the_second(casino: Casino, database_url: str) -> None:
    players = [await casino.player(main="10.00") for _ in range(20)]
    async with open_casino(database_url) as other:
        outcomes = await asyncio.gather(
            *(
                batcher.submit(player.command(Bet("shared", Decimal(1)), round_key=f"r{n}"))
                for n, player in enumerate(players)
                for batcher in [casino.batcher if n % 2 else other.batcher]
            ),
            return_exceptions=True,
        )

    assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, KeyConflict) for outcome in outcomes) == len(players) - 1


async def test_p2_other_content_under_a_used_key_is_refused(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("3.00", key="b1")

    with pytest.raises(KeyConflict) as refused:
        await player.bet("4.00", key="b1")
    assert refused.value.balance == Decimal("7.00")
    with pytest.raises(KeyConflict):
        await player.win("3.00", key="b1")
    with pytest.raises(KeyConflict):
        await player.bet("3.00", key="b1", round_key="another")


async def test_p2_a_repeat_gives_the_first_balance_whatever_has_come_since(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    first = await player.bet("3.00", key="b1")
    await player.bet("5.00", key="b2")

    again = await player.bet("3.00", key="b1")

    assert (again.operations, again.balance, again.round_id) == (first.operations, first.balance, first.round_id)
    assert again.repeated


async def test_p3_racing_bets_never_take_more_than_there_is(casino: Casino) -> None:
    player = await casino.player(main="10.00")

    outcomes = await asyncio.gather(
        *(player.bet("3.00", key=f"b{n}", round_key=f"r{n}") for n in range(20)), return_exceptions=True
    )

    assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 3
    assert all(isinstance(outcome, (Answer, InsufficientFunds)) for outcome in outcomes)
    assert await player.balance() == Decimal("1.00")


async def test_p4_two_reversals_with_other_ids_give_back_once(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("3.00", key="b1")

    answers = await asyncio.gather(*(player.reverse("b1", key=f"x{n}") for n in range(10)))

    assert len({answer.operations[0].id for answer in answers}) == 1
    assert await player.balance() == Decimal("10.00")


async def test_p4_a_reversal_before_its_bet_is_a_tombstone_for_ever(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    answer = await player.reverse("b1", key="x1")

    assert answer.operations[0].id is None
    with pytest.raises(RolledBack):
        await player.bet("3.00", key="b1")
    assert (await player.reverse("b1", key="x1")).repeated
    assert (await player.reverse("b1", key="x2")).operations[0].id is None
    assert (await player.reverse("b1", key="x2")).operations[0].id is None
    assert await player.balance() == Decimal("10.00")


async def test_p4_a_bet_and_its_reversal_racing_leave_the_balance_as_it_was(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    for n in range(20):
        await asyncio.gather(
            player.bet("3.00", key=f"b{n}", round_key=f"r{n}"), player.reverse(f"b{n}", key=f"x{n}", round_key=f"r{n}"),
            return_exceptions=True,
        )  # fmt: skip
        assert await player.balance() == Decimal("10.00")


async def test_p5_a_command_with_one_bad_part_moves_nothing(casino: Casino) -> None:
    player = await casino.player(main="10.00")

    with pytest.raises(InsufficientFunds) as refused:
        await player.apply(Bet("b1", Decimal(4)), Win("w1", Decimal(2)), Bet("b2", Decimal(9)))

    assert refused.value.balance == Decimal("10.00")
    assert await player.balance() == Decimal("10.00")
    assert (await player.bet("4.00", key="b1")).balance == Decimal("6.00")


@pytest.mark.parametrize(
    "text", ['"', "\\", '\\"', "{}", "a,b", "NULL", " ", "'", "$1", "ü€🎰", "%s", "{NULL}", '","', "\\x00", "/bonus/x"]
)
async def test_any_id_arrives_as_it_was_sent(casino: Casino, text: str) -> None:
    player = await casino.player(main="10.00")
    answer = await player.bet("1.00", key=text, round_key=text)

    row = await casino.database.fetchrow(
        "SELECT t.external_id, t.metadata ->> 'round' AS noted, r.external_id AS round_key "
        "FROM transactions t JOIN game_rounds r ON r.id = t.game_round_id WHERE t.id = $1",
        answer.operations[0].id,
    )
    assert row is not None
    assert tuple(row) == (f"sandbox:{text}", text, text)
    assert (await player.bet("1.00", key=text, round_key=text)).repeated
    assert (await player.reverse(text, key=f"{text}x", round_key=text)).balance == Decimal("10.00")


async def test_a_bet_may_be_paid_from_a_win_of_the_same_command(casino: Casino) -> None:
    player = await casino.player(main="1.00")
    answer = await player.apply(Bet("b1", Decimal(1)), Win("w1", Decimal(5)), Bet("b2", Decimal(4)))
    assert answer.balance == Decimal("1.00")


async def test_a_bad_command_never_harms_its_neighbours(casino: Casino) -> None:
    rich = [await casino.player(main="10.00") for _ in range(10)]
    poor = await casino.player(main="1.00")

    outcomes = await asyncio.gather(
        *(player.bet("5.00", key=f"k{n}", round_key=f"r{n}") for n, player in enumerate([*rich, poor])),
        return_exceptions=True,
    )

    assert all(isinstance(outcome, Answer) for outcome in outcomes[:10])
    assert isinstance(outcomes[10], InsufficientFunds)


async def test_what_the_database_refuses_costs_only_the_command_at_fault(casino: Casino) -> None:
    fine = await casino.player(main="10.00")
    broken = await casino.player(main="10.00")
    async with casino.database.connection() as connection:
        await connection.execute("ALTER TABLE game_rounds ADD CONSTRAINT no_such_round CHECK (external_id <> 'broken')")

    outcomes = await asyncio.gather(
        fine.bet("1.00", key="fine"), broken.bet("1.00", key="broken", round_key="broken"), return_exceptions=True
    )

    assert isinstance(outcomes[0], Answer)
    assert isinstance(outcomes[1], Overloaded)
    assert await broken.balance() == Decimal("10.00")


async def test_stakes_take_main_first_and_wins_come_back_as_the_bets_were_split(casino: Casino) -> None:
    player = await casino.player(main="4.00", bonus="10.00")

    bet = await player.bet("10.00", key="b1")
    assert bet.operations[0].bonus == Decimal("6.00")
    assert (await player.bet("10.00", key="b1")).operations == bet.operations

    win = await player.win("5.00", key="w1")
    assert win.operations[0].bonus == Decimal("3.00")
    assert (await player.balance("main"), await player.balance("bonus")) == (Decimal("2.00"), Decimal("7.00"))

    await player.reverse("b1", key="x1")
    assert (await player.balance("main"), await player.balance("bonus")) == (Decimal("6.00"), Decimal("13.00"))


async def test_yen_are_split_whole(casino: Casino) -> None:
    player = await casino.player(main="1", bonus="1", currency="JPY")
    await player.bet("2", key="b1")
    await player.win("5", key="w1")
    assert (await player.balance("main"), await player.balance("bonus")) == (Decimal(3), Decimal(2))


async def test_reversing_a_spent_win_takes_what_is_there_and_records_the_rest(casino: Casino) -> None:
    player = await casino.player(main="1.00")
    await player.bet("1.00", key="b1")
    await player.win("20.00", key="w1")
    await player.bet("15.00", key="b2", round_key="r2")

    assert (await player.reverse("w1", key="x1")).balance == Decimal("0.00")

    row = await casino.database.fetchrow("SELECT amount, shortfall FROM tombstones WHERE external_id = 'sandbox:x1'")
    assert row is not None
    assert tuple(row) == (Decimal("-5.00"), Decimal("15.00"))


async def test_rounds_settle_cancel_and_take_no_bets_afterwards(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b1")
    await player.apply(Win("w1", Decimal(2)), close=True)

    with pytest.raises(RoundClosed):
        await player.bet("1.00", key="b2")
    assert (await player.win("1.00", key="w2")).balance == Decimal("12.00")
    assert (await player.apply(close=True)).balance == Decimal("12.00")
    with pytest.raises(RoundNotFound):
        await player.apply(round_key="never", close=True)

    await player.bet("1.00", key="b3", round_key="r2")
    await player.reverse("b3", key="x3", round_key="r2")
    statuses = {row["external_id"]: row["status"] for row in await casino.database.fetch("SELECT * FROM game_rounds")}
    assert statuses == {"r1": "settled", "r2": "cancelled"}


async def test_p7_wins_and_reversals_are_accepted_from_whoever_may_not_bet(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("1.00", key="b1")
    async with casino.database.connection() as connection:
        await connection.execute("UPDATE users SET status = 'blocked' WHERE id = $1", player.id)
        await connection.execute("UPDATE game_sessions SET status = 'closed' WHERE id = $1", player.session_id)

    with pytest.raises(PlayerBlocked):
        await player.bet("1.00", key="b2")
    assert (await player.win("5.00", key="w1")).balance == Decimal("14.00")
    assert (await player.reverse("b1", key="x1")).balance == Decimal("15.00")

    async with casino.database.connection() as connection:
        await connection.execute("UPDATE users SET status = 'active' WHERE id = $1", player.id)
    with pytest.raises(NoOpenSession):
        await player.bet("1.00", key="b2")


async def test_a_win_of_a_game_never_launched_gets_a_session_of_its_own(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    async with casino.database.connection() as connection:
        await connection.execute("DELETE FROM game_sessions")

    assert (await player.win("5.00", key="w1")).balance == Decimal("15.00")
    row = await casino.database.fetchrow("SELECT status, win_amount FROM game_sessions")
    assert row is not None
    assert tuple(row) == ("closed", Decimal("5.00"))


async def test_nobody_reverses_another_players_bet(casino: Casino) -> None:
    victim, thief = await casino.player(main="10.00"), await casino.player(main="10.00")
    await victim.bet("3.00", key="b1")

    with pytest.raises(NotReversible):
        await thief.reverse("b1", key="x1", round_key="other")
    with pytest.raises(ForeignRound):
        await thief.bet("1.00", key="b2", round_key="r1")
    assert await thief.balance() == Decimal("10.00")


async def test_unknown_players_and_currencies_are_told_apart(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    stranger = await casino.player()
    stranger.id = player.session_id
    with pytest.raises(UnknownPlayer):
        await stranger.bet("1.00", key="b1")
    player.currency = "USD"
    with pytest.raises(WrongCurrency):
        await player.bet("1.00", key="b1")


async def test_giving_up_on_an_answer_does_not_stop_the_write(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    task = asyncio.create_task(player.bet("3.00", key="b1"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await player.bet("3.00", key="b1")).balance == Decimal("7.00")


async def test_the_journal_refuses_to_be_changed(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    await player.bet("3.00", key="b1")
    async with casino.database.connection() as connection:
        for statement in (
            "UPDATE wallet_entries SET amount = 1",
            "DELETE FROM wallet_entries",
            "DELETE FROM transactions",
            "TRUNCATE tombstones",
            "DELETE FROM game_rounds",
        ):
            with pytest.raises(asyncpg.RestrictViolationError):
                await connection.execute(statement)


async def test_many_players_in_two_processes_end_with_exact_books(casino: Casino, database_url: str) -> None:
    players = [await casino.player(main="100.00", bonus="20.00") for _ in range(8)]
    async with open_casino(database_url) as other:

        async def play(n: int) -> None:
            player = players[n % 8]
            batcher = (casino.batcher, other.batcher)[n % 2]
            operations: list[Operation] = [
                Bet(f"b{n}", Decimal(7)),
                Win(f"w{n}", Decimal(n % 5 + 1)),
                Reverse(f"x{n}", f"b{n}"),
            ]
            for step, operation in enumerate(operations):
                if step == 2 and n % 3:
                    continue
                with contextlib.suppress(WalletRefusal):
                    await batcher.submit(player.command(operation, round_key=f"r{n}"))

        await asyncio.gather(*(play(n) for n in range(200)))
