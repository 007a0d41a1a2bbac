"""A callback is answered in 800 ms or refused so that the provider asks again, and either way counted once."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Final

import pytest

from countroom.games.dialects import ANSWER_SECONDS
from countroom.web import callbacks
from provider_callers import CALLERS, Caller, Outcome, Seat
from serving import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUSY_SECONDS: Final = 2.0
"""What a machine that is busy with other tests may add; the database would block for ever."""


async def seats(stage: Served) -> list[tuple[Caller, Seat]]:
    made = [caller(stage) for caller in CALLERS.values()]
    return [(caller, await caller.sit(await stage.casino.player(main="100.00"))) for caller in made]


async def in_time(calls: Sequence[Awaitable[Outcome]]) -> list[Outcome]:
    """Make calls that cannot be answered, with the budget that there is in production."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "ANSWER_SECONDS", ANSWER_SECONDS)
        began = time.monotonic()
        outcomes = await asyncio.gather(*calls)
    assert ANSWER_SECONDS - 0.1 < time.monotonic() - began < ANSWER_SECONDS + BUSY_SECONDS
    return outcomes


async def test_the_budget_is_below_the_second_that_hub88_waits() -> None:
    assert ANSWER_SECONDS <= 0.8


async def test_bets_of_a_blocked_database_are_refused_in_time_and_then_asked_again_or_taken_back(stage: Served) -> None:
    asked_again, taken_back = await seats(stage), await seats(stage)
    everybody = [*asked_again, *taken_back]
    async with stage.casino.database.transaction() as tx:
        await tx.execute("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE")
        outcomes = await in_time([caller.bet(seat, "b1", "10.00") for caller, seat in everybody])
        assert [each.word for each in outcomes] == [caller.word("retryable") for caller, _ in everybody]
    for caller, seat in asked_again:
        for _ in range(2):
            assert (await caller.bet(seat, "b1", "10.00")).word == caller.OK
        assert (await seat.player.balances()).main == "90.00"
    for caller, seat in taken_back:
        assert (await caller.reverse(seat, "x1", "b1", "10.00")).word == caller.OK
        late = await caller.bet(seat, "b1", "10.00")
        assert late.word in {caller.OK, caller.WORDS.get("rolled_back")}
        assert (await seat.player.balances()).main == "100.00"


async def test_a_reversal_that_was_refused_for_its_time_is_repeated_and_counts_once(stage: Served) -> None:
    everybody = await seats(stage)
    for caller, seat in everybody:
        await caller.bet(seat, "b1", "10.00")
    async with stage.casino.database.transaction() as tx:
        await tx.execute("LOCK TABLE transactions, tombstones IN ACCESS EXCLUSIVE MODE")
        outcomes = await in_time([caller.reverse(seat, "x1", "b1", "10.00") for caller, seat in everybody])
        assert [each.word for each in outcomes] == [caller.word("retryable") for caller, _ in everybody]
    for caller, seat in everybody:
        for _ in range(2):
            assert (await caller.reverse(seat, "x1", "b1", "10.00")).word == caller.OK
        assert (await seat.player.balances()).main == "100.00"


async def test_a_balance_that_cannot_be_read_is_refused_in_time(stage: Served) -> None:
    everybody = await seats(stage)
    async with stage.casino.database.transaction() as tx:
        await tx.execute("LOCK TABLE users, wallet_accounts, game_sessions IN ACCESS EXCLUSIVE MODE")
        outcomes = await in_time([caller.balance(seat) for caller, seat in everybody])
        assert [each.word for each in outcomes] == [caller.word("retryable") for caller, _ in everybody]
    for caller, seat in everybody:
        assert (await caller.balance(seat)).word == caller.OK
