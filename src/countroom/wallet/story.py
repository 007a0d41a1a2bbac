"""What happened in a round: each command with its answer and its lines of the journal, in order. It only reads.

No index leads from a round to its transactions: every bet would pay for it. They are found among their player's, from
the moment at which the round was opened, and the round's own sums say whether all that count have been found.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from asyncpg import Record

from countroom.money import ZERO
from countroom.postgres import Connection, Database
from countroom.refusal import Refusal
from countroom.wallet import history_queries, story_queries
from countroom.wallet.commands import RECEIVABLE, REPAYMENT, SECOND_ROW
from countroom.wallet.history import LOOK_AHEAD, ROUND_MARGIN

SCAN: Final = 5_000
"""Transactions of the player that are looked at in one statement."""
SCANS_MAX: Final = 40
"""Statements of a story, at most: a round that was opened 200,000 transactions ago, and whose last win came only
now, is told as far as that."""
AFTERWARDS: Final = timedelta(minutes=10)
"""So long after a round's end its player's transactions are looked at in any case: for what was tried and undone, and
is in no sum."""
APART: Final = timedelta(minutes=1)
"""Moments that are closer are one part of the journal."""
_TICK: Final = timedelta(microseconds=1)

Kind = Literal["bet", "win", "reversal"]


class NoSuchRound(Refusal):
    """There is no such round."""

    kind = "missing"
    code = "unknown_round"


@dataclass(frozen=True, slots=True)
class RoundRow:
    """A round as it stands."""

    id: UUID
    external_id: str
    """The provider's own id, unique in its game."""
    provider: str
    game_id: UUID
    game_slug: str | None
    game_title: str | None
    session_id: UUID
    user_id: UUID
    currency: str
    bet_amount: Decimal
    win_amount: Decimal
    bonus_bet_amount: Decimal
    status: str
    opened_at: datetime
    closed_at: datetime | None

    @property
    def has_ended(self) -> bool:
        """Whether nobody has to look after it."""
        return self.status in {"settled", "cancelled"}


@dataclass(frozen=True, slots=True)
class EntryLine:
    """A line of the journal."""

    transaction_id: UUID
    wallet_type: str
    sequence: int
    amount: Decimal
    balance_after: Decimal
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the provider (or of the staff, in its name), what was answered, and what it moved."""

    kind: Kind
    at: datetime
    id: UUID
    """Ours, as it was answered."""
    external_id: str
    amount: Decimal
    """Of money; of a reversal, signed: what the player's wallets gained."""
    bonus: Decimal
    """How much of it is bonus money."""
    status: str
    """Of a bet or win, as it is now: a reversal makes it cancelled. Of a reversal, what came of it."""
    answered: Decimal | None
    """The balance in the answer: main and bonus together."""
    target: str | None = None
    """What a reversal undid."""
    award: str | None = None
    free_amount: str | None = None
    """What a free round's bet or win was about; it moved nothing."""
    shortfall: Decimal = ZERO
    """Of a reversed win, what was no longer there and is owed."""
    entries: tuple[EntryLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """Of what a round's bets and wins that stand are made."""

    bet_main: Decimal = ZERO
    bet_bonus: Decimal = ZERO
    win_main: Decimal = ZERO
    win_bonus: Decimal = ZERO
    awards: tuple[tuple[str, Decimal], ...] = ()
    """Wins that a jackpot, a promotion or free rounds have paid, by its name; they are part of the wins."""


@dataclass(frozen=True, slots=True)
class Story:
    """All of a round."""

    round: RoundRow
    steps: list[Step]
    parts: Parts
    is_complete: bool
    """Whether the steps add up to the round's sums; if not, there is more than could be looked for."""


@dataclass(slots=True)
class _Found:
    rows: list[Record] = field(default_factory=list)
    is_complete: bool = False


async def read(database: Database, round_id: UUID) -> Story:
    """Return a round's story.

    Raises:
        NoSuchRound: there is none with this id.
    """
    async with database.transaction(snapshot=True) as tx:
        row = await story_queries.round_by_id(tx, round_id)
        if row is None:
            raise NoSuchRound
        round_ = RoundRow(*row.values())
        found = await find_transactions(tx, round_)
        stones = await story_queries.reversals(tx, _keys(found.rows))
        keys = [*_keys(found.rows), *(stone["external_id"] for stone in stones)]
        owed = await story_queries.adjustments(tx, [f"{key}{ending}" for key in keys for ending in _OWED])
        lines = await _entries(tx, [*found.rows, *owed], stones)
    steps = _steps(found.rows, stones, owed, lines)
    return Story(round_, steps, _parts(found.rows), found.is_complete)


async def find_transactions(connection: Connection, round_: RoundRow) -> _Found:
    """Return a round's bets and wins, all of those that count among them as far as they can be found."""
    after = (round_.opened_at - ROUND_MARGIN, UUID(int=0))
    until = (round_.closed_at or round_.opened_at) + AFTERWARDS
    ids: list[UUID] = []
    found = _Found()
    for _ in range(SCANS_MAX):
        scanned = await story_queries.scan(connection, round_.user_id, round_.id, after=after, limit=SCAN)
        if scanned["ids"]:
            ids += scanned["ids"]
            found.rows = list(await story_queries.transactions(connection, ids))
        found.is_complete = _adds_up(round_, found.rows)
        if scanned["rows"] < SCAN or (found.is_complete and scanned["last_created_at"] > until):
            break
        after = (scanned["last_created_at"], scanned["last_id"])
    return found


def _adds_up(round_: RoundRow, rows: Sequence[Record]) -> bool:
    standing = [row for row in rows if row["status"] == "success"]
    bets = sum((row["amount"] for row in standing if row["type"] == "bet"), ZERO)
    wins = sum((row["amount"] for row in standing if row["type"] == "win"), ZERO)
    return (bets, wins) == (round_.bet_amount, round_.win_amount)


def _keys(rows: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(row["external_id"].removesuffix(SECOND_ROW) for row in rows))


async def _entries(tx: Connection, rows: Sequence[Record], stones: Sequence[Record]) -> dict[UUID, list[EntryLine]]:
    """Return the lines of the journal of each of these transactions, from those moments at which something moved."""
    moments: dict[UUID, set[datetime]] = {}
    reversed_at = {stone["target_external_id"]: stone["created_at"] for stone in stones}
    for row in rows:
        at = moments.setdefault(row["wallet_account_id"], set())
        at.add(row["created_at"])
        undone = reversed_at.get(row["external_id"].removesuffix(SECOND_ROW))
        if undone is not None:
            at.add(undone)
    ids = [row["id"] for row in rows]
    lines: dict[UUID, list[EntryLine]] = {}
    for wallet_id, at in moments.items():
        for first, last in _spans(at):
            (before,) = await history_queries.last_entries(tx, [wallet_id], first - _TICK, LOOK_AHEAD)
            (end,) = await history_queries.last_entries(tx, [wallet_id], last, LOOK_AHEAD)
            # Clocks of two machines are never quite equal: neighbours are looked at, too.
            low, high = (before["sequence"] or 0) + 1 - LOOK_AHEAD, (end["sequence"] or 0)
            for line in await story_queries.entries(tx, wallet_id, low, high, ids):
                entry = EntryLine(
                    line["transaction_id"], line["wallet_type"], line["sequence"], line["amount"],
                    line["balance_after"], line["created_at"],
                )  # fmt: skip
                known = lines.setdefault(entry.transaction_id, [])
                if entry not in known:
                    known.append(entry)
    return lines


def _spans(moments: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """Return the stretches of time in which these moments are, those together that are near each other."""
    spans: list[tuple[datetime, datetime]] = []
    for moment in sorted(moments):
        if spans and moment - spans[-1][1] <= APART:
            spans[-1] = (spans[-1][0], moment)
        else:
            spans.append((moment, moment))
    return spans


def _steps(
    rows: Sequence[Record], stones: Sequence[Record], owed: Sequence[Record], lines: dict[UUID, list[EntryLine]]
) -> list[Step]:
    by_key: dict[str, list[Record]] = {}
    for row in rows:
        by_key.setdefault(row["external_id"].removesuffix(SECOND_ROW), []).append(row)
    owing: dict[str, list[EntryLine]] = {}
    for row in owed:
        key = row["external_id"].removesuffix(SECOND_ROW).removesuffix(RECEIVABLE).removesuffix(REPAYMENT)
        owing.setdefault(key, []).extend(lines.get(row["id"], ()))
    steps = [_posted(key, parts, lines, owing) for key, parts in by_key.items()]
    steps += [_reversal(stone, by_key.get(stone["target_external_id"], []), lines, owing) for stone in stones]
    return sorted(steps, key=lambda step: (step.at, step.id))


def _posted(
    key: str, parts: list[Record], lines: dict[UUID, list[EntryLine]], owing: dict[str, list[EntryLine]]
) -> Step:
    first = parts[0]
    return Step(
        kind=first["type"],
        at=first["created_at"],
        id=first["id"],
        external_id=key,
        amount=sum((part["amount"] for part in parts), ZERO),
        bonus=sum((part["amount"] for part in parts if part["wallet_type"] == "bonus"), ZERO),
        status=first["status"],
        answered=first["answer_balance"],
        award=first["award"],
        free_amount=first["free_amount"],
        entries=_in_order(
            [line for part in parts for line in lines.get(part["id"], ()) if _is_posting(first["type"], line)],
            owing.get(key, []),
        ),
    )


def _reversal(
    stone: Record, undone: list[Record], lines: dict[UUID, list[EntryLine]], owing: dict[str, list[EntryLine]]
) -> Step:
    own = [line for row in undone for line in lines.get(row["id"], ()) if not _is_posting(row["type"], line)]
    return Step(
        kind="reversal",
        at=stone["created_at"],
        id=stone["id"],
        external_id=stone["external_id"],
        amount=stone["amount"],
        bonus=sum((line.amount for line in own if line.wallet_type == "bonus"), ZERO),
        status=stone["outcome"],
        answered=stone["answer_balance"],
        target=stone["target_external_id"],
        shortfall=stone["shortfall"],
        entries=_in_order(own, owing.get(stone["external_id"], [])),
    )


def _is_posting(transaction_type: str, line: EntryLine) -> bool:
    """Whether a line is what the bet or win itself did; a bet's credit and a win's debit are their reversals."""
    return (line.amount < 0) == (transaction_type == "bet")


def _in_order(*groups: list[EntryLine]) -> tuple[EntryLine, ...]:
    return tuple(sorted((line for group in groups for line in group), key=lambda one: (one.wallet_type, one.sequence)))


def _parts(rows: Sequence[Record]) -> Parts:
    sums: dict[tuple[str, str], Decimal] = {}
    awards: dict[str, Decimal] = {}
    for row in rows:
        if row["status"] != "success":
            continue
        where = (row["type"], row["wallet_type"])
        sums[where] = sums.get(where, ZERO) + row["amount"]
        if row["type"] == "win" and row["award"] and row["amount"]:
            awards[row["award"]] = awards.get(row["award"], ZERO) + row["amount"]
    return Parts(
        sums.get(("bet", "main"), ZERO), sums.get(("bet", "bonus"), ZERO), sums.get(("win", "main"), ZERO),
        sums.get(("win", "bonus"), ZERO), tuple(sorted(awards.items())),
    )  # fmt: skip


_OWED: Final = tuple(f"{kind}{second}" for kind in (RECEIVABLE, REPAYMENT) for second in ("", SECOND_ROW))
