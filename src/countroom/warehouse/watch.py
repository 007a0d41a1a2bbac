"""What a person, Prometheus or an alarm wants to know of the pipeline: its processes, its slot, its dead letters.

Read from PostgreSQL in one statement each, so that every process of the web can answer, also while the pipeline
is dead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from clickhouse_connect.driver.asyncclient import AsyncClient

from countroom.events import slot
from countroom.postgres import Connection, Database, Transaction
from countroom.settings import Settings
from countroom.warehouse.dead_letters import Letter, NoSuchLetter
from countroom.warehouse.rules import MEGABYTE, Limits, Step, seconds_behind

PREVIEW_LENGTH: Final = 300
"""Of a reason, in a list."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the pipeline, by its own words."""

    id: UUID
    role: str
    host: str
    pid: int
    state: str
    sentence: str
    figures: dict[str, float]
    started_at: datetime
    silent_seconds: float
    """How long ago it spoke last."""
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class SlotState:
    """The replication slot through which the log is read."""

    name: str
    is_active: bool
    status: str
    """reserved, extended, unreserved or lost, as PostgreSQL has it."""
    unconfirmed_bytes: int
    """Log that was written and is not safe elsewhere."""
    retained_bytes: int
    """Log that is kept for it."""
    keep_bytes: int | None
    """How much may be kept (max_slot_wal_keep_size); None is without limit: until the disk is full."""
    safe_bytes: int | None
    """How much may be written before the slot is in danger."""
    inactive_since: str | None
    """Since when nobody reads; PostgreSQL 17 and later know."""


@dataclass(frozen=True, slots=True)
class OpenLetter:
    """A dead letter that waits for somebody, as a list shows it."""

    id: UUID
    topic: str
    partition: int | None
    position: int
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Canaries:
    """What the warehouse knows of the canaries."""

    newest_sent_at: datetime | None
    """When the newest of those was sent that have arrived."""
    newest_seconds: float
    """How long that one needed."""
    p50_seconds: float | None
    p99_seconds: float | None
    """Of the last five minutes; None without any."""


def limits(settings: Settings) -> Limits:
    """Return from where a lag is bad, as the settings have it."""
    return Limits(
        settings.lag_warn_mb * MEGABYTE, settings.lag_alarm_mb * MEGABYTE,
        settings.lag_warn_seconds, settings.lag_alarm_seconds,
    )  # fmt: skip


def behind(arrived: Canaries, sent_at: datetime, seconds: float) -> float | None:
    """Return how many seconds the warehouse is behind, with what ``silent_canary`` said; None: nobody knows."""
    newest = arrived.newest_sent_at
    return seconds_behind(
        arrived_sent_at=None if newest is None else newest.timestamp(),
        arrived_seconds=arrived.newest_seconds,
        sent_at=sent_at.timestamp(),
        moment=sent_at.timestamp() + seconds,
    )


async def processes(database: Database) -> list[Process]:
    """Return the processes that are remembered, those that spoke last first."""
    rows = await database.fetch(
        """
        SELECT id, role, host, pid, state, sentence, figures, started_at, ended_at,
               extract(epoch FROM clock_timestamp() - seen_at)::float8 AS silent_seconds
          FROM pipeline_processes
         ORDER BY seen_at DESC
         LIMIT 50
        """
    )
    return [Process(**{**row, "figures": msgspec.json.decode(row["figures"])}) for row in rows]


async def slot_state(database: Database) -> SlotState | None:
    """Return the state of this database's slot, if there is one."""
    async with database.connection() as connection:
        name = slot.name_for(await connection.fetchval("SELECT current_database()"))
        row = await connection.fetchrow(
            """
            SELECT slot_name AS name, active AS is_active, coalesce(wal_status, 'reserved') AS status,
                   greatest(pg_current_wal_lsn() - confirmed_flush_lsn, 0)::bigint AS unconfirmed_bytes,
                   greatest(pg_current_wal_lsn() - coalesce(restart_lsn, confirmed_flush_lsn), 0)::bigint
                       AS retained_bytes,
                   (SELECT nullif(setting::bigint, -1) * 1024 * 1024 FROM pg_settings
                     WHERE name = 'max_slot_wal_keep_size') AS keep_bytes,
                   safe_wal_size AS safe_bytes,
                   to_jsonb(pg_replication_slots) ->> 'inactive_since' AS inactive_since
              FROM pg_replication_slots
             WHERE slot_name = $1
            """,
            name,
        )
    return None if row is None else SlotState(**row)


async def silent_canary(database: Database) -> tuple[datetime, float] | None:
    """Return when the last canary was sent and how many seconds ago that is, by PostgreSQL's clock; None: never."""
    row = await database.fetchrow(
        "SELECT sent_at, extract(epoch FROM clock_timestamp() - sent_at)::float8 AS seconds FROM canaries "
        "ORDER BY sent_at DESC LIMIT 1"
    )
    return None if row is None else (row["sent_at"], row["seconds"])


async def open_letters_by_topic(connection: Connection) -> dict[str, int]:
    """Return how many dead letters of each topic wait for somebody."""
    rows = await connection.fetch("SELECT topic, count(*) AS open FROM dead_letters WHERE outcome IS NULL GROUP BY 1")
    return {row["topic"]: row["open"] for row in rows}


async def open_letters(database: Database, limit: int) -> list[OpenLetter]:
    """Return the newest dead letters that wait for somebody."""
    rows = await database.fetch(
        "SELECT id, topic, partition, position, left(reason, $1) AS reason, created_at FROM dead_letters "
        "WHERE outcome IS NULL ORDER BY created_at DESC, id DESC LIMIT $2",
        PREVIEW_LENGTH,
        limit,
    )
    return [OpenLetter(**row) for row in rows]


async def letter(database: Database, identity: UUID) -> Letter:
    """Return one dead letter whole.

    Raises:
        NoSuchLetter: there is none with this id.
    """
    row = await database.fetchrow(
        "SELECT id, topic, partition, position, reason, body, created_at, outcome, note "
        "FROM dead_letters WHERE id = $1",
        identity,
    )
    if row is None:
        raise NoSuchLetter(f"There is no dead letter {identity}.")
    return Letter(**row)


async def settle_letter(
    tx: Transaction, identity: UUID, outcome: Literal["stored", "discarded"], note: str | None
) -> None:
    """Write down what became of a dead letter; ``dead_letters.settle`` inside somebody's transaction.

    Raises:
        NoSuchLetter: there is none with this id that waits for somebody.
    """
    done = await tx.fetchval(
        "UPDATE dead_letters SET outcome = $2, note = $3, settled_at = now() WHERE id = $1 AND outcome IS NULL "
        "RETURNING 1",
        identity,
        outcome,
        note,
    )
    if done is None:
        raise NoSuchLetter(f"There is no open dead letter {identity}.")


async def canaries(client: AsyncClient) -> Canaries:
    """Return how long canaries have needed of late."""
    found = await client.query(
        """
        SELECT max(sent_at), argMax(seconds, sent_at),
               quantileIf(0.5)(seconds, sent_at > now64(6) - INTERVAL 5 MINUTE),
               quantileIf(0.99)(seconds, sent_at > now64(6) - INTERVAL 5 MINUTE),
               countIf(sent_at > now64(6) - INTERVAL 5 MINUTE), count()
          FROM (SELECT sent_at, dateDiff('microsecond', sent_at, min(arrived_at)) / 1e6 AS seconds
                  FROM canaries WHERE sent_at > now64(6) - INTERVAL 1 DAY GROUP BY sent_at)
        """
    )
    newest, seconds, p50, p99, recent, known = found.result_rows[0]
    if not known:
        return Canaries(None, 0.0, None, None)
    return Canaries(newest, seconds, *((p50, p99) if recent else (None, None)))


async def canary_steps(client: AsyncClient, since: datetime, step_seconds: int) -> dict[int, Step]:
    """Return what is known of each step of time since then, by when it began (seconds since 1970)."""
    found = await client.query(
        """
        SELECT began, max(longest), max(newest), sum(sent) FROM (
            SELECT intDiv(toUnixTimestamp(arrived), {step:UInt32}) * {step:UInt32} AS began,
                   max(dateDiff('microsecond', sent_at, arrived)) / 1e6 AS longest,
                   max(toFloat64(sent_at)) AS newest, 0 AS sent
              FROM (SELECT sent_at, min(arrived_at) AS arrived FROM canaries
                     WHERE sent_at > {since:DateTime64(6, 'UTC')} GROUP BY sent_at)
             GROUP BY began
            UNION ALL
            SELECT intDiv(toUnixTimestamp(sent_at), {step:UInt32}) * {step:UInt32}, 0, 0, count()
              FROM canaries WHERE sent_at > {since:DateTime64(6, 'UTC')} GROUP BY 1)
         GROUP BY began
        """,
        parameters={"since": since, "step": step_seconds},
    )
    rows: Sequence[Sequence[Any]] = found.result_rows
    return {
        int(began): Step(longest if newest else None, newest or None, has_sent=sent > 0)
        for began, longest, newest, sent in rows
    }


async def waiting_in_kafka(client: AsyncClient) -> tuple[int, float] | None:
    """Return how many messages of facts the loaders knew to be left, and how long ago they said so; None: never."""
    found = await client.query(
        """
        SELECT sum(rest), count(), dateDiff('millisecond', max(said_at), now64(6)) / 1e3
          FROM (SELECT argMax(end_offset - next_offset, recorded_at) AS rest, max(recorded_at) AS said_at
                  FROM loaded_partitions WHERE topic != 'canaries' GROUP BY topic, partition)
        """
    )
    rest, known, seconds = found.result_rows[0]
    return (int(rest), max(float(seconds), 0.0)) if known else None
