"""`countroom pipeline`: the log of PostgreSQL into ClickHouse in one process, no broker between.

    slot → decode → check → insert → record the position → confirm the slot

Whatever is killed, at whatever step, the log is read again from the last confirmed position,
and rows that arrive twice carry the same identity and version: they count once. Losing either
store stops nothing but the arrival: the stream is closed, nothing is held in memory, and it is
opened again when both are back.
"""

import threading
import time
from contextlib import closing
from functools import partial
from typing import Final

import psycopg2
import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from urllib3.exceptions import HTTPError

from countroom import clickhouse
from countroom.events import catalog, pulse, slot, wal
from countroom.events.stream import Stream, keep_trying
from countroom.refusal import Refusal
from countroom.settings import LostSlot, Settings
from countroom.warehouse import backwards, positions, schema
from countroom.warehouse.dead_letters import DeadLetters
from countroom.warehouse.load import Loader, WarehouseAwayError

RETRY_SECONDS: Final = 5.0
"""The longest pause before another attempt."""

PASSING: Final = (
    psycopg2.Error,
    ClickHouseError,
    HTTPError,
    WarehouseAwayError,
    schema.SchemaDiffersError,
    wal.SlotInUseError,
    catalog.ContractMismatchError,
)
"""What passes by itself or by somebody's hand: a store is away, another pipeline runs, a migration is due."""

_log = structlog.get_logger("pipeline")


class OtherSource(Refusal):
    """The warehouse holds the facts of another PostgreSQL; mixing the two would count both."""

    kind = "conflict"
    code = "warehouse_of_another_database"


def run(settings: Settings, stop: threading.Event) -> None:
    """Move committed facts until ``stop`` is set.

    Raises:
        OtherSource: the settings name a warehouse that belongs to another database.
        ContractBrokenError: messages are refused wholesale.
        SlotLost: log was removed unread, and the settings say to stop then.
        PositionsBackwards: the log ends before what the warehouse holds of it.
    """
    assert settings.database_url is not None
    assert settings.clickhouse_url is not None
    session = partial(_session, settings.database_url, settings.clickhouse_url, stop, settings.lost_slot)
    with pulse.beating(settings.database_url, "pipeline"):
        keep_trying(session, PASSING, stop, RETRY_SECONDS)


def _session(database_url: str, clickhouse_url: str, stop: threading.Event, lost_slot: LostSlot) -> None:
    """Connect to both stores, copy the tables if need be, and follow the log."""
    schema.migrate(clickhouse_url)
    with clickhouse.connect(clickhouse_url) as client:
        schema.verify(client)
        loader = Loader(client, DeadLetters(database_url).keep)
        with closing(psycopg2.connect(database_url, connect_timeout=wal.CONNECT_SECONDS)) as connection:
            connection.autocommit = True
            origin = slot.identify(connection)
            slot.claim(connection, origin.slot)
            backwards.refuse(connection, client, origin.slot)
            _copy_if_new(connection, database_url, client, loader, origin, lost_slot=lost_slot)
            with wal.Reader(database_url, origin.slot) as reader:
                _log.info("following the log", slot=origin.slot)
                Stream(reader, _Warehouse(loader, client, origin)).follow(stop)


def _copy_if_new(
    connection: Connection,
    database_url: str,
    client: Client,
    loader: Loader,
    origin: slot.Origin,
    *,
    lost_slot: LostSlot,
) -> None:
    """Make the slot and copy the tables, unless both are there and belong together.

    A slot without a completed copy is what a crash in the middle leaves, or a new warehouse; a
    completed copy without its slot has missed changes. Either way the one remedy is a new copy.
    """
    name = origin.slot
    position = positions.read(client, name)
    if position is not None and position.source != origin.source:
        raise OtherSource(f"The warehouse holds the facts of {position.source}, not of {origin.source}.")
    existing = slot.find(connection, name)
    if existing is not None:
        if existing.is_active:
            raise wal.SlotInUseError(f"another process reads slot {name}; this one waits for its turn")
        if position is not None and position.is_copied and not existing.is_lost:
            return
    if position is not None and position.is_copied:
        slot.refuse_lost(existing, name, lost_slot)
    # Said before anything is touched: whoever compares the stores meanwhile must know.
    started_after = position.lsn + 1 if position is not None else 0
    positions.record(client, origin, is_copied=False, lsn=started_after, ts_us=0, rows=0)
    if existing is not None:
        slot.drop(connection, name)
    _log.info("copying the tables", slot=name, again=position is not None)
    pulse.say("copying")
    with slot.created(database_url, name) as snapshot:
        ts_us = time.time_ns() // 1000
        rows = 0
        for message in snapshot.messages():
            loader.add(message)
            rows += 1
            if loader.is_full:
                loader.flush()
        loader.flush()
        positions.record(client, origin, is_copied=True, lsn=snapshot.lsn, ts_us=ts_us, rows=rows)
    _log.info("tables copied", slot=name, rows=rows)


class _Warehouse:
    """The sink of the direct pipeline: ClickHouse, and the position in it."""

    def __init__(self, loader: Loader, client: Client, origin: slot.Origin) -> None:
        self._loader = loader
        self._client = client
        self._origin = origin
        self._since_record = 0
        self.add = loader.add

    @property
    def rows(self) -> int:
        return self._loader.rows

    @property
    def is_full(self) -> bool:
        return self._loader.is_full

    def flush(self) -> None:
        self._since_record += self._loader.rows
        self._loader.flush()

    def record(self, commit: wal.Commit) -> None:
        positions.record(
            self._client, self._origin, is_copied=True, lsn=commit.lsn, ts_us=commit.ts_us, rows=self._since_record
        )
        self._since_record = 0
