"""What is compared of each table, in two dialects; and which rows of a day differ."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from clickhouse_connect.driver.client import Client
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from countroom import clickhouse

ROWS: Final = 20_000
"""Fetched at a time."""

Kind = Literal["missing", "only_there", "several", "amounts", "changed", "ahead"]
"""What is wrong in ClickHouse: the row is missing; PostgreSQL has no such row; it counts several times; its
amounts differ, or more than them; its position lies behind the log's end."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A table of PostgreSQL and the events that it became: the same groups and sums, in two dialects."""

    table: str
    day: str
    groups: tuple[str, ...]
    sums: tuple[str, ...]
    events: str
    events_id: str
    events_day: str
    events_groups: tuple[str, ...]


FACTS: Final = (
    Facts(
        "transactions", "created_at", ("type", "status", "currency", "wallet_type"), ("amount", "fee"),
        "events_transactions", "transaction_id", "event_time",
        ("transaction_type", "status", "currency", "wallet_type"),
    ),
    Facts(
        "game_rounds", "opened_at", ("status", "currency"), ("bet_amount", "win_amount"),
        "events_game_rounds", "round_id", "event_time", ("status", "currency"),
    ),
    Facts(
        "users", "created_at", ("status", "kyc_status", "country"), (),
        "players", "user_id", "registered_at", ("status", "kyc_status", "country"),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that differs."""

    table: str
    id: str
    kind: Kind
    sentence: str


def groups(facts: Facts) -> str:
    """Return what is grouped by in PostgreSQL: the day in UTC first."""
    columns = ", ".join(f"coalesce({column}::text, '')" for column in facts.groups)
    return f"({facts.day} AT TIME ZONE 'UTC')::date::text, {columns}"


def events_groups(facts: Facts) -> str:
    """Return the same for ClickHouse."""
    columns = ", ".join(f"toString({column})" for column in facts.events_groups)
    return f"toString(toDate({facts.events_day})), {columns}"


def words(values: tuple[Any, ...] | None) -> str:
    """Return values as a sentence shows them."""
    return "nothing" if values is None else " ".join(str(value) for value in values)


def of_day(snapshot: Connection, client: Client, facts: Facts, settled: int, day: str) -> Iterator[Difference]:
    """Yield what differs among a day's rows, by id. Both stores send them in order, so that no memory is needed.

    Rows that ClickHouse has with a later position than ``settled`` have moved, and are left out.
    """
    held, loaded = _held(snapshot, facts, day), _loaded(client, facts, day)
    mine, theirs = next(held, None), next(loaded, None)
    while mine is not None or theirs is not None:
        if theirs is None or (mine is not None and mine[0] < theirs[0]):
            assert mine is not None
            found = _difference(facts, mine[0], mine[1], [], settled)
            mine = next(held, None)
        else:
            identity, versions = theirs
            row = mine[1] if mine is not None and mine[0] == identity else None
            found = _difference(facts, identity, row, versions, settled)
            theirs = next(loaded, None)
            if row is not None:
                mine = next(held, None)
        if found is not None:
            yield found


def _difference(
    facts: Facts, identity: str, row: tuple[Any, ...] | None, versions: list[tuple[Any, ...]], settled: int
) -> Difference | None:
    name = f"{facts.table} {identity}"
    if any(version[0] > settled for version in versions):
        return None
    if not versions:
        return Difference(facts.table, identity, "missing", f"{name} is missing in ClickHouse")
    if row is None:
        return Difference(facts.table, identity, "only_there", f"{name} is in ClickHouse only")
    if len(versions) > 1:
        return Difference(facts.table, identity, "several", f"{name} counts {len(versions)} times in ClickHouse")
    there = versions[0][1:]
    if row == there:
        return None
    grouped = len(facts.groups) + 1
    kind: Kind = "amounts" if row[:grouped] == there[:grouped] else "changed"
    return Difference(facts.table, identity, kind, f"{name} is {words(row)} in PostgreSQL, {words(there)} there")


def _held(snapshot: Connection, facts: Facts, day: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    columns = "".join(f", {column}::text" for column in facts.sums)
    with snapshot.cursor("rows_of_a_day") as cursor:
        cursor.itersize = ROWS
        cursor.execute(
            f"SELECT id::text, {groups(facts)}{columns} FROM {facts.table} "
            f"WHERE {facts.day} >= %(day)s::date AT TIME ZONE 'UTC'"
            f" AND {facts.day} < (%(day)s::date + 1) AT TIME ZONE 'UTC' ORDER BY id",
            {"day": day},
        )
        for identity, *values in cursor:
            yield identity, tuple(values)


def _loaded(client: Client, facts: Facts, day: str) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    columns = "".join(f", toDecimalString({column}, 2)" for column in facts.sums)
    statement = f"""
        SELECT toString({facts.events_id}) AS identity, _version, {events_groups(facts)}{columns}
          FROM {facts.events} FINAL WHERE toDate({facts.events_day}) = {{day:Date}} ORDER BY identity
        """
    gathered: list[tuple[Any, ...]] = []
    last = ""
    with client.query_rows_stream(statement, parameters={"day": day}, settings=clickhouse.READ_SETTINGS) as rows:
        for identity, *values in rows:
            if identity != last and gathered:
                yield last, gathered
                gathered = []
            last = identity
            gathered.append(tuple(values))
    if gathered:
        yield last, gathered
