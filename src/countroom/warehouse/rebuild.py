"""`countroom rebuild`: the warehouse made anew from PostgreSQL, while everything runs.

    shadow → everything that lands reaches it, too → copy PostgreSQL's rows → exchange

1.  The shadow is there first. What lands from now on reaches it with its own version; what landed before was
    committed before, so that whatever reads PostgreSQL from now on sees it.
2.  Rows are copied in chunks by their id, each chunk in a moment of its own: no transaction stays open for long.
    Before a chunk, wait until all transactions that are open have ended, at position L. The chunk shows every change
    up to L and has L for a version; every change that it does not show lies behind L and wins. It does so whenever
    it arrives, and however late earlier ones do: they lose.
3.  After each chunk its last id is written down beside the rows. A rebuild that was broken off goes on there; the
    shadow has had everything that landed meanwhile.
4.  The shadow takes the table's place at once. Before that its identity is written down: whoever goes on afterwards
    sees whether it has happened.

PostgreSQL prints the rows and ClickHouse reads them; Python hands the bytes on.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

import psycopg2
import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from countroom import clickhouse
from countroom.events import catalog, slot, wal
from countroom.refusal import Refusal
from countroom.settings import Settings
from countroom.warehouse import moments, positions, schema
from countroom.warehouse.dead_letters import DeadLetters
from countroom.warehouse.load import ABOUT_DATA, Loader
from countroom.warehouse.reconcile import FACTS
from countroom.warehouse.resend import resend
from countroom.warehouse.shadow import NOTHING, Progress, Shadow

CHUNK_ROWS: Final = 500_000
"""Rows between two positions that are written down: a few seconds' work."""
BLOCK_BYTES: Final = 32 * 1024 * 1024
"""Handed to ClickHouse at a time: a hundred thousand rows. Two wait while a third is filled."""
BLOCKS_WAITING: Final = 2
INSERT_THREADS: Final = 2
"""ClickHouse's own, for each block: parsing metadata is most of the work."""
OPEN_SECONDS: Final = 60.0
"""How long a transaction in PostgreSQL may keep a chunk waiting."""
PLAUSIBLE: Final = ("1900-01-01", "2299-01-01")
"""What ClickHouse's moments can hold. Rows with others go the slow way, where each is refused by itself."""

Heard = Callable[[str, int, int], None]
"""(topic, rows copied so far, rows there are, roughly)."""

_log = structlog.get_logger("rebuild")


class RebuildRuns(Refusal):
    """Somebody rebuilds this warehouse already."""

    kind = "conflict"
    code = "rebuild_runs"


class OtherRebuild(Refusal):
    """A rebuild was broken off that copied something else."""

    kind = "conflict"
    code = "rebuild_broken_off"


class RebuildWaits(Refusal):
    """A transaction in PostgreSQL stays open."""

    kind = "conflict"
    code = "rebuild_waits"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One table, made anew."""

    topic: str
    rows: int
    """Copied from PostgreSQL, those of an earlier, broken-off run included."""
    seconds: float
    """Of this run."""


def rebuild(
    settings: Settings,
    topics: Iterable[str] = tuple(catalog.TABLES),
    *,
    from_day: date | None = None,
    restart: bool = False,
    heard: Heard = lambda _topic, _rows, _of: None,
) -> list[Rebuilt]:
    """Make the warehouse's tables anew, one after the other; blocks until it is done.

    With ``from_day`` rows of earlier days (UTC) stay as they are. ``restart`` forgets what a broken-off run has copied.

    Raises:
        RebuildRuns: another process does it.
        OtherRebuild: a run that was broken off had another ``from_day``, or copied from another database.
        RebuildWaits: a transaction in PostgreSQL does not end. What was copied stays copied.
    """
    assert settings.database_url is not None
    assert settings.clickhouse_url is not None
    schema.migrate(settings.clickhouse_url)
    with (
        closing(psycopg2.connect(settings.database_url, options=wal.PRINTED)) as connection,
        clickhouse.connect(settings.clickhouse_url) as client,
    ):
        connection.autocommit = True
        if not moments.ask(connection, "SELECT pg_try_advisory_lock(hashtextextended('countroom rebuild', 0))")[0][0]:
            raise RebuildRuns("Another process rebuilds this warehouse; this one does nothing.")
        source = slot.identify(connection).source
        position = positions.read(client, slot.identify(connection).slot)
        if position is not None and position.source != source:
            raise OtherRebuild(f"The warehouse holds the facts of {position.source}, not of {source}.")
        loader = Loader(client, DeadLetters(settings.database_url).keep)
        found = []
        for topic in topics:
            began = time.monotonic()
            work = _Rebuild(connection, client, loader, catalog.TABLES[topic], heard)
            rows = work.run(source, from_day, restart=restart)
            found.append(Rebuilt(topic, rows, time.monotonic() - began))
            _log.info("table rebuilt", topic=topic, rows=rows)
        return found


class _Rebuild:
    """One table's rebuild."""

    def __init__(
        self, connection: Connection, client: Client, loader: Loader, table: catalog.Table, heard: Heard
    ) -> None:
        self._connection = connection
        self._client = client
        self._loader = loader
        self._table = table
        self._shadow = Shadow(client, table.name)
        self._heard = heard
        [facts] = [one for one in FACTS if one.table == table.name]
        self._day, self._events_day = facts.day, facts.events_day

    def run(self, source: str, from_day: date | None, *, restart: bool) -> int:
        """Go on with what was broken off, or begin; return how many rows were copied."""
        shadow = self._shadow
        progress = shadow.progress()
        if restart and progress is not None and progress.state == "copying":
            progress = None
        if progress is None or progress.state == "done":
            shadow.make()
            progress = Progress(source, from_day, "copying", NOTHING, 0, shadow.identity(shadow.shadow))
            shadow.record(progress)
        elif (progress.source, progress.from_day) != (source, from_day):
            since = "everything" if progress.from_day is None else f"--from {progress.from_day}"
            raise OtherRebuild(
                f"A rebuild of {self._table.name} was broken off ({since}, from {progress.source}). "
                "Go on with that one, or forget it with --restart."
            )
        if progress.state == "copying":
            progress = self._copy_all(progress)
            if from_day is not None:
                shadow.take_earlier(self._events_day, from_day)
            progress = progress._replace(state="exchanging")
            shadow.record(progress)
        moments.ask(self._connection, "SELECT pg_advisory_lock(%s)", (positions.MARTS_LOCK,))
        if shadow.identity(shadow.table) != progress.shadow:
            shadow.exchange()
        # What is new in it was stamped when it was copied, and the marts have looked since.
        positions.forget_refreshes(self._client)
        moments.ask(self._connection, "SELECT pg_advisory_unlock(%s)", (positions.MARTS_LOCK,))
        shadow.remove()
        shadow.record(progress._replace(state="done"))
        return progress.rows

    def _copy_all(self, progress: Progress) -> Progress:
        of = self._estimate()
        # What is made from now on lands after the shadow was there, and need not be copied.
        newest = self._last_id("ORDER BY id DESC LIMIT 1") or NOTHING
        while True:
            self._heard(self._table.name, progress.rows, of)
            last = self._last_id(
                "WHERE id > %s::uuid AND id <= %s::uuid ORDER BY id LIMIT %s",
                (str(progress.copied_up_to), str(newest), CHUNK_ROWS),
            )
            if last is None:
                return progress
            rows = self._copy(progress, last)
            progress = progress._replace(copied_up_to=last, rows=progress.rows + rows)
            self._shadow.record(progress)

    def _estimate(self) -> int:
        found = moments.ask(
            self._connection, "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", (self._table.name,)
        )[0][0]
        if found < 1:
            found = moments.ask(self._connection, f"SELECT count(*) FROM {self._table.name}")[0][0]
        return int(found)

    def _last_id(self, which: str, arguments: tuple[Any, ...] = ()) -> UUID | None:
        """Return the highest of the ids that a clause names; None when there is none."""
        row = moments.ask(
            self._connection,
            f"SELECT id::text FROM (SELECT id FROM {self._table.name} {which}) AS chunk ORDER BY id DESC LIMIT 1",
            arguments,
        )
        return UUID(row[0][0]) if row else None

    def _copy(self, progress: Progress, last: UUID) -> int:
        """Copy the rows up to an id; they are stored when this returns."""
        try:
            version = moments.settled(self._connection, time.monotonic() + OPEN_SECONDS)
        except moments.OpenTooLongError as error:
            raise RebuildWaits(
                f"{error} What was copied stays copied: end that transaction, then go on with countroom rebuild."
            ) from error
        wanted = f"id > '{progress.copied_up_to}' AND id <= '{last}'"
        if progress.from_day is not None:
            wanted += f" AND {self._day} >= '{progress.from_day} 00:00:00+00'"
        first, end = PLAUSIBLE
        plain = " AND ".join(
            f"({column} IS NULL OR {column} >= '{first}' AND {column} < '{end}')" for column in self._table.moments
        )
        try:
            rows = self._copy_block(f"{wanted} AND {plain}", version)
        except DatabaseError as error:
            if error.code not in ABOUT_DATA:
                raise
            _log.warning("ClickHouse refused a block; its rows are sent one by one", reason=str(error)[:300])
            return self._resend(wanted, version)
        return rows + self._resend(f"{wanted} AND NOT ({plain})", version)

    def _copy_block(self, where: str, version: int) -> int:
        columns = ", ".join(self._table.columns)
        with self._connection.cursor() as cursor, self._into_shadow() as blocks:
            cursor.copy_expert(
                f"COPY (SELECT {columns}, 'r', 'false', {version}, {time.time_ns() // 1000} "
                f"FROM {self._table.name} WHERE {where}) TO STDOUT",
                blocks,
            )
            return cursor.rowcount

    @contextmanager
    def _into_shadow(self) -> Iterator["_Blocks"]:
        """Give what takes the rows, as PostgreSQL prints them; all are stored when the block ends."""
        names = [*self._table.columns, "__op", "__deleted", "__lsn", "__ts_us"]

        def insert(block: bytes) -> None:
            self._client.raw_insert(
                self._shadow.copy_landing,
                column_names=names,
                insert_block=block,
                fmt="TabSeparated",
                settings=clickhouse.INSERT_SETTINGS | {"max_insert_threads": INSERT_THREADS},
            )

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="rebuild") as pool:
            blocks = _Blocks(lambda block: pool.submit(insert, block))
            yield blocks
            blocks.finish()

    def _resend(self, where: str, version: int) -> int:
        """Send rows the slow way. They land like any message, and so reach both tables."""
        self._connection.autocommit = False
        try:
            return resend(self._connection, self._loader, self._table, version=version, where=where)
        finally:
            self._connection.rollback()
            self._connection.autocommit = True


class _Blocks:
    """A file to PostgreSQL's COPY: gathers rows into blocks, and lets somebody store one while it fills another."""

    def __init__(self, store: Callable[[bytes], Future[None]]) -> None:
        self._store = store
        self._rows: list[bytes] = []
        self._bytes = 0
        self._waiting: deque[Future[None]] = deque()

    def write(self, row: bytes) -> None:
        """Take one row."""
        self._rows.append(row)
        self._bytes += len(row)
        if self._bytes >= BLOCK_BYTES:
            self._hand_on()
            while len(self._waiting) >= BLOCKS_WAITING:
                self._waiting.popleft().result()

    def finish(self) -> None:
        """Return when everything is stored; raises what kept it from being so."""
        if self._rows:
            self._hand_on()
        while self._waiting:
            self._waiting.popleft().result()

    def _hand_on(self) -> None:
        self._waiting.append(self._store(b"".join(self._rows)))
        self._rows, self._bytes = [], 0
