"""`countroom pipeline`: the log of PostgreSQL into ClickHouse in one process, no broker between.

    slot → decode → check → insert → record the position → confirm the slot

Whatever is killed, at whatever step, the log is read again from the last confirmed position,
and rows that arrive twice carry the same identity and version: they count once. Losing either
store stops nothing but the arrival: the stream is closed, nothing is held in memory, and it is
opened again when both are back.
"""

import threading
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
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
from countroom.events import catalog, meters, pulse, slot, wal
from countroom.events.stream import Stream, keep_trying
from countroom.refusal import Refusal
from countroom.settings import LostSlot, Settings
from countroom.warehouse import backwards, positions, schema
from countroom.warehouse.dead_letters import DeadLetters
from countroom.warehouse.load import Batch, Loader, WarehouseAwayError

RETRY_SECONDS: Final = 5.0
"""The longest pause before another attempt."""
WAIT_SECONDS: Final = 0.5
"""How long to wait for ClickHouse at a time, before PostgreSQL hears that this process lives."""

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
            with (
                wal.Reader(database_url, origin.slot) as reader,
                ThreadPoolExecutor(max_workers=1, thread_name_prefix="insert") as inserts,
            ):
                _log.info("following the log", slot=origin.slot)
                Stream(reader, _Warehouse(loader, client, origin, inserts, reader.keep_alive)).follow(stop)


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
    """The sink of the direct pipeline: ClickHouse, and the position in it.

    One batch is inserted by a thread of its own while the next one is read and checked.
    """

    def __init__(
        self,
        loader: Loader,
        client: Client,
        origin: slot.Origin,
        inserts: ThreadPoolExecutor,
        waiting: Callable[[], None],
    ) -> None:
        """Insert by ``inserts``; ``waiting`` is called while ClickHouse keeps us waiting."""
        self._loader = loader
        self._client = client
        self._origin = origin
        self._inserts = inserts
        self._waiting = waiting
        self._under_way: Future[wal.Commit | None] | None = None
        self._safe: wal.Commit | None = None
        self._since_record = 0
        self.add = loader.add

    @property
    def rows(self) -> int:
        return self._loader.rows

    @property
    def is_full(self) -> bool:
        return self._loader.is_full

    @property
    def is_busy(self) -> bool:
        return self._under_way is not None

    def settle(self, commit: wal.Commit | None) -> None:
        batch = self._loader.take_checked()
        self._finish(wait=True)
        self._under_way = self._inserts.submit(self._store, batch, commit)

    def settled(self, *, wait: bool) -> wal.Commit | None:
        self._finish(wait=wait)
        commit, self._safe = self._safe, None
        return commit

    def _finish(self, *, wait: bool) -> None:
        """See whether the batch under way is stored, or wait until it is."""
        if self._under_way is None:
            return
        while wait and not self._under_way.done():
            futures.wait([self._under_way], WAIT_SECONDS)
            self._waiting()
        if self._under_way.done():
            done, self._under_way = self._under_way, None
            self._safe = done.result() or self._safe

    def _store(self, batch: Batch, commit: wal.Commit | None) -> wal.Commit | None:
        """In the other thread: insert, and record how far that goes."""
        begun = time.monotonic()
        rows = sum(map(len, batch.values()))
        self._since_record += rows
        self._loader.store(batch)
        if commit is not None:
            positions.record(
                self._client, self._origin, is_copied=True, lsn=commit.lsn, ts_us=commit.ts_us, rows=self._since_record
            )
            self._since_record = 0
        meters.settled(rows, time.monotonic() - begun, commit.ts_us if commit is not None else 0)
        return commit
