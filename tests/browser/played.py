"""A casino that has been played in: PostgreSQL's rows as the business leaves them, and the real pipeline."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from countroom.clock import new_id, now
from countroom.demo import seed
from countroom.players import staff
from countroom.postgres import Database
from countroom.proof import Proof, keep
from countroom.settings import Settings
from countroom.warehouse import schema

CURRENCIES = ("EUR", "EUR", "EUR", "USD", "GBP", "SEK")
COMPARED = {"P1": 1_846, "P2": 41_208, "P3": 1_846, "P4": 312, "P5": 57, "P6": 41_520}
PAYS = [Decimal(factor) for factor in ("0", "0", "0", "0", "0.5", "1", "1.5", "4")]


@dataclass
class Casino:
    settings: Settings
    database: Database
    email: str
    password: str
    chance: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - play, not a secret
    wallets: list[tuple[UUID, UUID, str]] = field(default_factory=list)

    async def register_players(self, count: int) -> None:
        """Players with a main wallet each: half of them registered yesterday."""
        players = [new_id() for _ in range(count)]
        yesterday = midnight() - timedelta(hours=5)
        self.wallets = [(new_id(), player, CURRENCIES[index % len(CURRENCIES)]) for index, player in enumerate(players)]
        async with self.database.connection() as connection:
            await connection.executemany(
                "INSERT INTO users (id, email, country, created_at) VALUES ($1, $2, 'MT', $3)",
                [(one, f"{one}@example.com", yesterday if i % 3 == 0 else now()) for i, one in enumerate(players)],
            )
            await connection.executemany(
                "INSERT INTO game_sessions (id, user_id, game_id, currency) "
                "SELECT $1, $2, id, 'EUR' FROM games LIMIT 1",
                [(new_id(), player) for player in players],
            )
            await connection.executemany(
                "INSERT INTO wallet_accounts (id, user_id, currency, type) VALUES ($1, $2, $3, 'main')", self.wallets
            )

    async def play(self, *, bets_a_minute: int) -> None:
        """Yesterday, today until now, and the last half hour minute by minute."""
        rows: list[tuple[Any, ...]] = []
        moment = now()
        today = (moment - midnight()).total_seconds()
        for _ in range(bets_a_minute * 30):
            self._bet(rows, midnight() - timedelta(seconds=self.chance.random() * 86_400))
            self._bet(rows, midnight() + timedelta(seconds=self.chance.random() * today))
        for minute in range(30):
            for _ in range(self.chance.randint(bets_a_minute // 2, bets_a_minute * 3 // 2)):
                self._bet(rows, moment - timedelta(minutes=minute, seconds=self.chance.random() * 50))
        for index, wallet in enumerate(self.wallets):
            if index % 5 in {0, 1}:  # of those who registered yesterday some deposit then, the rest today
                day = midnight() - timedelta(hours=3) if index % 3 == 0 and index % 2 else moment
                rows.append(_transaction("deposit", Decimal(self.chance.randint(2_000, 30_000)) / 100, wallet, day))
            if index % 4 == 0:
                day = midnight() - timedelta(hours=2) if index % 8 == 0 else moment
                rows.append(_transaction("withdrawal", Decimal(self.chance.randint(1_000, 9_000)) / 100, wallet, day))
        async with self.database.connection() as connection:
            await connection.executemany(
                "INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, processed_at, "
                " created_at, user_id, wallet_type, currency, provider, request_hash) "
                "VALUES ($1, $2, $3, $4, $5, 'success', $6, $6, $7, 'main', $8, 'sandbox', '')",
                rows,
            )

    async def play_round(self) -> UUID:
        """One more round, as the wallet leaves it."""
        identity = new_id()
        stake = Decimal(self.chance.randint(20, 2_500)) / 100
        _, player, currency = self.chance.choice(self.wallets)
        game = self.chance.choice(await self.database.fetch("SELECT id FROM games"))
        async with self.database.connection() as connection:
            await connection.execute(
                "INSERT INTO game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, "
                " bet_amount, win_amount, status) VALUES ($1, $1, $2, $3, 'sandbox', $4, $5, $6, $7, $8)",
                identity,
                player,
                game["id"],
                str(identity),
                currency,
                stake,
                (stake * self.chance.choice(PAYS)).quantize(Decimal("0.01")),
                self.chance.choice(("settled",) * 7 + ("open",)),
            )
        return identity

    async def prove(self, *, broken: str = "") -> None:
        """The rows of one run of `countroom check`."""
        async with self.database.connection() as connection:
            await keep(
                connection,
                [
                    Proof(
                        code,
                        code != broken,
                        compared,
                        ("wallet 0198f3a2 is off",) if code == broken else (),
                        "full" if code == "P6" else "incremental",
                        1.2 if code == "P6" else 0.16,
                    )
                    for code, compared in COMPARED.items()
                ],
            )

    def _bet(self, rows: list[tuple[Any, ...]], moment: datetime) -> None:
        wallet = self.chance.choice(self.wallets)
        stake = Decimal(self.chance.randint(20, 2_500)) / 100
        rows.append(_transaction("bet", stake, wallet, moment))
        if paid := (stake * self.chance.choice(PAYS)).quantize(Decimal("0.01")):
            rows.append(_transaction("win", paid, wallet, moment))


def _transaction(kind: str, amount: Decimal, wallet: tuple[UUID, UUID, str], moment: datetime) -> tuple[Any, ...]:
    identity = new_id()
    account, player, currency = wallet
    return identity, account, f"test:{identity}", amount, kind, moment, player, currency


async def open_casino(settings: Settings) -> Casino:
    """Games, rates and the first of the staff; ClickHouse has its tables."""
    assert settings.database_url
    assert settings.clickhouse_url
    schema.migrate(settings.clickhouse_url)
    await seed.seed(settings, provider_key="a key that protects nothing")
    database = await Database.connect(settings.database_url, size_max=2)
    first = await staff.ensure_first(database)
    assert first is not None
    return Casino(settings, database, *first)


def midnight() -> datetime:
    return datetime.combine(now().date(), time(), UTC)
