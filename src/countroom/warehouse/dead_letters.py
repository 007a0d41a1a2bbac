"""Messages that cannot be stored: kept in PostgreSQL with the reason, and shown (P9)."""

from contextlib import closing
from typing import Final

import psycopg2

from countroom import clock
from countroom.events.wal import CONNECT_SECONDS, Message

REASON_LENGTH_MAX: Final = 2_000
"""ClickHouse's sentences repeat the row; their beginning says enough."""


class DeadLetters:
    """Keeps messages. Connects for each: there should be none."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    def keep(self, message: Message, reason: str) -> None:
        """Keep a message, once however often it arrives. Committed when this returns."""
        with (
            closing(psycopg2.connect(self._database_url, connect_timeout=CONNECT_SECONDS)) as connection,
            connection,  # commits
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "INSERT INTO dead_letters (id, topic, position, reason, body) VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                (
                    str(clock.new_id()),
                    message.topic,
                    message.lsn,
                    reason[:REASON_LENGTH_MAX].replace("\0", ""),
                    message.body,
                ),
            )
