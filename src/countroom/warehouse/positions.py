"""How far the log has been loaded, kept in ClickHouse beside the rows themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from countroom import clickhouse
from countroom.events import catalog
from countroom.events.slot import Origin

UNKNOWN_TABLE: Final = 60
MARTS_LOCK: Final = 0x6B7069
"""PostgreSQL's advisory lock of whoever refreshes the marts ("kpi")."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a slot's stream has got to."""

    source: str
    """Which PostgreSQL and which database the facts are from."""
    is_copied: bool
    """Whether the first copy of the tables is complete."""
    lsn: int
    committed_at: datetime
    """When the last transaction that arrived was committed."""


class Loaded(NamedTuple):
    """How far a partition of a topic has been loaded."""

    topic: str
    partition: int
    offset: int
    """Everything before it has arrived."""
    end: int
    """Where the partition ended, as far as its loader knew."""
    committed_at: datetime | None
    """When the last transaction that arrived just now was committed."""


def report(client: Client, loaded: Sequence[Loaded]) -> None:
    """Record how far partitions have been loaded."""
    if loaded:
        client.insert(
            "loaded_partitions",
            loaded,
            column_names=["topic", "partition", "next_offset", "end_offset", "committed_at"],
            settings=clickhouse.INSERT_SETTINGS,
        )


def read(client: Client, slot: str) -> Position | None:
    """Return the last recorded position of a slot."""
    try:
        rows = client.query(
            "SELECT source, copied, lsn, committed_at FROM pipeline_positions FINAL WHERE slot = {slot:String}",
            parameters={"slot": slot},
        ).result_rows
    except DatabaseError as error:
        if error.code == UNKNOWN_TABLE:  # a warehouse that no pipeline has opened yet
            return None
        raise
    if not rows:
        return None
    source, copied, lsn, committed_at = rows[0]
    return Position(source, bool(copied), lsn, committed_at)


def record(client: Client, origin: Origin, *, is_copied: bool, lsn: int, ts_us: int, rows: int) -> None:
    """Record that everything committed before ``lsn`` has arrived."""
    client.insert(
        "pipeline_positions",
        [(origin.slot, origin.source, int(is_copied), lsn, catalog.utc(ts_us), rows)],
        column_names=["slot", "source", "copied", "lsn", "committed_at", "rows"],
        settings=clickhouse.INSERT_SETTINGS,
    )


def forget_refreshes(client: Client) -> None:
    """Let the marts count everything anew: rows have changed that do not look new. Hold ``MARTS_LOCK`` meanwhile."""
    client.command("ALTER TABLE mart_refreshes DELETE WHERE true SETTINGS mutations_sync = 2")
