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

Over everything, or over the days that changed since the comparison before held: those of rows that have arrived
since, of rows that PostgreSQL has made since, and of rows whose money has moved since. What an old row has suffered
in place the comparison over everything finds.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Final
from uuid import UUID

import psycopg2
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from urllib3.exceptions import HTTPError

from countroom import clickhouse, kafka
from countroom.events import catalog, slot, wal
from countroom.proof import Proof, Scope
from countroom.settings import Settings
from countroom.warehouse import differences, moments, positions
from countroom.warehouse.consume import GROUP
from countroom.warehouse.differences import FACTS, Difference, Facts, words
from countroom.warehouse.moments import POLL_SECONDS, ask

DEADLINE_SECONDS: Final = 30.0
"""How long the pipeline, and transactions that are open, may take."""
STOPPED_SECONDS: Final = 8.0
"""A pipeline that nobody has seen for so long is not being restarted; it is stopped."""
VIOLATIONS_MAX: Final = 10
DAYS_SEARCHED: Final = 3
"""Days whose rows are compared one by one when sums differ, unless somebody wants all of them."""
DIFFERENCES_MAX: Final = 10_000
"""So many rows are named; where more differ, a rebuild is quicker than naming them."""
ID_AGE: Final = timedelta(minutes=10)
"""So much older than the commit of its row an id may be."""
DAY_AGE: Final = timedelta(days=1)
"""So much older than its row's day an id may be; a row with an older one is left to the comparison over everything."""

Group = tuple[str, ...]
Sums = tuple[Decimal, ...]


class _NotProved(Exception):  # noqa: N818 - an answer, not an error
    """The comparison could not be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found."""

    proof: Proof
    differing: list[Difference] = field(default_factory=list)
    """``DIFFERENCES_MAX`` of each table at most."""


def compare(settings: Settings, *, deadline_seconds: float = DEADLINE_SECONDS, is_incremental: bool = False) -> Proof:
    """Prove P6 over the live stores; ``compared`` counts PostgreSQL's rows. Blocks: call it in a thread."""
    return find(
        settings, deadline_seconds=deadline_seconds, is_incremental=is_incremental, days_searched=DAYS_SEARCHED
    ).proof


def find(
    settings: Settings,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    is_incremental: bool = False,
    days_searched: int | None = None,
) -> Comparison:
    """Prove P6, and name the rows that differ, on the first ``days_searched`` days or all of them.

    With ``is_incremental`` only days that changed are compared; where nothing has held yet, that is everything.
    """
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
                    _wait_for_copy(client, connection, origin.slot, deadline)
                moment = ask(connection, "SELECT clock_timestamp()")[0][0]
                settled = moments.settled(connection, deadline)
                with moments.snapshot(settings.database_url) as (snapshot, reached):
                    wait_until_confirmed(connection, origin.slot, reached, deadline)
                    if settings.kafka_servers is not None:
                        _wait_for_loaders(kafka.configuration(settings), deadline)
                    elif not _is_copied(client, origin.slot):
                        continue  # the pipeline has begun anew with another slot
                    mark = positions.compared(client, origin.source) if is_incremental else None
                    found = [_Comparing(snapshot, client, facts, settled, mark).run(days_searched) for facts in FACTS]
                if not any(sentences for _, sentences, _ in found):
                    positions.record_compared(client, origin.source, positions.Compared(settled, moment))
                break
    except (_NotProved, moments.OpenTooLongError) as reason:
        return Comparison(Proof("P6", holds=False, compared=0, violations=(str(reason),)))
    except (ClickHouseError, HTTPError) as error:
        sentence = f"ClickHouse did not answer: {str(error).splitlines()[0][:200]}"
        return Comparison(Proof("P6", holds=False, compared=0, violations=(sentence,)))
    violations = tuple([sentence for _, sentences, _ in found for sentence in sentences][:VIOLATIONS_MAX])
    rows = sum(counted for counted, _, _ in found)
    scope: Scope = "full" if mark is None else "incremental"
    proof = Proof("P6", holds=not violations, compared=rows, violations=violations, scope=scope)
    return Comparison(proof, [one for _, _, differing in found for one in differing])


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


def _wait_for_copy(client: Client, connection: Connection, name: str, deadline: float) -> None:
    """Wait until the tables are copied, and the log has been kept since: else they are about to be copied anew."""
    while True:
        existing = slot.find(connection, name)
        is_lost = existing is not None and existing.is_lost
        if not is_lost and _is_copied(client, name):
            return
        if time.monotonic() > deadline:
            raise _NotProved(
                "Log that the pipeline had not read was removed, and the tables have not been copied anew."
                if is_lost
                else "The pipeline has not finished its first copy of the tables."
            )
        time.sleep(POLL_SECONDS)


def _is_copied(client: Client, name: str) -> bool:
    position = positions.read(client, name)
    return position is not None and position.is_copied


class _Comparing:
    """The comparison of one table, on all days or on those that changed since a mark."""

    def __init__(
        self,
        snapshot: Connection,
        client: Client,
        facts: Facts,
        settled: int,
        mark: positions.Compared | None,
    ) -> None:
        self._snapshot = snapshot
        self._client = client
        self._facts = facts
        self._settled = settled
        self._days = None if mark is None else self._changed(mark)
        """None: all."""

    def run(self, days_searched: int | None) -> tuple[int, list[str], list[Difference]]:
        """Return how many rows were compared, sentences about what differs, and the rows that do."""
        if self._days is not None and not self._days:
            return 0, [], []
        loaded, moved, newest = self._sums_in_clickhouse()
        held = self._sums_in_postgres(moved)
        differing = sorted(group for group in held.keys() | loaded.keys() if held.get(group) != loaded.get(group))
        sentences: list[str] = []
        found: list[Difference] = []
        end = int(ask(self._snapshot, "SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0])
        if newest > end:
            # Such rows would pass for moved ones for ever.
            sentences.append(f"{self._facts.events} holds positions that PostgreSQL's log has not reached: {newest}")
            found += self._ahead(end)
        if differing:
            for day in sorted({group[0] for group in differing})[:days_searched]:
                rows = differences.of_day(self._snapshot, self._client, self._facts, self._settled, day)
                found += islice(rows, max(DIFFERENCES_MAX - len(found), 0))
            named = [one.sentence for one in found if one.kind != "ahead"][:VIOLATIONS_MAX]
            # Sums may differ by what has been put right since; they are said when no row explains them.
            sentences += named or [
                f"{self._facts.table} {' '.join(group)}: PostgreSQL has {words(held.get(group))}, ClickHouse "
                f"{words(loaded.get(group))}"
                for group in differing
            ]
        return sum(int(counted[0]) for counted in held.values()), sentences, found

    def _changed(self, mark: positions.Compared) -> list[date]:
        """Return the days (UTC) on which something has changed since a mark."""
        facts = self._facts
        arrived = self._client.query(
            f"SELECT DISTINCT toDate({facts.events_day}) FROM {facts.events} WHERE _version > {mark.settled}"
        ).result_rows
        since = mark.moment - ID_AGE
        moved = "SELECT transaction_id FROM wallet_entries WHERE created_at > %(since)s"
        touched = {
            "transactions": f"id IN ({moved})",
            "game_rounds": f"id IN (SELECT game_round_id FROM transactions WHERE id IN ({moved}))",
            "users": "updated_at > %(since)s",
        }[facts.table]
        day = f"({facts.day} AT TIME ZONE 'UTC')::date"
        made = ask(
            self._snapshot,
            f"SELECT DISTINCT {day} FROM {facts.table} WHERE id >= %(first)s::uuid "
            f"UNION SELECT DISTINCT {day} FROM {facts.table} WHERE {touched}",
            {"first": str(_first_id(since)), "since": since},
        )
        return sorted({day for (day,) in (*arrived, *made)})

    def _ahead(self, end: int) -> list[Difference]:
        facts = self._facts
        rows = self._client.query(
            f"SELECT toString({facts.events_id}), _version FROM {facts.events} FINAL WHERE _version > {end} "
            f"ORDER BY 1 LIMIT {DIFFERENCES_MAX}",
            settings=clickhouse.READ_SETTINGS,
        ).result_rows
        return [
            Difference(
                facts.table, identity, "ahead", f"{facts.table} {identity} has position {version}, not yet reached"
            )
            for identity, version in rows
        ]

    def _sums_in_clickhouse(self) -> tuple[dict[Group, Sums], list[UUID], int]:
        """Return the sums of what has not moved, the ids of what has, and the highest position."""
        facts, settled = self._facts, self._settled
        sums = ", ".join(f"sumIf({column}, _version <= {settled})" for column in facts.sums) or "0"
        where = ""
        if self._days is not None:
            days = ", ".join(f"'{day}'" for day in self._days)
            where = (
                f"WHERE toDate({facts.events_day}) IN ({days})"
                f" AND toString({facts.events_id}) >= '{_first_id_of(self._days)}'"
            )
        loaded: dict[Group, Sums] = {}
        moved: list[UUID] = []
        newest = 0
        for *group, count, amounts, ids, version in self._client.query(
            f"""
            SELECT {differences.events_groups(facts)}, countIf(_version <= {settled}), tuple({sums}),
                   groupArrayIf({facts.events_id}, _version > {settled}), max(_version)
              FROM {facts.events} FINAL {where} GROUP BY ALL
            """,
            settings=clickhouse.READ_SETTINGS,
        ).result_rows:
            moved += ids
            newest = max(newest, version)
            if count:
                loaded[tuple(group)] = (Decimal(count), *map(Decimal, amounts[: len(facts.sums)]))
        return loaded, moved, newest

    def _sums_in_postgres(self, moved: list[UUID]) -> dict[Group, Sums]:
        facts = self._facts
        sums = "".join(f", sum({column})" for column in facts.sums)
        where = ""
        if self._days is not None:
            where = f"AND id >= %(first)s::uuid AND ({facts.day} AT TIME ZONE 'UTC')::date = ANY(%(days)s::date[])"
        rows = ask(
            self._snapshot,
            f"""
            SELECT {differences.groups(facts)}, count(*){sums}
              FROM {facts.table}
             WHERE NOT EXISTS (SELECT FROM unnest(%(moved)s::uuid[]) AS moved (id) WHERE moved.id = {facts.table}.id)
                   {where}
             GROUP BY {", ".join(str(number) for number in range(1, len(facts.groups) + 2))}
            """,
            {
                "moved": [str(identity) for identity in moved],
                "days": self._days,
                "first": str(_first_id_of(self._days or [])),
            },
        )
        width = len(facts.groups) + 1
        return {tuple(row[:width]): tuple(map(Decimal, row[width:])) for row in rows}


def _first_id(moment: datetime) -> UUID:
    """Return the lowest id (UUIDv7) that can be made at a moment."""
    return UUID(int=max(int(moment.timestamp() * 1000), 0) << 80)


def _first_id_of(days: Sequence[date]) -> UUID:
    first = min(days, default=date(1970, 1, 2))
    return _first_id(datetime(first.year, first.month, first.day, tzinfo=UTC) - DAY_AGE)
