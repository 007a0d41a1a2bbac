"""Rows as the business half would write them, and the pipeline that carries them."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg2
from clickhouse_connect.driver.client import Client
from psycopg2.extras import execute_values

from countroom import clickhouse, clock
from countroom.events import slot
from countroom.settings import Settings
from countroom.warehouse import pipeline, reconcile
from patience import until

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


class Books:
    """PostgreSQL's own tables, written by SQL."""

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url
        self.connection = psycopg2.connect(settings.database_url, options="-c timezone=UTC")
        self.connection.autocommit = True
        self._wallets: dict[tuple[UUID, str, str], UUID] = {}

    def close(self) -> None:
        self.connection.close()

    def ask(self, statement: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall() if cursor.description else []

    def player(self, registered: datetime = NOON) -> UUID:
        user = clock.new_id()
        self.ask(
            "INSERT INTO users (id, email, country, created_at, updated_at) VALUES (%s, %s, 'MT', %s, %s)",
            (str(user), f"{user}@example.com", registered, registered),
        )
        return user

    def wallet(self, user: UUID, currency: str = "EUR", kind: str = "main") -> UUID:
        key = (user, currency, kind)
        if key not in self._wallets:
            self._wallets[key] = clock.new_id()
            self.ask(
                "INSERT INTO wallet_accounts (id, user_id, currency, type) VALUES (%s, %s, %s, %s)",
                (str(self._wallets[key]), str(user), currency, kind),
            )
        return self._wallets[key]

    def move(
        self,
        user: UUID,
        kind: str,
        amount: str,
        *,
        at: datetime = NOON,
        processed: datetime | None = None,
        status: str = "success",
        currency: str = "EUR",
        wallet: str = "main",
        metadata: object = None,
        external_id: str | None = None,
    ) -> UUID:
        """Insert a transaction; it is processed when it is made unless told otherwise."""
        identity = clock.new_id()
        done = processed or (at if status == "success" else None)
        self.ask(
            "INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, metadata,"
            " processed_at, created_at, user_id, wallet_type, currency, provider, request_hash) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'sandbox', '')",
            (
                str(identity), str(self.wallet(user, currency, wallet)), external_id or f"test:{identity}", amount,
                kind, status, json.dumps(metadata or {}, ensure_ascii=False), done, at, str(user), wallet, currency,
            ),
        )  # fmt: skip
        return identity

    def round(self, user: UUID, bet: str, win: str, *, at: datetime = NOON, currency: str = "EUR") -> UUID:
        identity = clock.new_id()
        self.ask(
            "INSERT INTO game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount,"
            " win_amount, opened_at) VALUES (%s, %s, %s, %s, 'sandbox', %s, %s, %s, %s, %s)",
            (str(identity), str(identity), str(user), str(user), str(identity), currency, bet, win, at),
        )
        return identity

    def move_many(self, user: UUID, count: int, *, at: datetime = NOON) -> list[str]:
        """Insert many bets in one transaction."""
        wallet = str(self.wallet(user))
        ids = [str(clock.new_id()) for _ in range(count)]
        with self.connection.cursor() as cursor:
            execute_values(
                cursor,
                "INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, processed_at,"
                " created_at, user_id, wallet_type, currency, provider, request_hash) VALUES %s",
                [
                    (one, wallet, f"test:{one}", f"{number % 97}.{number % 100:02}", "bet", "success", at, at,
                     str(user), "main", "EUR", "sandbox", b"")
                    for number, one in enumerate(ids)
                ],
                page_size=1000,
            )  # fmt: skip
        return ids

    def cancel(self, *identities: UUID | str) -> None:
        self.ask(
            "UPDATE transactions SET status = 'cancelled' WHERE id = ANY(%s::uuid[])",
            ([str(one) for one in identities],),
        )

    def wait_for_copy(self, settings: Settings) -> None:
        """Wait until the pipeline follows the log."""
        until(
            lambda: bool(self.ask("SELECT 1 FROM pg_replication_slots WHERE database = current_database() AND active"))
        )
        with warehouse(settings) as client:
            until(lambda: bool(client.query("SELECT 1 FROM pipeline_positions FINAL WHERE copied").result_rows))

    def wait_until_arrived(self, seconds: float = 20) -> None:
        """Wait until everything committed so far is in ClickHouse."""
        lsn = int(self.ask("SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0])
        name = slot.identify(self.connection).slot
        reconcile.wait_until_confirmed(self.connection, name, lsn, time.monotonic() + seconds)


@contextmanager
def books(settings: Settings) -> Iterator[Books]:
    with closing(Books(settings)) as opened:
        yield opened


@contextmanager
def running_pipeline(settings: Settings) -> Iterator[threading.Thread]:
    """The pipeline in a thread of this process."""
    stop = threading.Event()
    thread = threading.Thread(target=pipeline.run, args=(settings, stop), daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def warehouse(settings: Settings) -> Client:
    assert settings.clickhouse_url
    return clickhouse.connect(settings.clickhouse_url)
