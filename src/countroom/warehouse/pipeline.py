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
from typing import Final

import psycopg2
import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from urllib3.exceptions import HTTPError

from countroom import clickhouse
from countroom.events import catalog, slot, wal
from countroom.refusal import Refusal
from countroom.settings import Settings
from countroom.warehouse import positions, schema
from countroom.warehouse.dead_letters import DeadLetters
from countroom.warehouse.load import Loader, WarehouseAwayError

FLUSH_SECONDS: Final = 0.2
"""The least time between two inserts under load: each makes a part in every table that
ClickHouse must merge later. A lone commit after a pause is loaded at once."""
ROWS_BETWEEN_LOOKS: Final = 1_024
"""Rows of one transaction after which the clock is looked at, for the sake of those before it.

psycopg2 confirms a keep-alive's position by itself once the last message it saw lies before what
was confirmed, and a long transaction's first changes may. The server sends keep-alives inside a
transaction only after half a minute of silence, so nothing that is complete may wait that long."""
IDLE_SECONDS: Final = 1.0
"""How long an idle stream waits before it looks whether it should stop."""
RETRY_SECONDS: Final = (0.2, 5.0)
"""First and longest pause before another attempt; each is twice the one before."""

PASSING: Final = (
    psycopg2.Error,
    ClickHouseError,
    HTTPError,
    WarehouseAwayError,
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
    """
    assert settings.database_url is not None
    assert settings.clickhouse_url is not None
    pause, longest = RETRY_SECONDS
    while not stop.is_set():
        started = time.monotonic()
        try:
            _session(settings.database_url, settings.clickhouse_url, stop)
        except PASSING as error:
            if time.monotonic() - started > longest:
                pause = RETRY_SECONDS[0]
            if pause < longest:  # an outage is said a few times, not for as long as it lasts
                _log.warning("the stream stopped; trying again", reason=_first_line(error), seconds=pause)
            stop.wait(pause)
            pause = min(pause * 2, longest)


def _session(database_url: str, clickhouse_url: str, stop: threading.Event) -> None:
    """Connect to both stores, copy the tables if need be, and follow the log."""
    schema.migrate(clickhouse_url)
    with clickhouse.connect(clickhouse_url) as client:
        loader = Loader(client, DeadLetters(database_url).keep)
        with closing(psycopg2.connect(database_url, connect_timeout=wal.CONNECT_SECONDS)) as connection:
            connection.autocommit = True
            origin = slot.identify(connection)
            _copy_if_new(connection, database_url, client, loader, origin)
        with wal.Reader(database_url, origin.slot) as reader:
            _log.info("following the log", slot=origin.slot)
            _Stream(reader, loader, client, origin).follow(stop)


def _copy_if_new(
    connection: Connection, database_url: str, client: Client, loader: Loader, origin: slot.Origin
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
            raise wal.SlotInUseError(f"another pipeline reads slot {name}; this one waits for its turn")
        if position is not None and position.is_copied and not existing.is_lost:
            return
    # Said before anything is touched: whoever compares the stores meanwhile must know.
    started_after = position.lsn + 1 if position is not None else 0
    positions.record(client, origin, is_copied=False, lsn=started_after, ts_us=0, rows=0)
    if existing is not None:
        slot.drop(connection, name)
    _log.info("copying the tables", slot=name, again=position is not None)
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


class _Stream:
    """Follows an open stream."""

    def __init__(self, reader: wal.Reader, loader: Loader, client: Client, origin: slot.Origin) -> None:
        self._reader = reader
        self._loader = loader
        self._client = client
        self._origin = origin
        self._rows = 0
        self._commit: wal.Commit | None = None
        """The last transaction that was read to its end and is not yet settled."""
        self._settled_at = 0.0

    def follow(self, stop: threading.Event) -> None:
        read, add = self._reader.read, self._loader.add
        while not stop.is_set():
            item = read()
            if isinstance(item, wal.Message):
                add(item)
                self._rows += 1
                if self._rows % ROWS_BETWEEN_LOOKS == 0 and self._commit is not None and self._due() <= 0:
                    self._settle()
                elif self._loader.is_full:
                    self._loader.flush()
            elif isinstance(item, wal.Commit):
                self._commit = item
                if self._due() <= 0:
                    self._settle()
            elif item is wal.Nothing.IDLE:
                self._idle()
        self._settle()

    def _due(self) -> float:
        """Return in how many seconds the next insert may happen."""
        return self._settled_at + FLUSH_SECONDS - time.monotonic()

    def _idle(self) -> None:
        if self._commit is None:
            if self._loader.rows == 0:
                self._reader.confirm_idle()
            self._reader.wait(IDLE_SECONDS)
        elif (due := self._due()) > 0:
            self._reader.wait(due)
        else:
            self._settle()

    def _settle(self) -> None:
        """Store, record, confirm: in this order."""
        commit = self._commit
        if commit is None:
            return
        self._loader.flush()
        positions.record(
            self._client, self._origin, is_copied=True, lsn=commit.lsn, ts_us=commit.ts_us,
            rows=self._rows,
        )  # fmt: skip
        self._reader.confirm(commit.lsn)
        self._commit = None
        self._rows = 0
        self._settled_at = time.monotonic()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
