"""The replication slot: whether it is there, making it, and the copy of the tables that comes before it.

A new slot comes with a snapshot: the tables exactly as they were where the stream begins. The
copy repeats the publication's list of columns, which a snapshot knows nothing of by itself.
"""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from psycopg2.extras import LogicalReplicationConnection

from countroom.events import catalog, wal
from countroom.refusal import Refusal
from countroom.settings import LostSlot

COPY_ROWS: Final = 20_000
"""Rows fetched at a time while tables are copied: some ten megabytes."""
SLOT_NAME_MAX: Final = 63
"""PostgreSQL's NAMEDATALEN, less one."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where facts come from."""

    source: str
    """Which PostgreSQL (its system identifier) and which of its databases."""
    slot: str
    """The replication slot through which they are read."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot as the server describes it."""

    name: str
    is_active: bool
    is_lost: bool
    """The server has removed log that it still needed."""


class SlotLost(Refusal):
    """Log was removed before it was read, and the settings say that somebody has to look at that first."""

    kind = "conflict"
    code = "slot_lost"


def refuse_lost(found: Slot | None, name: str, policy: LostSlot) -> None:
    """Refuse to copy the tables anew, where that is not to happen by itself.

    Raises:
        SlotLost: the policy is to stop.
    """
    if policy == "copy":
        return
    what = (
        f"PostgreSQL has removed log that slot {name} had not read (max_slot_wal_keep_size)"
        if found is not None
        else f"Slot {name} is gone, and the tables were copied when there was one"
    )
    raise SlotLost(
        f"{what}: changes are missing in the warehouse until the tables are copied again. Start once with "
        "COUNTROOM_LOST_SLOT=copy to do that; nothing is counted twice by it."
    )


class Snapshot:
    """The published tables as they were at a slot's beginning."""

    def __init__(self, connection: Connection, lsn: int, version: int) -> None:
        self._connection = connection
        self.lsn = lsn
        """Where the slot's stream begins: what was committed before is in the snapshot."""
        self.version = version
        """The ``__lsn`` of its rows: where the slot starts reading. A transaction that was open when
        the snapshot was taken has changes before ``lsn`` that arrive later, and they must win."""

    def messages(self, tables: Iterable[catalog.Table] = catalog.TABLES.values()) -> Iterator[wal.Message]:
        """Yield every row of these published tables as a message with ``__op`` ``r``."""
        ts_us = time.time_ns() // 1000
        for table in tables:
            columns = self._published(table)
            key = columns.index(table.key)
            encode = catalog.encoder(table, columns)
            with self._connection.cursor("copy_" + table.name) as cursor:
                cursor.itersize = COPY_ROWS
                cursor.execute(f"SELECT {', '.join(f'{column}::text' for column in columns)} FROM {table.name}")
                for row in cursor:
                    yield wal.Message(table.name, self.version, encode(row, "r", self.version, ts_us), row[key])

    def _published(self, table: catalog.Table) -> list[str]:
        """Return the columns that the publication lists, as the stream will send them."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT attnames::text[] FROM pg_publication_tables WHERE pubname = %s AND tablename = %s",
                (catalog.PUBLICATION, table.name),
            )
            row = cursor.fetchone()
        if row is None:
            raise catalog.ContractMismatchError(f"{table.name} is not published; run countroom migrate.")
        return list(row[0])


def name_for(database: str) -> str:
    """Return the name of a database's slot: slots are named once a server, databases share it."""
    return ("countroom_" + re.sub(r"[^a-z0-9_]", "_", database.lower()))[:SLOT_NAME_MAX]


def identify(connection: Connection) -> Origin:
    """Return what the facts of a database come from."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT system_identifier::text, current_database() FROM pg_control_system()")
        row = cursor.fetchone()
    assert row is not None
    return Origin(f"{row[0]}/{row[1]}", name_for(row[1]))


def find(connection: Connection, name: str) -> Slot | None:
    """Return the slot, if there is one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT slot_name, active, coalesce(wal_status = 'lost', false) FROM pg_replication_slots "
            "WHERE slot_name = %s",
            (name,),
        )
        row = cursor.fetchone()
    return None if row is None else Slot(*row)


def drop(connection: Connection, name: str) -> None:
    """Remove the slot; raises psycopg2's ObjectInUse while somebody reads it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_drop_replication_slot(%s)", (name,))


def claim(connection: Connection, name: str) -> None:
    """Become the one who works with a slot, for as long as the connection lives.

    While the stream is open the slot itself keeps others out. This does it while tables are copied, too.

    Raises:
        SlotInUseError: another process is the one.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended('slot ' || %s, 0))", (name,))
        row = cursor.fetchone()
    assert row is not None
    if not row[0]:
        raise wal.SlotInUseError(f"another process works with slot {name}; this one waits for its turn")


def is_claimed(connection: Connection, name: str) -> bool:
    """Whether some process works with a slot, reading it or about to."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND (classid::bigint << 32 | objid::bigint) = hashtextextended('slot ' || %s, 0))",
            (name,),
        )
        row = cursor.fetchone()
    assert row is not None
    return bool(row[0])


@contextmanager
def existing(database_url: str, name: str) -> Iterator[Snapshot]:
    """Hold a snapshot of now open for a slot that was there before, and that nobody reads meanwhile.

    Its rows may be newer than their version: the stream sends the changes that made them so, and later ones win.
    """
    with closing(
        psycopg2.connect(database_url, options=wal.PRINTED, connect_timeout=wal.CONNECT_SECONDS)
    ) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as reader:
            reader.execute(
                "SELECT pg_current_wal_lsn() - '0/0', restart_lsn - '0/0' FROM pg_replication_slots "
                "WHERE slot_name = %s",
                (name,),
            )
            row = reader.fetchone()
        assert row is not None, f"slot {name} has gone"
        yield Snapshot(connection, int(row[0]), int(row[1]))


@contextmanager
def created(database_url: str, name: str) -> Iterator[Snapshot]:
    """Make the slot, and hold its snapshot open while the block runs.

    Waits for the transactions that are open at this moment, as PostgreSQL must.
    """
    with (
        closing(
            psycopg2.connect(
                database_url, connection_factory=LogicalReplicationConnection, connect_timeout=wal.CONNECT_SECONDS
            )
        ) as replication,
        closing(psycopg2.connect(database_url, options=wal.PRINTED, connect_timeout=wal.CONNECT_SECONDS)) as connection,
    ):
        # Copies that were made since an earlier slot's beginning are not since this one's.
        with connection, connection.cursor() as writer:
            writer.execute("DELETE FROM relay_copies WHERE slot = %s", (name,))
        cursor = replication.cursor()
        cursor.create_replication_slot(name, output_plugin="pgoutput")
        created_slot = cursor.fetchone()
        assert created_slot is not None
        _, consistent_point, snapshot_name, _ = created_slot
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as reader:
            reader.execute("SET TRANSACTION SNAPSHOT %s", (snapshot_name,))
            reader.execute(
                "SELECT %s::pg_lsn - '0/0', restart_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = %s",
                (consistent_point, name),
            )
            row = reader.fetchone()
        assert row is not None
        yield Snapshot(connection, int(row[0]), int(row[1]))
