"""What a pass reads in more than one statement is of more than one moment; it must not tell half of anything."""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from asyncpg import Record

from casino import Casino, open_casino
from countroom import clock
from countroom.postgres import Connection
from countroom.wallet import queries
from countroom.wallet.commands import Command, Conclude, Convert, Withdraw
from countroom.wallet.state import Facts


class Interrupted:
    """A connection on which somebody else gets between two statements, wherever that is possible."""

    def __init__(self, connection: Connection, between: Callable[[], Awaitable[object]], after: int) -> None:
        self.connection, self.between, self.after = connection, between, after

    async def fetch(self, *arguments: Any) -> Sequence[Record]:
        rows = await self.connection.fetch(*arguments)
        self.after -= 1
        if self.after == 0:
            await self.between()
        return rows


async def test_who_read_a_withdrawal_but_not_yet_the_money_that_it_locked_is_not_refused_for_that(
    casino: Casino, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    player = await casino.player(main="10.00")
    withdraw, cancel = (
        Command("sandbox", player.id, "EUR", (operation,))
        for operation in (Withdraw("o1", Decimal(3), clock.new_id()), Conclude("e1", "o1", "cancelled"))
    )
    read_keys, pending = queries._read_keys, [withdraw]

    async with open_casino(database_url) as other:

        async def read_late(*arguments: Any) -> None:
            while pending:  # somebody else is between the two statements
                await other.batcher.submit(pending.pop())
            await read_keys(*arguments)

        monkeypatch.setattr(queries, "_read_keys", read_late)
        assert (await casino.batcher.submit(cancel)).balance == Decimal("10.00")
    assert not pending
    assert await player.balance("locked") == Decimal("0.00")


async def test_p2_both_rows_of_an_operation_on_two_wallets_are_read_or_none(casino: Casino) -> None:
    player = await casino.player(main="10.00", bonus="10.00")
    await player.bet("15.00", key="known")

    for after in (1, 2, 3):
        convert = Command("sandbox", player.id, "EUR", (Convert(f"v{after}", Decimal(1)),))
        facts = Facts()
        async with casino.database.connection() as connection:
            interrupted = Interrupted(connection, partial(casino.batcher.submit, convert), after)
            await queries.read_facts(interrupted, [player.command(), convert, repeat(player.id)], facts)  # type: ignore[arg-type]

        found = [row.external_id for row in facts.rows.get(f"sandbox:v{after}", [])]
        assert found in ([], [f"sandbox:v{after}", f"sandbox:v{after}/bonus"])
        assert [row.wallet_type for row in facts.rows["sandbox:known"]] == ["main", "bonus"]


def repeat(user_id: Any) -> Command:
    """A command whose key is known, so that keys are read at all."""
    return Command("sandbox", user_id, "EUR", (Convert("known", Decimal(1)),))
