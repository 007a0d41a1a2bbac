"""A casino in a test: players with money, a game to play, and the books at the end."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from countroom import clock
from countroom.games import service as games
from countroom.games.rules import USUAL_POLICY
from countroom.money import Money
from countroom.postgres import Database
from countroom.wallet import books, service
from countroom.wallet.commands import Answer, Bet, Command, Operation, Play, Reverse, Win

SECRET_KEY = "a test's secret key"
PROVIDER_KEY = "the sandbox provider's key"
MONEY: Final = (
    "wallet_accounts", "transactions", "wallet_entries", "tombstones", "game_rounds", "game_sessions", "staff_postings",
)  # fmt: skip
"""The tables in which something stands after money has moved."""


class Balances(NamedTuple):
    """A player's wallets in one currency."""

    main: str
    bonus: str = "0.00"
    locked: str = "0.00"
    owed: str = "0.00"
    """By main and bonus together."""


@dataclass
class Player:
    casino: "Casino"
    id: UUID
    currency: str
    session_id: UUID

    def command(self, *operations: Operation, round_key: str = "r1", close: bool = False) -> Command:
        play = Play(self.casino.game_id, round_key, self.session_id, close)
        return Command("sandbox", self.id, self.currency, operations, play)

    def command_in(self, game_id: UUID, amount: str, key: str) -> Command:
        """A bet in a game, on whatever session of it there is."""
        return Command("sandbox", self.id, self.currency, (Bet(key, Decimal(amount)),), Play(game_id, key))

    async def apply(self, *operations: Operation, round_key: str = "r1", close: bool = False) -> Answer:
        return await self.casino.batcher.submit(self.command(*operations, round_key=round_key, close=close))

    async def launch(self, policy: games.HousePolicy = USUAL_POLICY) -> None:
        """Launch the game (again), and play on in that session."""
        launched = await games.launch(
            self.casino.database, user_id=self.id, slug="lucky-sevens", currency=self.currency, policy=policy
        )
        self.session_id = launched.session_id

    async def bet(self, amount: str, key: str, round_key: str = "r1") -> Answer:
        return await self.apply(Bet(key, Decimal(amount)), round_key=round_key)

    async def win(self, amount: str, key: str, round_key: str = "r1") -> Answer:
        return await self.apply(Win(key, Decimal(amount)), round_key=round_key)

    async def reverse(self, target: str, key: str, round_key: str = "r1") -> Answer:
        return await self.apply(Reverse(key, target), round_key=round_key)

    async def balance(self, wallet_type: str = "main") -> Decimal:
        wallets = await service.wallets_of(self.casino.database, self.id)
        return next(w.balance for w in wallets if w.type == wallet_type and w.currency == self.currency)

    async def balances(self) -> Balances:
        rows = await self.casino.database.fetch(
            "SELECT type, balance, receivable FROM wallet_accounts WHERE user_id = $1 AND currency = $2",
            self.id,
            self.currency,
        )
        held = {row["type"]: str(row["balance"]) for row in rows}
        return Balances(held["main"], held["bonus"], held["locked"], str(sum(row["receivable"] for row in rows)))

    async def lines(self, prefix: str) -> list[str]:
        """The player's transactions whose ids begin so, each with its journal."""
        rows = await self.casino.database.fetch(
            """
            SELECT t.external_id, t.type, t.wallet_type, t.status, t.amount, t.fee, t.metadata->>'kind' AS kind,
                   t.processed_at IS NOT NULL AS is_processed,
                   ARRAY(SELECT w.type || ' ' || e.amount
                           FROM wallet_entries e JOIN wallet_accounts w ON w.id = e.wallet_account_id
                          WHERE e.transaction_id = t.id
                          ORDER BY e.created_at, w.type, e.sequence) AS journal
              FROM transactions t
             WHERE t.user_id = $1 AND starts_with(t.external_id, $2)
             ORDER BY t.external_id
            """,
            self.id,
            prefix,
        )
        said = []
        for row in rows:
            assert row["is_processed"] == (row["status"] != "pending")
            fee = f" fee {row['fee']}" if row["fee"] else ""
            kind = f" {row['kind']}" if row["kind"] else ""
            said.append(
                f"{row['external_id']}: {row['type']} {row['wallet_type']} {row['status']} {row['amount']}{fee}{kind}"
                f" [{', '.join(row['journal'])}]"
            )
        return said


@dataclass
class Casino:
    database: Database
    batcher: service.Batcher
    game_id: UUID
    secret_key: str = SECRET_KEY
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def player(self, *, main: str = "0", bonus: str = "0", currency: str = "EUR") -> Player:
        number = next(self.numbers)
        user_id = clock.new_id()
        async with self.database.transaction() as tx:
            await tx.execute(
                "INSERT INTO users (id, email, country) VALUES ($1, $2, 'MT')", user_id, f"p{number}@example.test"
            )
            await service.open_wallets(tx, user_id, currency)
            if Decimal(main):
                await service.post_deposit(
                    tx,
                    user_id=user_id,
                    money=Money.parse(main, currency),
                    external_id=f"test:{user_id}",
                    payment_id=clock.new_id(),
                    provider="test",
                )
            if Decimal(bonus):
                await service.grant_bonus(
                    tx, user_id=user_id, money=Money.parse(bonus, currency), external_id=f"test:bonus-{user_id}"
                )
        launched = await games.launch(self.database, user_id=user_id, slug="lucky-sevens", currency=currency)
        return Player(self, user_id, currency, launched.session_id)

    async def everything(self) -> list[str]:
        """Every byte of money, to be compared with what it is later."""
        rows = await self.database.fetch(
            " UNION ALL ".join(f"SELECT '{table} ' || t::text FROM {table} t" for table in MONEY) + " ORDER BY 1"
        )
        return [row[0] for row in rows]

    async def check_books(self) -> None:
        broken = [proof for proof in await books.prove(self.database) if not proof.holds]
        assert not broken, broken


@asynccontextmanager
async def open_casino(database_url: str, *, lanes: int = 1) -> AsyncIterator[Casino]:
    database = await Database.connect(database_url, size_max=5)
    try:
        await games.ensure_provider(
            database,
            code="sandbox",
            title="Sandbox",
            dialect="softswiss-v2",
            launch_url="http://127.0.0.1:9/launch",
            signing_keys=[PROVIDER_KEY],
            secret_key=SECRET_KEY,
        )
        game_id = await games.ensure_game(
            database,
            provider_code="sandbox",
            slug="lucky-sevens",
            title="Lucky Sevens",
            volatility="low",
            genre="slots",
        )
        async with service.Batcher(database, lanes=lanes) as batcher:
            yield Casino(database, batcher, game_id)
    finally:
        await asyncio.wait_for(database.close(), 10)
