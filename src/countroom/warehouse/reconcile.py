"""P6: PostgreSQL and ClickHouse agree to the last cent, proved while bets flow.

Two stores are never seen at one moment, so the comparison leaves out what moves meanwhile:

1.  L0 is the log's end. Wait until every transaction that was open then has ended: from now
    on nothing that is committed carries a version up to L0.
2.  Take a snapshot S of PostgreSQL; L1 is the log's end just after. All that S shows was
    committed before L1.
3.  Wait until the pipeline has passed L1: the slot is confirmed, and where Kafka lies between, the loaders
    have committed the offsets at which its topics ended after that. ClickHouse now holds, of every row that S shows,
    that version or a later one.
4.  In one query with FINAL, ClickHouse adds up the rows whose version is at most L0, and names
    those with a later one: they have moved. S adds up all rows but those. The sums are equal,
    group by group, or something was lost, doubled or changed.
"""

import time
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import psycopg2
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from urllib3.exceptions import HTTPError

from countroom import clickhouse, kafka
from countroom.events import catalog, slot, wal
from countroom.proof import Proof
from countroom.settings import Settings
from countroom.warehouse import moments, positions
from countroom.warehouse.consume import GROUP
from countroom.warehouse.moments import POLL_SECONDS, ask

DEADLINE_SECONDS: Final = 30.0
"""How long the pipeline, and transactions that are open, may take."""
STOPPED_SECONDS: Final = 8.0
"""A pipeline that nobody has seen for so long is not being restarted; it is stopped."""
VIOLATIONS_MAX: Final = 10
DAYS_SEARCHED: Final = 3
"""Days whose rows are compared one by one when sums differ."""

Group = tuple[str, ...]
Sums = tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class _Facts:
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
    _Facts(
        "transactions", "created_at", ("type", "status", "currency", "wallet_type"), ("amount", "fee"),
        "events_transactions", "transaction_id", "event_time",
        ("transaction_type", "status", "currency", "wallet_type"),
    ),
    _Facts(
        "game_rounds", "opened_at", ("status", "currency"), ("bet_amount", "win_amount"),
        "events_game_rounds", "round_id", "event_time", ("status", "currency"),
    ),
    _Facts(
        "users", "created_at", ("status", "kyc_status", "country"), (),
        "players", "user_id", "registered_at", ("status", "kyc_status", "country"),
    ),
)  # fmt: skip


class _NotProved(Exception):  # noqa: N818 - an answer, not an error
    """The comparison could not be made; the message says why."""


def compare(settings: Settings, *, deadline_seconds: float = DEADLINE_SECONDS) -> Proof:
    """Prove P6 over the live stores; ``compared`` counts PostgreSQL's rows. Blocks: call it in a thread."""
    assert settings.database_url is not None
    assert settings.clickhouse_url is not None
    deadline = time.monotonic() + deadline_seconds
    try:
        with (
            closing(psycopg2.connect(settings.database_url, options=wal.PRINTED)) as connection,
            clickhouse.connect(settings.clickhouse_url) as client,
        ):
            connection.autocommit = True
            origin = slot.identify(connection)
            while True:
                if settings.kafka_servers is None:
                    _wait_for_copy(client, origin.slot, deadline)
                settled = moments.settled(connection, deadline)
                with moments.snapshot(settings.database_url) as (snapshot, reached):
                    wait_until_confirmed(connection, origin.slot, reached, deadline)
                    if settings.kafka_servers is not None:
                        _wait_for_loaders(kafka.configuration(settings), deadline)
                    elif not _is_copied(client, origin.slot):
                        continue  # the pipeline has begun anew with another slot
                    found = [_compare(snapshot, client, facts, settled) for facts in FACTS]
                break
    except (_NotProved, moments.OpenTooLongError) as reason:
        return Proof("P6", holds=False, compared=0, violations=(str(reason),))
    except (ClickHouseError, HTTPError) as error:
        sentence = f"ClickHouse did not answer: {str(error).splitlines()[0][:200]}"
        return Proof("P6", holds=False, compared=0, violations=(sentence,))
    violations = [violation for _, sentences in found for violation in sentences][:VIOLATIONS_MAX]
    return Proof("P6", holds=not violations, compared=sum(rows for rows, _ in found), violations=tuple(violations))


def wait_until_confirmed(connection: Connection, name: str, lsn: int, deadline: float) -> None:
    """Wait until everything committed before ``lsn`` has arrived; ``connection`` commits by itself.

    A word is written into the log, so that the pipeline moves even where nobody plays.
    """
    ask(connection, "SELECT pg_logical_emit_message(true, 'countroom', 'reconcile')")
    seen = time.monotonic()
    while True:
        found = ask(
            connection,
            "SELECT confirmed_flush_lsn - '0/0', active FROM pg_replication_slots WHERE slot_name = %s",
            (name,),
        )
        if found and found[0][0] >= lsn:
            return
        now = time.monotonic()
        if found and (found[0][1] or slot.is_claimed(connection, name)):
            seen = now
        if now - seen > STOPPED_SECONDS or (now > deadline and seen < now):
            raise _NotProved("The pipeline is not running.")
        if now > deadline:
            raise _NotProved("The pipeline is running and did not catch up in time.")
        time.sleep(POLL_SECONDS)


def _wait_for_loaders(brokers: kafka.Configuration, deadline: float) -> None:
    """Wait until the loaders have read what the topics hold now: Kafka has everything that the slot has confirmed."""
    try:
        wanted = kafka.ends(brokers, GROUP, catalog.TABLES)
        if not kafka.wait_until_read(brokers, GROUP, wanted, deadline):
            raise _NotProved("Kafka has messages that were not loaded in time; does countroom load run?")
    except kafka.KafkaAwayError as error:
        raise _NotProved(f"Kafka did not answer: {error}") from error


def _wait_for_copy(client: Client, name: str, deadline: float) -> None:
    while not _is_copied(client, name):
        if time.monotonic() > deadline:
            raise _NotProved("The pipeline has not finished its first copy of the tables.")
        time.sleep(POLL_SECONDS)


def _is_copied(client: Client, name: str) -> bool:
    position = positions.read(client, name)
    return position is not None and position.is_copied


def _compare(snapshot: Connection, client: Client, facts: _Facts, settled: int) -> tuple[int, list[str]]:
    """Return how many rows were compared, and what differs."""
    sums = ", ".join(f"sumIf({column}, _version <= {settled})" for column in facts.sums) or "0"
    loaded: dict[Group, Sums] = {}
    moved: list[UUID] = []
    newest = 0
    for *group, count, amounts, ids, version in client.query(
        f"""
        SELECT {_events_groups(facts)}, countIf(_version <= {settled}), tuple({sums}),
               groupArrayIf({facts.events_id}, _version > {settled}), max(_version)
          FROM {facts.events} FINAL GROUP BY ALL
        """,
        settings=clickhouse.READ_SETTINGS,
    ).result_rows:
        moved += ids
        newest = max(newest, version)
        if count:
            loaded[tuple(group)] = (Decimal(count), *map(Decimal, amounts[: len(facts.sums)]))
    held = _sums_in_postgres(snapshot, facts, moved)
    differing = sorted(group for group in held.keys() | loaded.keys() if held.get(group) != loaded.get(group))
    violations = []
    if newest > int(ask(snapshot, "SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0]):
        # Such rows would pass for moved ones for ever.
        violations.append(f"{facts.events} holds positions that PostgreSQL's log has not reached: {newest}")
    if differing:
        for day in sorted({group[0] for group in differing})[:DAYS_SEARCHED]:
            violations += _differences(snapshot, client, facts, settled, day)
        # Sums may differ by what has been put right since; they are said when no row explains them.
        violations = violations or [
            f"{facts.table} {' '.join(group)}: PostgreSQL has {_words(held.get(group))}, ClickHouse "
            f"{_words(loaded.get(group))}"
            for group in differing
        ]
    return sum(int(counted[0]) for counted in held.values()), violations


def _sums_in_postgres(snapshot: Connection, facts: _Facts, moved: list[UUID]) -> dict[Group, Sums]:
    sums = "".join(f", sum({column})" for column in facts.sums)
    rows = ask(
        snapshot,
        f"""
        SELECT {_groups(facts)}, count(*){sums}
          FROM {facts.table}
         WHERE NOT EXISTS (SELECT FROM unnest(%s::uuid[]) AS moved (id) WHERE moved.id = {facts.table}.id)
         GROUP BY {", ".join(str(number) for number in range(1, len(facts.groups) + 2))}
        """,
        ([str(identity) for identity in moved],),
    )
    width = len(facts.groups) + 1
    return {tuple(row[:width]): tuple(map(Decimal, row[width:])) for row in rows}


def _differences(snapshot: Connection, client: Client, facts: _Facts, settled: int, day: str) -> list[str]:
    """Return a sentence for each of a day's rows that differs, the first ones by id."""
    loaded: dict[str, list[tuple[Any, ...]]] = {}
    columns = "".join(f", toDecimalString({column}, 2)" for column in facts.sums)
    for identity, version, *values in client.query(
        f"""
        SELECT toString({facts.events_id}), _version, {_events_groups(facts)}{columns}
          FROM {facts.events} FINAL WHERE toDate({facts.events_day}) = {{day:Date}}
        """,
        parameters={"day": day},
        settings=clickhouse.READ_SETTINGS,
    ).result_rows:
        loaded.setdefault(identity, []).append((version, *values))
    columns = "".join(f", {column}::text" for column in facts.sums)
    held = {
        row[0]: tuple(row[1:])
        for row in ask(
            snapshot,
            f"SELECT id::text, {_groups(facts)}{columns} FROM {facts.table} "
            f"WHERE ({facts.day} AT TIME ZONE 'UTC')::date = %s",
            (day,),
        )
    }
    found = []
    for identity in sorted(held.keys() | loaded.keys()):
        versions = loaded.get(identity, [])
        row = held.get(identity)
        if any(version[0] > settled for version in versions):
            continue
        if not versions:
            found.append(f"{facts.table} {identity} is missing in ClickHouse")
        elif len(versions) > 1:
            found.append(f"{facts.table} {identity} counts {len(versions)} times in ClickHouse")
        elif row is None:
            found.append(f"{facts.table} {identity} is in ClickHouse only")
        elif row != versions[0][1:]:
            found.append(f"{facts.table} {identity} is {_words(row)} in PostgreSQL, {_words(versions[0][1:])} there")
    return found[:VIOLATIONS_MAX]


def _groups(facts: _Facts) -> str:
    columns = ", ".join(f"coalesce({column}::text, '')" for column in facts.groups)
    return f"({facts.day} AT TIME ZONE 'UTC')::date::text, {columns}"


def _events_groups(facts: _Facts) -> str:
    columns = ", ".join(f"toString({column})" for column in facts.events_groups)
    return f"toString(toDate({facts.events_day})), {columns}"


def _words(values: tuple[Any, ...] | None) -> str:
    return "nothing" if values is None else " ".join(str(value) for value in values)
