"""The sandbox provider's own books: what it told the casino, and what became of it. Its daily report is read from them.

Written from the provider's side alone: a bet is there from the moment it is sent, and its status is what the casino's
answers say. So the two ledgers can be compared, as an operator compares those of a real provider.
"""

import csv
import io
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self

from countroom.demo.callbacks import Answer, Route

DAYS_KEPT: Final = 35
"""Older transactions are forgotten at a start: a report of a month ago can still be asked for."""
LINES_AT_ONCE: Final = 2_000
"""Of a report, in one piece."""
COLUMNS: Final = (
    "transaction_id", "type", "status", "account_id", "currency", "amount", "round_id", "game_id", "created_at",
)  # fmt: skip

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS transactions (
    transaction_id TEXT PRIMARY KEY,
    type           TEXT NOT NULL,
    status         TEXT NOT NULL,    -- pending until the casino has answered; success, cancelled or refused
    account_id     TEXT NOT NULL,
    currency       TEXT NOT NULL,
    amount         TEXT NOT NULL,    -- decimal string in the main unit
    round_id       TEXT NOT NULL,
    game_id        TEXT NOT NULL,
    created_at     REAL NOT NULL     -- unix seconds
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS transactions_by_time ON transactions (created_at);
"""


class Ledger:
    """The file, or memory. Statements take well under a millisecond, so they run where they are called."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(_TABLES)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file, and make it when it is not there; only its owner may read it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        # What the last instant before a power cut told is lost with it; that is good enough for a sandbox.
        connection.execute("PRAGMA synchronous = OFF")
        ledger = cls(connection)
        connection.execute("DELETE FROM transactions WHERE created_at < ?", (time.time() - DAYS_KEPT * 86_400,))
        return ledger

    @classmethod
    def in_memory(cls) -> Self:
        """Keep everything until the process ends."""
        return cls(sqlite3.connect(":memory:", isolation_level=None))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def sent(self, route: Route, body: Mapping[str, Any]) -> None:
        """Note what is about to be told; a repeat changes nothing."""
        if route != "betwin":
            return
        moment = time.time()
        self._connection.executemany(
            "INSERT OR IGNORE INTO transactions VALUES (?, ?, 'pending', ?, ?, ?, ?, ?, ?)",
            [
                (
                    one["id_provider"], one["type"], body["account_id"], body["currency"], one["amount"],
                    body["round_id"], body["game_id"], moment,
                )
                for one in body["transactions"]
            ],
        )  # fmt: skip

    def heard(self, route: Route, body: Mapping[str, Any], answer: Answer) -> None:
        """Note what the casino said. What was taken back stays so, whatever is said of it afterwards."""
        if route == "betwin":
            status = "refused" if answer.granted is None else "success"
            self._connection.executemany(
                "UPDATE transactions SET status = ? WHERE transaction_id = ? AND status = 'pending'",
                [(status, one["id_provider"]) for one in body["transactions"]],
            )
        elif route == "rollback" and answer.granted is not None:
            self._connection.executemany(
                "UPDATE transactions SET status = 'cancelled' "
                "WHERE transaction_id = ? AND status IN ('pending', 'success')",
                [(one["original_id_provider"],) for one in body["transactions"]],
            )

    def counted(self) -> dict[str, int]:
        """Return how many transactions there are of each status."""
        return dict(self._connection.execute("SELECT status, count(*) FROM transactions GROUP BY status"))

    def won(self) -> dict[tuple[str, str], Decimal]:
        """Return what each player has won less what was staked, by player and currency, of what stands."""
        sums: dict[tuple[str, str], Decimal] = {}
        rows = self._connection.execute(
            "SELECT account_id, currency, type, amount FROM transactions WHERE status = 'success'"
        )
        for account, currency, kind, amount in rows:
            signed = Decimal(amount) * (1 if kind == "win" else -1)
            sums[account, currency] = sums.get((account, currency), Decimal(0)) + signed
        return sums

    def report(self, day: date) -> Iterator[bytes]:
        """Yield the report of a day (UTC) as CSV in pieces: what stands and what was taken back, oldest first.

        What the casino has not answered yet is left out, and so is what it refused.
        """
        yield _line(COLUMNS)
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        rows = self._connection.execute(
            f"SELECT {', '.join(COLUMNS)} FROM transactions "
            "WHERE created_at >= ? AND created_at < ? AND status IN ('success', 'cancelled') ORDER BY created_at",
            (begin.timestamp(), (begin + timedelta(days=1)).timestamp()),
        )
        while piece := rows.fetchmany(LINES_AT_ONCE):
            yield b"".join(_line((*row[:-1], _moment(row[-1]))) for row in piece)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(values: tuple[Any, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()
