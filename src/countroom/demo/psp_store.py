"""What the sandbox PSP remembers: payment intents, and webhooks that nobody has taken yet.

One SQLite file, so that a webhook survives the process that owes it.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

INTENTS_MAX: Final = 100_000
"""Older intents are forgotten beyond this, unless a webhook of theirs still waits."""

Status = Literal["pending", "succeeded", "failed"]

_TABLES = """
CREATE TABLE IF NOT EXISTS intents (
    number          INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    idempotency_key TEXT NOT NULL UNIQUE,
    request_hash    BLOB NOT NULL,
    payment_id      TEXT NOT NULL,
    amount          TEXT NOT NULL,
    currency        TEXT NOT NULL,
    return_url      TEXT,
    webhook_url     TEXT NOT NULL,
    status          TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS webhooks (
    event_id   TEXT PRIMARY KEY,
    intent_id  TEXT NOT NULL,
    url        TEXT NOT NULL,
    body       BLOB NOT NULL,
    attempts   INTEGER NOT NULL,
    created_at REAL NOT NULL,
    next_at    REAL                 -- null: given up
);
CREATE INDEX IF NOT EXISTS webhooks_due ON webhooks (next_at);
CREATE INDEX IF NOT EXISTS webhooks_by_intent ON webhooks (intent_id);
"""


@dataclass(frozen=True, slots=True)
class Intent:
    """Somebody is to pay this amount (a decimal string in the main unit)."""

    id: str
    idempotency_key: str
    request_hash: bytes
    payment_id: str
    amount: str
    currency: str
    return_url: str | None
    webhook_url: str
    status: Status


@dataclass(frozen=True, slots=True)
class Webhook:
    """An event that its receiver has not acknowledged. Times are unix seconds."""

    event_id: str
    intent_id: str
    url: str
    body: bytes
    attempts: int
    created_at: float
    next_at: float


class Store:
    """The file. Statements take well under a millisecond, so they run where they are called."""

    def __init__(self, connection: sqlite3.Connection, *, intents_max: int) -> None:
        self._connection = connection
        self._intents_max = intents_max

    @classmethod
    def open(cls, path: Path, *, intents_max: int = INTENTS_MAX) -> Self:
        """Open the file, and make it when it is not there; only its owner may read it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_TABLES)
        return cls(connection, intents_max=intents_max)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add(self, intent: Intent) -> None:
        """Keep a new intent, and forget the oldest when there are too many."""
        cursor = self._connection.execute(
            """
            INSERT INTO intents (id, idempotency_key, request_hash, payment_id, amount, currency, return_url,
                                 webhook_url, status)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            (intent.id, intent.idempotency_key, intent.request_hash, intent.payment_id, intent.amount,
             intent.currency, intent.return_url, intent.webhook_url, intent.status),
        )  # fmt: skip
        self._connection.execute(
            "DELETE FROM intents WHERE number <= ? AND id NOT IN (SELECT intent_id FROM webhooks)",
            ((cursor.lastrowid or 0) - self._intents_max,),
        )

    def intent(self, intent_id: str) -> Intent | None:
        """Return an intent by its id."""
        return self._one("id", intent_id)

    def intent_of_key(self, idempotency_key: str) -> Intent | None:
        """Return the intent that this key made."""
        return self._one("idempotency_key", idempotency_key)

    def decide(self, intent: Intent, status: Status, event: Webhook) -> None:
        """Record what became of an intent together with the event that tells it: both or neither."""
        with self._transaction():
            self._connection.execute("UPDATE intents SET status = ? WHERE id = ?", (status, intent.id))
            self._connection.execute(
                "INSERT INTO webhooks VALUES (?, ?, ?, ?, ?, ?, ?)",
                (event.event_id, event.intent_id, event.url, event.body, event.attempts, event.created_at,
                 event.next_at),
            )  # fmt: skip

    def waiting(self, limit: int) -> list[Webhook]:
        """Return the webhooks that wait, the next one to send first."""
        rows = self._connection.execute(
            """
            SELECT event_id, intent_id, url, body, attempts, created_at, next_at
              FROM webhooks
             WHERE next_at IS NOT NULL
             ORDER BY next_at
             LIMIT ?
            """,
            (limit,),
        )
        return [Webhook(*row) for row in rows]

    def delivered(self, event_id: str) -> None:
        """Forget a webhook: its receiver has answered 2xx."""
        self._connection.execute("DELETE FROM webhooks WHERE event_id = ?", (event_id,))

    def put_off(self, event_id: str, next_at: float | None) -> None:
        """Count a failed attempt. Without a next one the webhook stays, given up, for who wants to look."""
        self._connection.execute(
            "UPDATE webhooks SET attempts = attempts + 1, next_at = ? WHERE event_id = ?", (next_at, event_id)
        )

    def _one(self, column: Literal["id", "idempotency_key"], value: str) -> Intent | None:
        row = self._connection.execute(
            f"""
            SELECT id, idempotency_key, request_hash, payment_id, amount, currency, return_url, webhook_url, status
              FROM intents
             WHERE {column} = ?
            """,
            (value,),
        ).fetchone()
        return None if row is None else Intent(*row)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
