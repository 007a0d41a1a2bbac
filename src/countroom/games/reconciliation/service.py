"""Compares a provider's daily report with our books, keeps what came of it, and lets the staff say what they did.

A report is read once, into a table that lives as long as its transaction; the comparison is one statement over that and
our transactions, in one snapshot. So the size of a file costs disk and time, and no memory.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from asyncpg import Record

from countroom import clock
from countroom.games.reconciliation import queries
from countroom.games.reconciliation.report import InvalidReport, Report, Reported
from countroom.games.reconciliation.rules import KINDS, Difference, Kind, bounds, proposal
from countroom.players.rights import require
from countroom.players.staff import StaffSession
from countroom.postgres import Database, Transaction
from countroom.refusal import Refusal

__all__ = [
    "KINDS",
    "Difference",
    "InvalidNote",
    "InvalidReport",
    "Kind",
    "NoSuchDifference",
    "NoSuchProvider",
    "NoSuchReconciliation",
    "NotedDifference",
    "Reconciliation",
    "Sums",
    "all_differences",
    "compare",
    "differences",
    "listed",
    "note",
    "read",
]

LINES_AT_ONCE: Final = 300
"""Lines are read in a process that may answer callbacks, too: a millisecond or two, and then it is others' turn."""
NOTE_LENGTH_MAX: Final = 500
FILE_NAME_LENGTH_MAX: Final = 200
_SLACK: Final = timedelta(hours=1)
"""An id is made somewhat before its row; by whatever clock, never by so much."""


class NoSuchProvider(Refusal):
    """There is no provider with this code."""

    kind = "missing"
    code = "unknown_provider"


class NoSuchReconciliation(Refusal):
    """There is no such reconciliation."""

    kind = "missing"
    code = "unknown_reconciliation"


class NoSuchDifference(Refusal):
    """There is no such difference."""

    kind = "missing"
    code = "unknown_difference"


class InvalidNote(Refusal):
    """A note says in 1 to 500 characters what was done."""

    kind = "invalid"
    code = "invalid_note"


class Sums(msgspec.Struct, frozen=True):
    """What stands in a currency on both sides, in its main unit."""

    currency: str
    their_bets: Decimal
    their_wins: Decimal
    our_bets: Decimal
    our_wins: Decimal

    @property
    def agrees(self) -> bool:
        """Whether both sides come to the same."""
        return self.their_bets == self.our_bets and self.their_wins == self.our_wins


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """A report as it was compared."""

    id: UUID
    provider_code: str
    provider_title: str
    day: date
    time_zone: str
    file_name: str
    file_hash: bytes
    staff_name: str | None
    """None: the command line."""
    line_count: int
    matched_count: int
    """Lines that are here as they say, to the cent."""
    difference_count: int
    kinds: dict[Kind, int]
    """How many differences there are of each kind; one may be of several."""
    sums: list[Sums]
    created_at: datetime

    @property
    def kept_count(self) -> int:
        """How many differences can be looked at."""
        return min(self.difference_count, queries.DIFFERENCES_KEPT)


@dataclass(frozen=True, slots=True)
class NotedDifference:
    """A difference, what is proposed, and what somebody of the staff did about it."""

    difference: Difference
    proposal: str
    note: str | None
    noted_by: str | None
    noted_at: datetime | None


async def compare(
    database: Database,
    *,
    provider_code: str,
    day: date,
    time_zone: str,
    file_name: str,
    chunks: Iterable[bytes],
    staff_id: UUID | None,
) -> Reconciliation:
    """Compare a report with our books, and keep the result.

    Lines are looked up wherever they stand in our books; what is missing in the report is looked for in the day, as it
    counts in the time zone. Nothing is kept of a report that cannot be read to its end.

    Raises:
        NoSuchProvider, InvalidReport: nothing was compared.
    """
    begin, end = bounds(day, ZoneInfo(time_zone))
    reconciliation_id = clock.new_id()
    async with database.transaction(snapshot=True, read_only=False) as tx:
        provider = await queries.provider(tx, provider_code)
        if provider is None:
            raise NoSuchProvider(f"There is no provider with the code {provider_code!r}.", field="provider")
        report = Report(chunks, provider_code)
        await queries.open_tables(tx)
        await queries.load(tx, _in_turns(report))
        await queries.compare_lines(tx, f"{provider_code}:")
        await queries.find_unreported(
            tx, provider_code, begin=begin, end=end, first_id=_id_at(begin - _SLACK), last_id=_id_at(end + _SLACK)
        )
        name = PurePath(file_name).name[-FILE_NAME_LENGTH_MAX:]
        about = (day, time_zone, name, report.hash, staff_id)
        await _keep(tx, reconciliation_id, provider["id"], about)
    return await read(database, reconciliation_id)


async def listed(database: Database, *, limit: int, before: UUID | None = None) -> list[Reconciliation]:
    """Return comparisons, the newest first."""
    return [_reconciliation(row) for row in await queries.reconciliations(database, before=before, limit=limit)]


async def read(database: Database, reconciliation_id: UUID) -> Reconciliation:
    """Return one comparison.

    Raises:
        NoSuchReconciliation: there is none with this id.
    """
    row = await queries.reconciliation(database, reconciliation_id)
    if row is None:
        raise NoSuchReconciliation
    return _reconciliation(row)


async def differences(
    database: Database, found: Reconciliation, *, kind: Kind | None = None, after: int = 0, limit: int
) -> list[NotedDifference]:
    """Return differences in their order, the gravest first: those of one kind, or all."""
    rows = await queries.differences(database, found.id, kind=kind, after=after, limit=limit)
    return [_difference(row, found) for row in rows]


async def all_differences(database: Database, found: Reconciliation) -> AsyncIterator[NotedDifference]:
    """Yield every difference that is kept, page by page."""
    after = 0
    while page := await differences(database, found, after=after, limit=1_000):
        for one in page:
            yield one
        after = page[-1].difference.number


async def note(database: Database, member: StaffSession, reconciliation_id: UUID, number: int, text: str) -> None:
    """Keep what somebody of the staff did about a difference.

    Raises:
        NotYourRole, InvalidNote, NoSuchDifference: nothing is kept.
    """
    require(member, "note_differences")
    text = text.strip()
    if not 0 < len(text) <= NOTE_LENGTH_MAX or "\0" in text:
        raise InvalidNote(field="note")
    async with database.transaction() as tx:
        kept = await queries.insert_note(
            tx, clock.new_id(), reconciliation_id=reconciliation_id, number=number, staff_id=member.staff_id, note=text
        )
        if not kept:
            raise NoSuchDifference


async def _in_turns(report: Report) -> AsyncIterator[Reported]:
    for number, line in enumerate(report.lines()):
        if number % LINES_AT_ONCE == 0:
            await asyncio.sleep(0)
        yield line


async def _keep(tx: Transaction, reconciliation_id: UUID, provider_id: UUID, about: tuple[Any, ...]) -> None:
    counted = await queries.counts(tx)
    kinds = {kind: sum(row["count"] for row in counted if kind in row["kinds"]) for kind in KINDS}
    lines = sum(row["lines"] for row in counted)
    matched = sum(row["lines"] for row in counted if not row["kinds"])
    different = sum(row["count"] for row in counted if row["kinds"])
    sums = [Sums(row["currency"], *(row[name] or Decimal("0.00") for name in _SUMS)) for row in await queries.sums(tx)]
    await queries.insert_reconciliation(
        tx, reconciliation_id=reconciliation_id, provider_id=provider_id, values=(
            *about, lines, matched, different,
            msgspec.json.encode({kind: count for kind, count in kinds.items() if count}).decode(),
            msgspec.json.encode(sums).decode(),
        ),
    )  # fmt: skip
    await queries.insert_differences(tx, reconciliation_id, list(KINDS))


_SUMS: Final = ("their_bets", "their_wins", "our_bets", "our_wins")


def _reconciliation(row: Record) -> Reconciliation:
    values: dict[str, Any] = dict(row)
    values["kinds"] = msgspec.json.decode(values["kinds"], type=dict[Kind, int])
    values["sums"] = msgspec.json.decode(values["sums"], type=list[Sums])
    return Reconciliation(**values)


def _difference(row: Record, found: Reconciliation) -> NotedDifference:
    values: dict[str, Any] = dict(row)
    values.pop("reconciliation_id")
    noted = values.pop("note"), values.pop("noted_by"), values.pop("noted_at")
    values["kinds"] = tuple(values["kinds"])
    difference = Difference(**values)
    return NotedDifference(difference, proposal(difference, day=found.day, zone=ZoneInfo(found.time_zone)), *noted)


def _id_at(moment: datetime) -> UUID:
    """Return the first UUIDv7 that could have been made at a moment: its highest 48 bits are milliseconds."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
