"""`countroom reconcile`."""

import asyncio
import json as json_format
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Path as PathValidator
from rich.table import Table

from countroom.commands import console, running
from countroom.games.reconciliation import service
from countroom.games.reconciliation.export import csv_of
from countroom.games.reconciliation.service import KINDS, NotedDifference, Reconciliation
from countroom.postgres import Database
from countroom.settings import Settings

CHUNK_BYTES: Final = 64 * 1024
SHOWN_MAX: Final = 20


def reconcile(
    file: Annotated[Path, Parameter(validator=PathValidator(exists=True, dir_okay=False))],
    *,
    provider: str,
    day: Annotated[datetime, Parameter(converter=lambda _, tokens: datetime.fromisoformat(tokens[0].value))],
    time_zone: str | None = None,
    csv: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Compare a game provider's daily report (CSV) with our books: transaction id, amount, currency, round, status.

    Prints what is different, the gravest first, with what to do about it, and keeps it for the back office. Nothing is
    put right by itself. Exits 1 when anything differs. See docs/reconciliation.md for the columns.

    Parameters
    ----------
    file
        The report. A million lines are read in pieces.
    provider
        The code of the provider whose report it is.
    day
        Of the report, such as 2026-03-01.
    time_zone
        In which the provider's days begin, such as Europe/Malta; UTC by default.
    csv
        Write every difference into this file.
    json
        Print one JSON object as the last line.
    """
    with running() as settings:
        found, first = asyncio.run(
            _compare(settings, file, provider, day=day.date(), time_zone=time_zone or "UTC", csv=csv)
        )
    _show(found, first)
    if json:
        print(json_format.dumps(_facts(found)))  # noqa: T201 - for programs
    return 1 if found.difference_count else 0


async def _compare(
    settings: Settings, file: Path, provider: str, *, day: date, time_zone: str, csv: Path | None
) -> tuple[Reconciliation, list[NotedDifference]]:
    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=2)
    try:
        found = await service.compare(
            database, provider_code=provider, day=day, time_zone=time_zone, file_name=file.name, chunks=_chunks(file),
            staff_id=None,
        )  # fmt: skip
        if csv is not None:
            with csv.open("wb") as out:
                async for piece in csv_of(database, found):
                    out.write(piece)
        return found, await service.differences(database, found, limit=SHOWN_MAX)
    finally:
        await database.close()


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            yield chunk


def _show(found: Reconciliation, first: list[NotedDifference]) -> None:
    sums = Table(box=None, pad_edge=False)
    for title in ("", "their bets", "our bets", "their wins", "our wins"):
        sums.add_column(title, justify="right" if title else "left")
    for one in found.sums:
        sums.add_row(one.currency, *(f"{value:,}" for value in (
            one.their_bets, one.our_bets, one.their_wins, one.our_wins)))  # fmt: skip
    console.print(sums)
    table = Table(box=None, pad_edge=False)
    for title in ("line", "transaction", "difference", "theirs", "ours", "proposal"):
        table.add_column(title, overflow="fold")
    for noted in first:
        it = noted.difference
        table.add_row(
            "" if it.line is None else str(it.line), it.transaction_id, ", ".join(KINDS[kind] for kind in it.kinds),
            _side(it.their_amount, it.their_currency, it.their_status),
            _side(it.our_amount, it.our_currency, it.our_status), noted.proposal,
        )  # fmt: skip
    if first:
        console.print(table)
    if found.difference_count > len(first):
        console.print(f"… and {found.difference_count - len(first):,} more: on the page, or with --csv.", style="dim")
    console.print(
        f"{found.line_count:,} lines, {found.matched_count:,} matched, {found.difference_count:,} differences"
    )


def _side(amount: object, currency: str | None, status: str | None) -> str:
    return "" if amount is None else f"{amount} {currency} {status}"


def _facts(found: Reconciliation) -> dict[str, object]:
    return {
        "id": str(found.id),
        "provider": found.provider_code,
        "day": str(found.day),
        "lines": found.line_count,
        "matched": found.matched_count,
        "differences": found.difference_count,
        "kinds": found.kinds,
        "sums": [
            {
                "currency": one.currency,
                "their_bets": str(one.their_bets),
                "our_bets": str(one.our_bets),
                "their_wins": str(one.their_wins),
                "our_wins": str(one.our_wins),
            }
            for one in found.sums
        ],
    }
