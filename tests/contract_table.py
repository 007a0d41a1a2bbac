"""Where scenarios are played: one application with a provider of each dialect, and what is in the books after."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import wraps
from typing import Any, ClassVar, TypeVar

import pytest

from casino import SECRET_KEY, Casino
from countroom.games import service as games
from provider_callers import CALLERS, Caller, Outcome, Seat, Word
from serving import Served

Contract = TypeVar("Contract", bound="Scenarios")


async def open_providers(casino: Casino) -> None:
    """A provider of each dialect with a game of its own, and a second one that it must be told apart from."""
    for dialect, caller in CALLERS.items():
        await set_keys(casino, dialect, [caller.keys(0)[1]])
        await games.ensure_game(
            casino.database,
            provider_code=f"a-{dialect}",
            slug=f"{dialect}-game",
            title=dialect,
            volatility="low",
            genre="slots",
        )


async def set_keys(casino: Casino, dialect: str, signing_keys: list[str]) -> None:
    await games.ensure_provider(
        casino.database, code=f"a-{dialect}", title=dialect, dialect=dialect, launch_url="http://127.0.0.1:9/launch",
        signing_keys=signing_keys, secret_key=SECRET_KEY,
    )  # fmt: skip


@dataclass
class Table:
    """One scenario's."""

    served: Served
    caller: Caller

    @property
    def casino(self) -> Casino:
        return self.served.casino

    async def seat(self, main: str = "100.00", *, bonus: str = "0", currency: str = "EUR") -> Seat:
        return await self.caller.sit(await self.casino.player(main=main, bonus=bonus, currency=currency))

    def says(self, outcome: Outcome, word: str, balance: str | None = None) -> None:
        """It is this outcome in the protocol's words, and shows this balance as far as the protocol wants one."""
        assert outcome.word == self.caller.word(word), outcome.body
        shows = self.caller.policies.balance_in_refusals
        wanted = word == "ok" or shows == "always" or (shows == "funds" and word == "insufficient_funds")
        if balance is not None and (wanted or outcome.balance is not None):
            assert outcome.balance == Decimal(balance), outcome.body

    def repeats(self, again: Outcome, first: Outcome, now: str) -> None:
        """The first answer again; where the protocol wants the balance of now, with that one."""
        assert (again.word, again.own_ids) == (first.word, first.own_ids)
        current = self.caller.policies.replay_balance == "current"
        assert again.balance == (Decimal(now) if current else first.balance)

    async def ends(
        self, seat: Seat, main: str, *lines: str, rounds: tuple[str, ...] = (), bonus: str = "0.00", owed: str = "0.00"
    ) -> None:
        """A player's books of this provider: wallets, what moved in which order, rounds as status, bets and wins."""
        balances = await seat.player.balances()
        assert (balances.main, balances.bonus, balances.owed) == (main, bonus, owed)
        moved = await self.casino.database.fetch(
            """
            SELECT t.type || ' ' || w.type || ' ' || e.amount
              FROM wallet_entries e
              JOIN wallet_accounts w ON w.id = e.wallet_account_id
              JOIN transactions t ON t.id = e.transaction_id
             WHERE w.user_id = $1 AND t.external_id LIKE $2 || ':%'
             ORDER BY e.created_at, w.type, e.sequence
            """,
            seat.player.id,
            self.caller.code,
        )
        found = await self.casino.database.fetch(
            "SELECT status || ' ' || bet_amount || ' ' || win_amount FROM game_rounds WHERE user_id = $1 ORDER BY id",
            seat.player.id,
        )
        assert ([row[0] for row in moved], [row[0] for row in found]) == (list(lines), list(rounds))


class Scenarios:
    """What every dialect must do. A subclass names its caller, and what its protocol cannot say, with the reason."""

    dialect: ClassVar[str]
    cannot: ClassVar[dict[str, str]] = {}

    @pytest.fixture
    def table(self, stage: Served) -> Table:
        return Table(stage, CALLERS[self.dialect](stage))


def scenario(
    function: Callable[[Contract, Table], Awaitable[None]],
) -> Callable[[Contract, Table, Callable[[str, Any], None]], Awaitable[None]]:
    """Note for the matrix what became of a scenario; one that the protocol cannot say ends with its reason."""
    name = function.__name__.removeprefix("test_").replace("_", " ")

    @wraps(function)
    async def play(self: Contract, table: Table, record_property: Callable[[str, Any], None]) -> None:
        reason = self.cannot.get(function.__name__)
        record_property("contract", (name, self.dialect, reason or ""))
        if reason is None:
            await function(self, table)

    del play.__wrapped__  # pytest asks for the wrapper's own arguments
    return play


__all__ = ["Outcome", "Scenarios", "Seat", "Table", "Word", "open_providers", "scenario", "set_keys"]
