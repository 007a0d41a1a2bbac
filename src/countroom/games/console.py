"""What the staff sees of providers: how they call and are answered, their last calls, their keys, and a test call."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from asyncpg import Record

from countroom import clock
from countroom.games import console_queries as queries
from countroom.games import keys, recording_queries
from countroom.games.catalog import Provider
from countroom.games.dialects import DIALECTS, Callback, Seat
from countroom.games.key_rotation import UnknownProvider
from countroom.games.recording import BOUNDS, FINE_CODES, LATE, TOMBSTONE, percentile
from countroom.players import audit
from countroom.players.rights import require
from countroom.players.staff import StaffSession
from countroom.postgres import Database
from countroom.refusal import Refusal

MINUTES_SHOWN: Final = 60
OVERVIEW_MINUTES: Final = 10
EXCHANGES_SHOWN: Final = 50
NOBODY: Final = UUID(int=0)
CONFLICTS: Final = frozenset({"key_conflict", "foreign_round"})
"""Codes of the wallet by which a provider contradicts itself."""


class NoDialect(Refusal):
    """The provider's row names a dialect that is not there, or none of its keys can be read."""

    kind = "conflict"
    code = "no_dialect"


@dataclass(slots=True)
class Figures:
    """What was called in some minutes, by all processes together."""

    answers: dict[tuple[str, str], int] = field(default_factory=dict)
    """By action and the dialect's code."""
    refusals: dict[str, int] = field(default_factory=dict)
    """By the wallet's code."""
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    by_minute: dict[datetime, tuple[int, int]] = field(default_factory=dict)
    """All calls of a minute, and those of them that were refused."""
    per_second: float = 0.0
    """In the last whole minute and what has passed of this one."""

    @property
    def calls(self) -> int:
        """All of them."""
        return sum(self.answers.values())

    @property
    def refused(self) -> int:
        """Those with another code than the dialect's "fine"."""
        return sum(count for (_, code), count in self.answers.items() if code not in FINE_CODES)

    @property
    def conflicts(self) -> int:
        """Calls that contradict what the provider has said before."""
        return sum(count for code, count in self.refusals.items() if code in CONFLICTS)

    @property
    def tombstones(self) -> int:
        """Reversals of what had not come."""
        return self.refusals.get(TOMBSTONE, 0)

    @property
    def late(self) -> int:
        """Bets and wins that came after their reversal."""
        return self.refusals.get(LATE, 0) + self.refusals.get("rolled_back", 0)

    def seconds(self, share: float) -> float | None:
        """Return how long this share of answers took at most."""
        return percentile(self.counts, share)


@dataclass(frozen=True, slots=True)
class ProviderLine:
    """A provider in the list."""

    code: str
    title: str
    dialect: str
    is_active: bool
    games: int
    keys: int | None
    """None: they cannot be read with this installation's secret key."""
    figures: Figures
    last_call_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A valid key."""

    print: str
    added_at: datetime | None
    """None: it was there before the audit log, or came by a command."""
    added_by: str | None
    seen_at: datetime | None
    """When it has last signed one of the calls that are kept."""


@dataclass(frozen=True, slots=True)
class ExchangeShown:
    """A raw call and its answer, without secrets."""

    id: UUID
    answered_at: datetime
    action: str
    method: str
    query: str
    headers: list[tuple[str, str]]
    body: str
    body_bytes: int | None
    """None: larger than the protocol's cap, and not read."""
    status: int
    code: str
    answer: str
    answer_bytes: int
    microseconds: int
    key_print: str | None


@dataclass(frozen=True, slots=True)
class ProviderShown:
    """All about one provider."""

    line: ProviderLine
    keys: list[KeyLine]
    audit: list[audit.Noted]


async def list_providers(database: Database, *, secret_key: str) -> list[ProviderLine]:
    """Return every provider, with the figures of the last minutes."""
    moment = clock.now()
    rows = await recording_queries.minutes(database, moment - timedelta(minutes=OVERVIEW_MINUTES), None)
    by_provider: dict[str, list[Record]] = {}
    for row in rows:
        by_provider.setdefault(row["provider"], []).append(row)
    last = {row["code"]: row["answered_at"] for row in await recording_queries.last_calls(database)}
    async with database.connection() as connection:
        providers = await queries.providers(connection)
    return [
        _line(row, _figures(by_provider.get(row["code"], ()), moment), last.get(row["code"]), secret_key)
        for row in providers
    ]


async def read(database: Database, code: str, *, secret_key: str) -> ProviderShown:
    """Return one provider, with the figures of the last hour.

    Raises:
        UnknownProvider: there is none with this code.
    """
    async with database.connection() as connection:
        row = next((one for one in await queries.providers(connection) if one["code"] == code), None)
    if row is None:
        raise UnknownProvider
    last = {one["code"]: one["answered_at"] for one in await recording_queries.last_calls(database)}
    noted = await audit.of(database, ("provider", code))
    line = _line(row, await figures(database, code), last.get(code), secret_key)
    added = {one.details.get("key"): one for one in noted if one.action == "key added"}
    seen = {one["key_print"]: one["seen_at"] for one in await recording_queries.keys_seen(database, code)}
    shown = []
    for print_ in _prints(row["signing_keys"], secret_key) or ():
        by = added.get(print_)
        shown.append(KeyLine(print_, by.at if by else None, by.who if by else None, seen.get(print_)))
    return ProviderShown(line, shown, noted)


async def figures(database: Database, code: str) -> Figures:
    """Return the figures of a provider's last hour."""
    moment = clock.now()
    return _figures(await recording_queries.minutes(database, moment - timedelta(minutes=MINUTES_SHOWN), code), moment)


async def last_exchanges(database: Database, code: str, *, only_refused: bool) -> list[ExchangeShown]:
    """Return a provider's last calls, newest first."""
    rows = await recording_queries.exchanges(
        database, code, limit=EXCHANGES_SHOWN, fine_codes=sorted(FINE_CODES) if only_refused else []
    )
    return [_exchange(row) for row in rows]


async def exchanges_of_round(database: Database, provider: str, external_id: str) -> list[ExchangeShown]:
    """Return those of the provider's kept calls that name a round by the provider's id, oldest first."""
    named = msgspec.json.encode(external_id).decode()
    rows = await recording_queries.exchanges_naming(database, provider, named, EXCHANGES_SHOWN)
    return [_exchange(row) for row in rows]


async def make_test_call(database: Database, member: StaffSession, provider: Provider) -> tuple[Callback, bool]:
    """Make a call that asks for a balance as this provider would; return it, and whether we could sign it.

    It asks for whoever has launched one of the provider's games last, or else for nobody.

    Raises:
        NotYourRole: may not send it.
        NoDialect: it cannot be made.
    """
    require(member, "send_test_calls")
    dialect = DIALECTS.get(provider.dialect)
    if dialect is None or not provider.signing_keys:
        raise NoDialect
    async with database.connection() as connection:
        row = await queries.latest_seat(connection, list(provider.games.values()))
    seat = Seat(*row.values()) if row else Seat(NOBODY, NOBODY, next(iter(provider.games), "none"), "EUR")
    callback = dialect.balance_call(provider.signing_keys[-1], seat)
    return callback, dialect.admits(provider, callback)


def _exchange(row: Record) -> ExchangeShown:
    return ExchangeShown(**{**row, "headers": msgspec.json.decode(row["headers"], type=list[tuple[str, str]])})


def _line(row: Record, counted: Figures, last_call_at: datetime | None, secret_key: str) -> ProviderLine:
    prints = _prints(row["signing_keys"], secret_key)
    return ProviderLine(
        row["code"], row["title"], row["dialect"], row["is_active"], row["games"],
        None if prints is None else len(prints), counted, last_call_at,
    )  # fmt: skip


def _prints(sealed: bytes, secret_key: str) -> list[str] | None:
    try:
        return [keys.print_of(key) for key in keys.unseal(sealed, secret_key)]
    except keys.UnreadableKeys:
        return None


def _figures(rows: Sequence[Record], moment: datetime) -> Figures:
    """Add up the rows of all minutes and processes."""
    found = Figures()
    this_minute = moment.replace(second=0, microsecond=0)
    recent = 0
    for row in rows:
        calls = refused = 0
        for name, count in _counts(row["answers"]).items():
            action, _, code = name.partition(" ")
            found.answers[action, code] = found.answers.get((action, code), 0) + count
            calls += count
            refused += 0 if code in FINE_CODES else count
        for name, count in _counts(row["refusals"]).items():
            found.refusals[name] = found.refusals.get(name, 0) + count
        if len(row["seconds"]) == len(found.counts):  # a process of another version may count otherwise
            found.counts = [one + more for one, more in zip(found.counts, row["seconds"], strict=True)]
        before = found.by_minute.get(row["minute"], (0, 0))
        found.by_minute[row["minute"]] = (before[0] + calls, before[1] + refused)
        if row["minute"] >= this_minute - timedelta(minutes=1):
            recent += calls
    found.per_second = recent / (60 + (moment - this_minute).total_seconds())
    return found


def _counts(text: str) -> dict[str, int]:
    return msgspec.json.decode(text, type=dict[str, int])
