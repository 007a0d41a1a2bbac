"""How far the warehouse is behind what is committed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

from clickhouse_connect.driver.asyncclient import AsyncClient

from countroom.events import slot
from countroom.postgres import Connection, Database

ROWS_MAX: Final = 10_000
"""Where counting stops: what matters then is that it is far behind."""
SILENT_SECONDS: Final = 15
"""Loaders say every five seconds how far they are; who has not for so long does not load."""


@dataclass(frozen=True, slots=True)
class Lag:
    """What has been committed and has not arrived yet; zeros when everything has."""

    rows: int
    """Transactions, rounds and registrations; ``ROWS_MAX`` means that many or more."""
    bytes: int
    """Log that the slot still holds; some of it is of no concern to the warehouse."""
    seconds: float
    """Age of the oldest of the rows."""
    arrived_at: datetime | None
    """When the last transaction that arrived was committed; None before the first."""


async def read(database: Database, clickhouse: AsyncClient) -> Lag:
    """Measure the lag, in a few cheap queries whatever the tables hold."""
    async with database.connection() as connection:
        name = slot.name_for(await connection.fetchval("SELECT current_database()"))
        way = await _through_kafka(clickhouse, name) or await _direct(clickhouse, name)
        held = await connection.fetchval(
            "SELECT greatest(pg_current_wal_lsn() - confirmed_flush_lsn, 0)::bigint "
            "FROM pg_replication_slots WHERE slot_name = $1",
            name,
        )
        if held == 0 and way.has_all and way.arrived_at is not None:
            return Lag(0, 0, 0.0, way.arrived_at)
        rows, seconds = await _made_after(connection, way.arrived_at or datetime.fromtimestamp(0, UTC))
    return Lag(rows, held or 0, seconds, way.arrived_at)


class _Arrived(NamedTuple):
    """What the warehouse says of itself."""

    arrived_at: datetime | None
    """When the last transaction was committed before which everything has arrived."""
    has_all: bool
    """Whether it has everything that has left the log."""


async def _direct(clickhouse: AsyncClient, name: str) -> _Arrived:
    found = await clickhouse.query(
        "SELECT committed_at FROM pipeline_positions FINAL WHERE slot = {slot:String} AND copied",
        parameters={"slot": name},
    )
    return _Arrived(found.result_rows[0][0] if found.result_rows else None, has_all=True)


async def _through_kafka(clickhouse: AsyncClient, name: str) -> _Arrived | None:
    """Return what the loaders have said, or None when the direct pipeline has said something since."""
    found = await clickhouse.query(
        """
        SELECT max(moment), minIf(moment, behind), countIf(behind),
               max(said_at) > now64(6) - INTERVAL {silent:UInt32} SECOND
          FROM (SELECT max(committed_at) AS moment, max(recorded_at) AS said_at,
                       argMax(end_offset > next_offset, recorded_at) AS behind
                  FROM loaded_partitions WHERE topic != 'canaries' GROUP BY topic, partition)
        HAVING max(said_at) > (SELECT max(recorded_at) FROM pipeline_positions WHERE slot = {slot:String})
        """,
        parameters={"slot": name, "silent": SILENT_SECONDS},
    )
    if not found.result_rows:
        return None
    newest, oldest, behind, is_heard = found.result_rows[0]
    return _Arrived(oldest if behind else newest, has_all=bool(is_heard) and not behind)


async def _made_after(connection: Connection, moment: datetime) -> tuple[int, float]:
    """Count rows made after a moment, ``ROWS_MAX`` at most, and return the age of the first.

    Ids are UUIDv7, so the primary keys' ends are looked at, and nothing else.
    """
    first_id = UUID(int=max(int(moment.timestamp() * 1000), 0) << 80)
    row = await connection.fetchrow(
        """
        WITH made AS (
            (SELECT created_at AS made_at FROM transactions WHERE id > $1 AND created_at > $2 ORDER BY id LIMIT $3)
            UNION ALL
            (SELECT opened_at FROM game_rounds WHERE id > $1 AND opened_at > $2 ORDER BY id LIMIT $3)
            UNION ALL
            (SELECT created_at FROM users WHERE id > $1 AND created_at > $2 ORDER BY id LIMIT $3)
        )
        SELECT least(count(*), $3) AS rows,
               coalesce(greatest(extract(epoch FROM clock_timestamp() - min(made_at)), 0), 0)::float8 AS seconds
          FROM made
        """,
        first_id,
        moment,
        ROWS_MAX,
    )
    assert row is not None
    return row["rows"], row["seconds"]
