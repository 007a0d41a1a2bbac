"""Rounds that do not end by themselves: found, told, and closed with four eyes; the books hold whatever is done."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from casino import Balances, Casino, open_casino
from countroom import clock
from countroom.games import rounds
from countroom.players import staff
from countroom.players.staff import StaffSession
from countroom.refusal import Refusal
from countroom.schema.enumerations import StaffRole
from countroom.wallet import story
from countroom.wallet.commands import Bet, Reverse, Win
from countroom.wallet.refusals import RoundClosed


@pytest.fixture
async def casino(database_url: str) -> AsyncIterator[Casino]:
    async with open_casino(database_url) as opened:
        yield opened
        await opened.check_books()


async def member(casino: Casino, name: str, role: StaffRole = "compliance") -> StaffSession:
    await staff.add(casino.database, email=f"{name}@example.test", name=name.title(), role=role)
    row = await casino.database.fetchrow("SELECT id FROM staff WHERE email = $1", f"{name}@example.test")
    assert row is not None
    return StaffSession(row["id"], f"{name}@example.test", name.title(), role, clock.now() + timedelta(hours=1))


async def code_of(refused: Any) -> str:
    with pytest.raises(Refusal) as refusal:
        await refused
    return refusal.value.code


async def status_of(casino: Casino, round_id: Any) -> str:
    row = await casino.database.fetchrow("SELECT status::text FROM game_rounds WHERE id = $1", round_id)
    assert row is not None
    return str(row["status"])


async def test_a_round_is_settled_by_two_people_and_takes_wins_and_no_bets_afterwards(casino: Casino) -> None:
    ada, bob = await member(casino, "ada", "support"), await member(casino, "bob")
    analyst = await member(casino, "eve", "analyst")
    player = await casino.player(main="10.00")
    opened = await player.bet("3.00", key="b")
    round_id = opened.round_id
    assert round_id is not None
    assert await rounds.note_unfinished(casino.database, timedelta(hours=1)) == 0
    assert await rounds.note_unfinished(casino.database, timedelta(seconds=-5)) == 1
    assert await status_of(casino, round_id) == "unfinished"
    (listed,) = await rounds.list_unfinished(casino.database, limit=10)
    assert (listed.id, listed.bet_amount, listed.proposed_action) == (round_id, Decimal("3.00"), None)
    assert await rounds.count_unfinished(casino.database) == 1

    def propose(who: StaffSession, action: str = "settle", reason: str = "the provider is gone") -> Any:
        return rounds.propose(casino.database, who, round_id, action=action, reason=reason)

    assert await code_of(propose(analyst)) == "not_your_role"
    assert await code_of(propose(ada, "delete")) == "unknown_action"
    assert await code_of(propose(ada, reason=" \n ")) == "reason_missing"
    closing_id = await propose(ada)
    assert await code_of(propose(bob)) == "closing_proposed"
    assert await code_of(rounds.decide(casino.database, ada, closing_id, "approved")) == "not_your_role"
    (listed,) = await rounds.list_unfinished(casino.database, limit=10)
    assert (listed.proposed_action, listed.proposed_by) == ("settle", "Ada")

    assert await rounds.decide(casino.database, bob, closing_id, "approved") == round_id
    assert await code_of(rounds.decide(casino.database, bob, closing_id, "approved")) == "closing_decided"
    assert await status_of(casino, round_id) == "settled"
    assert await player.balances() == Balances("7.00")
    assert await code_of(propose(ada)) == "round_has_ended"
    assert await rounds.list_unfinished(casino.database, limit=10) == []

    with pytest.raises(RoundClosed):
        await player.bet("1.00", key="late bet")
    await player.win("5.00", key="late win")
    assert await player.balances() == Balances("12.00")
    told = await rounds.read(casino.database, round_id)
    assert [step.kind for step in told.story.steps] == ["bet", "win"]
    assert [(noted.who, noted.action) for noted in told.audit] == [
        ("Ada", "settle proposed"), ("Bob", "settle approved"),
    ]  # fmt: skip
    assert told.audit[0].details["reason"] == "the provider is gone"


async def test_whoever_proposes_does_not_decide_and_only_they_withdraw(casino: Casino) -> None:
    ada, bob = await member(casino, "ada"), await member(casino, "bob")
    player = await casino.player(main="10.00")
    round_id = (await player.bet("3.00", key="b")).round_id
    assert round_id is not None
    before = await casino.everything()
    closing_id = await rounds.propose(casino.database, ada, round_id, action="cancel", reason="void")
    assert await code_of(rounds.decide(casino.database, ada, closing_id, "approved")) == "four_eyes"
    assert await code_of(rounds.decide(casino.database, ada, closing_id, "rejected")) == "four_eyes"
    assert await code_of(rounds.decide(casino.database, bob, closing_id, "withdrawn")) == "not_your_proposal"
    assert await code_of(rounds.decide(casino.database, bob, clock.new_id(), "approved")) == "unknown_closing"
    await rounds.decide(casino.database, ada, closing_id, "withdrawn")
    again = await rounds.propose(casino.database, bob, round_id, action="cancel", reason="void")
    await rounds.decide(casino.database, ada, again, "rejected")
    assert await casino.everything() == before
    told = await rounds.read(casino.database, round_id)
    assert [one.outcome for one in told.closings] == ["withdrawn", "rejected"]
    assert len(told.audit) == 4
    # What no code can forget, the database refuses.
    third = await rounds.propose(casino.database, ada, round_id, action="settle", reason="void")
    async with casino.database.connection() as connection:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(
                "UPDATE round_closings SET outcome = 'approved', decided_by = proposed_by, decided_at = now() "
                "WHERE id = $1", third,
            )  # fmt: skip


async def test_cancelling_gives_every_bet_back_once_whoever_bets_meanwhile(casino: Casino) -> None:
    ada, bob = await member(casino, "ada"), await member(casino, "bob")
    player = await casino.player(main="10.00", bonus="5.00")
    await player.apply(Bet("b0", Decimal(2)), Bet("b1", Decimal(9)))  # one euro of it is bonus money
    await player.reverse("b0", key="x0")
    round_id = (await player.apply(Bet("free", Decimal(1), moves_money=False, award="spins"))).round_id
    assert round_id is not None
    closing_id = await rounds.propose(casino.database, ada, round_id, action="cancel", reason="void")
    approved, *bets = await asyncio.gather(
        rounds.decide(casino.database, bob, closing_id, "approved"),
        *(player.bet("0.10", key=f"racing {number}") for number in range(8)),
    )
    assert approved == round_id
    # A bet that came behind the cancellation has opened the round again; its provider ends that one, too.
    standing = await casino.database.fetch(
        "SELECT external_id FROM transactions WHERE type = 'bet' AND status = 'success'"
    )
    assert await status_of(casino, round_id) == ("open" if standing else "cancelled")
    held = await player.balance("main") + await player.balance("bonus")
    assert held == Decimal(15) - len(standing) * Decimal("0.10")
    for row in standing:
        await player.reverse(row["external_id"].removeprefix("sandbox:"), key=f"x {row['external_id']}")
    assert await player.balances() == Balances("10.00", "5.00")
    assert len(bets) == 8
    await player.reverse("b1", key="the provider's own")  # late: it has been reversed
    assert await player.balances() == Balances("10.00", "5.00")


async def test_a_round_in_which_a_win_stands_is_settled_and_not_cancelled(casino: Casino) -> None:
    ada, bob = await member(casino, "ada"), await member(casino, "bob")
    player = await casino.player(main="10.00")
    round_id = (await player.bet("3.00", key="b")).round_id
    assert round_id is not None
    closing_id = await rounds.propose(casino.database, ada, round_id, action="cancel", reason="void")
    await player.win("1.00", key="w")
    before = await casino.everything()
    assert await code_of(rounds.decide(casino.database, bob, closing_id, "approved")) == "round_has_wins"
    assert await casino.everything() == before
    await rounds.decide(casino.database, bob, closing_id, "rejected")
    assert await code_of(
        rounds.propose(casino.database, ada, round_id, action="cancel", reason="void")
    ) == "round_has_wins"  # fmt: skip
    only_won = (await player.win("1.00", key="w2", round_key="r2")).round_id
    assert only_won is not None
    await player.reverse("w2", key="x2", round_key="r2")
    assert await status_of(casino, only_won) == "cancelled"


async def test_the_walk_looks_at_each_round_once_and_a_bet_opens_a_marked_one_again(casino: Casino) -> None:
    player = await casino.player(main="10.00")
    for number in range(3):
        await player.bet("1.00", key=f"b{number}", round_key=f"r{number}")
    await player.apply(Win("w0", Decimal(1)), round_key="r0", close=True)
    now = timedelta(seconds=-5)
    assert await rounds.note_unfinished(casino.database, now) == 2
    assert await rounds.note_unfinished(casino.database, now) == 0
    again = await player.bet("1.00", key="again", round_key="r1")
    await player.apply(Win("w2", Decimal(1)), round_key="r2", close=True)
    (listed,) = await rounds.list_unfinished(casino.database, limit=10)
    assert (listed.id, listed.status) == (again.round_id, "open")
    assert await rounds.list_unfinished(casino.database, limit=10, after=listed.id) == []
    assert await rounds.find(casino.database, "r1") == [listed.id] == await rounds.find(casino.database, str(listed.id))
    assert await rounds.find(casino.database, "nobody's") == []


async def test_a_story_tells_each_command_its_answer_and_its_lines_in_order(casino: Casino) -> None:
    player = await casino.player(main="2.00", bonus="5.00")
    round_id = (await player.apply(Bet("b", Decimal(3)))).round_id
    assert round_id is not None
    await player.apply(Win("w", Decimal(6)))
    await player.bet("4.00", key="elsewhere", round_key="r2")  # spends what was won
    await player.apply(Reverse("x", "w"))
    await player.apply(Win("jackpot", Decimal(9), award="grand jackpot"), close=True)
    told = await story.read(casino.database, round_id)
    assert told.is_complete
    assert [
        (step.kind, step.external_id, str(step.amount), str(step.bonus), step.status, str(step.answered),
         [f"{line.wallet_type} {line.amount} = {line.balance_after}" for line in step.entries])
        for step in told.steps
    ] == [
        ("bet", "sandbox:b", "3.00", "1.00", "success", "4.00", ["bonus -1.00 = 4.00", "main -2.00 = 0.00"]),
        ("win", "sandbox:w", "6.00", "2.00", "cancelled", "10.00", ["bonus 2.00 = 6.00", "main 4.00 = 4.00"]),
        ("reversal", "sandbox:x", "-2.00", "-2.00", "reversed", "4.00",
         ["bonus -2.00 = 4.00", "main 4.00 = 4.00", "main -4.00 = 0.00"]),
        ("win", "sandbox:jackpot", "9.00", "3.00", "success", "9.00",
         ["bonus 3.00 = 7.00", "main 6.00 = 6.00", "main -4.00 = 2.00"]),
    ]  # fmt: skip
    reversal = told.steps[2]
    assert (reversal.target, reversal.shortfall) == ("sandbox:w", Decimal("4.00"))
    assert told.parts == story.Parts(
        Decimal("2.00"), Decimal("1.00"), Decimal("6.00"), Decimal("3.00"), (("grand jackpot", Decimal("9.00")),)
    )
    with pytest.raises(story.NoSuchRound):
        await story.read(casino.database, clock.new_id())
