"""Positions in PostgreSQL's log that say for certain what a reader sees, and what it does not."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from countroom.events import wal

POLL_SECONDS: Final = 0.05


class OpenTooLongError(Exception):
    """A transaction that writes does not end, so that no position is certain."""


def settled(connection: Connection, deadline: float) -> int:
    """Return a position up to which nothing more will be committed; ``connection`` commits by itself.

    What is read afterwards shows every change up to it, and each change that it does not show lies behind it.

    Raises:
        OpenTooLongError: a transaction that was open is so at the deadline of the monotonic clock.
    """
    position = int(ask(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0])
    # Ids are given out in order: whoever wrote before that position has an id below a new one. (A
    # snapshot's xmax does not do: it is the last one that ended, and later ones may be open.)
    newest = int(ask(connection, "SELECT pg_current_xact_id()::text")[0][0])
    while int(ask(connection, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text")[0][0]) < newest:
        if time.monotonic() > deadline:
            raise OpenTooLongError("A transaction in PostgreSQL has been open for too long.")
        time.sleep(POLL_SECONDS)
    return position


@contextmanager
def snapshot(database_url: str) -> Iterator[tuple[Connection, int]]:
    """Give a connection that sees one moment, and the log's end just after that moment."""
    with closing(psycopg2.connect(database_url, options=wal.PRINTED)) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        # The snapshot is taken when the statement begins, the position is read while it runs.
        yield connection, int(ask(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0])


def ask(connection: Connection, statement: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return cursor.fetchall()
