"""P1 to P5 against a model: random histories of every operation, many at once, on real PostgreSQL.

HISTORIES says how many (`make torture`: 100,000), SEED repeats a run.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Final

import asyncpg
import hypothesis
import pytest
import uvloop
from hypothesis import HealthCheck, Phase, given

from casino import Casino, open_casino
from countroom.wallet.commands import Bet, Reverse
from wallet.histories import Call, History, Step, histories
from wallet.playing import Table
from wallet.shrinking import shrink

LOG: Final = logging.getLogger("torture")
HISTORIES: Final = int(os.environ.get("HISTORIES", "2000"))
SEED: Final = int(os.environ.get("SEED", "1"))
AT_ONCE: Final = 100
PROOF_AFTER: Final = 2_000
"""Histories, after which the books are proved."""


@pytest.mark.timeout(0 if HISTORIES > 2_000 else 300)
def test_random_histories_are_what_the_model_says(
    database_url: str, record_property: Callable[[str, object], None]
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        held = AsyncExitStack()
        casino, table = runner.run(_open(database_url, held))
        try:
            played = 0
            while played < HISTORIES:
                seed = SEED + played
                drawn = _draw(seed, min(PROOF_AFTER, HISTORIES - played))
                runner.run(_play(table, seed, drawn))
                runner.run(casino.check_books())
                played += len(drawn)
                LOG.info("%d histories are what the model says, and the books hold (SEED=%d)", played, seed)
        finally:
            runner.run(held.aclose())
    record_property("ran", f"{played:,} random histories of the wallet, SEED={SEED}: no difference")


async def test_the_model_says_of_a_reversals_reversal_what_the_wallet_says(database_url: str) -> None:
    # One history in 90,000 has this: a key is reversed before it comes, is a reversal's then, and is reversed again.
    history = History(
        tuple(
            Step((Call((operation,)),))
            for operation in (Reverse("x1b2", "b2"), Bet("b1", Decimal(3)), Reverse("b2", "b1"), Reverse("x2b2", "b2"))
        )
    )
    async with AsyncExitStack() as held:
        _, table = await _open(database_url, held)
        assert await table.play([history]) == [None]


def _draw(seed: int, count: int) -> list[History]:
    """Draw histories; hypothesis tries the small and the odd ones, too."""
    drawn: list[History] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a history is made smaller where it is played
        suppress_health_check=list(HealthCheck),
    )
    @given(histories)
    def draw(history: History) -> None:
        drawn.append(history)

    draw()
    return drawn


async def _play(table: Table, seed: int, drawn: list[History]) -> None:
    for begin in range(0, len(drawn), AT_ONCE):
        at_once = drawn[begin : begin + AT_ONCE]
        for history, wrong in zip(at_once, await table.play(at_once), strict=True):
            if wrong is not None:
                smallest = await shrink(table, history, wrong)
                pytest.fail(f"HISTORIES={len(drawn)} SEED={seed}, as small as it gets:\n{smallest}", pytrace=False)


async def _open(database_url: str, held: AsyncExitStack) -> tuple[Casino, Table]:
    # A process that is alone has two passes under way at once, one beside others has one.
    casinos = [await held.enter_async_context(open_casino(database_url, lanes=lanes)) for lanes in (2, 1)]
    connections = await held.enter_async_context(
        asyncpg.create_pool(database_url, min_size=1, max_size=4, server_settings={"timezone": "UTC"})
    )
    return casinos[0], Table([casino.batcher for casino in casinos], connections, casinos[0].game_id)
