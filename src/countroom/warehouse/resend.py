"""Rows of PostgreSQL sent to the warehouse once more, as messages: the slow and certain way for a few of them."""

import time
from typing import Any, Final

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from countroom.events import catalog, wal
from countroom.warehouse.load import Loader

ROWS: Final = 5_000
"""Fetched at a time."""


def resend(
    connection: Connection,
    loader: Loader,
    table: catalog.Table,
    *,
    version: int,
    where: str,
    arguments: tuple[Any, ...] = (),
) -> int:
    """Send the rows that a condition names, with a version; return how many. They are stored when this returns.

    ``connection`` prints as the log does (``wal.PRINTED``) and is in a transaction.
    """
    columns = table.columns
    key = columns.index(table.key)
    encode = catalog.encoder(table, columns)
    ts_us = time.time_ns() // 1000
    sent = 0
    with connection.cursor("resend_" + table.name) as cursor:
        cursor.itersize = ROWS
        cursor.execute(
            f"SELECT {', '.join(f'{column}::text' for column in columns)} FROM {table.name} WHERE {where}", arguments
        )
        for row in cursor:
            loader.add(wal.Message(table.name, version, encode(row, "r", version, ts_us), row[key]))
            sent += 1
            if loader.is_full:
                loader.flush()
    loader.flush()
    return sent
