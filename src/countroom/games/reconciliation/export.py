"""The differences of a comparison as CSV: for whoever writes to the provider about them."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from typing import Final

from countroom.games.reconciliation.rules import KINDS
from countroom.games.reconciliation.service import NotedDifference, Reconciliation, all_differences
from countroom.postgres import Database

CSV_COLUMNS: Final = (
    "number", "difference", "transaction_id", "line", "their_type", "their_status", "their_amount", "their_currency",
    "their_round", "their_player", "our_transaction", "our_type", "our_status", "our_amount", "our_currency",
    "our_round", "our_player", "our_time", "reversed_by", "proposal", "note", "noted_by", "noted_at",
)  # fmt: skip
LINES_AT_ONCE: Final = 500


async def csv_of(database: Database, found: Reconciliation) -> AsyncIterator[bytes]:
    """Yield the file in pieces."""
    yield _csv([CSV_COLUMNS])
    lines: list[list[str]] = []
    async for one in all_differences(database, found):
        lines.append(_cells(one))
        if len(lines) >= LINES_AT_ONCE:
            yield _csv(lines)
            lines = []
    yield _csv(lines)


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _cells(one: NotedDifference) -> list[str]:
    it = one.difference
    values = [
        it.number, " and ".join(KINDS[kind] for kind in it.kinds), it.transaction_id, it.line, it.their_type,
        it.their_status, it.their_amount, it.their_currency, it.their_round, it.their_player, it.our_id, it.our_type,
        it.our_status, it.our_amount, it.our_currency, it.our_round, it.our_player,
        it.our_created_at and it.our_created_at.isoformat(), it.reversed_by, one.proposal, one.note, one.noted_by,
        one.noted_at and one.noted_at.isoformat(),
    ]  # fmt: skip
    # A cell that begins like a formula would be one, where the file is opened in a spreadsheet.
    return [_tame("" if value is None else str(value)) for value in values]


def _tame(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
