"""Messages that cannot be stored: kept in PostgreSQL with the reason, shown, and settled by somebody (P9)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - it is a class

from countroom import clock
from countroom.events import meters
from countroom.events.wal import CONNECT_SECONDS, Message
from countroom.refusal import Refusal

REASON_LENGTH_MAX: Final = 2_000
"""ClickHouse's sentences repeat the row; their beginning says enough."""
OPEN_MAX: Final = 1_000
"""So many of one topic that nobody has looked at are no accident: the contract is broken, and loading stops."""


class ContractBrokenError(Exception):
    """Too many messages cannot be stored for it to be an accident; nothing is confirmed, nothing more is set aside."""


class NoSuchLetter(Refusal):
    """There is no open dead letter with this id."""

    kind = "missing"
    code = "no_such_dead_letter"


class Letter(msgspec.Struct, frozen=True):
    """A message that could not be stored."""

    id: UUID
    topic: str
    partition: int | None
    """Of the topic; None when it was read from the log itself."""
    position: int
    """Its offset in the partition, or the change's position in the log."""
    reason: str
    body: bytes
    created_at: datetime
    outcome: Literal["stored", "discarded"] | None
    note: str | None


_LETTER: Final = "id::text, topic, partition, position, reason, body, created_at, outcome, note"


class DeadLetters:
    """Keeps messages. Connects for each: there should be none."""

    def __init__(
        self, database_url: str, publish: Callable[[Message, str], None] = lambda _message, _reason: None
    ) -> None:
        """Keep them in a database; ``publish`` tells others too, and returns when they have it."""
        self._database_url = database_url
        self._publish = publish

    def keep(self, message: Message, reason: str) -> None:
        """Keep a message, once however often it arrives. Committed when this returns.

        Raises:
            ContractBrokenError: there are too many already.
        """
        reason = reason[:REASON_LENGTH_MAX].replace("\0", "")
        with _cursor(self._database_url) as cursor:
            cursor.execute(
                "INSERT INTO dead_letters (id, topic, partition, position, reason, body) "
                "SELECT %(id)s, %(topic)s, %(partition)s, %(position)s, %(reason)s, %(body)s "
                "WHERE (SELECT count(*) FROM dead_letters WHERE topic = %(topic)s AND outcome IS NULL) < %(most)s "
                "ON CONFLICT ON CONSTRAINT dead_letters_once DO UPDATE SET topic = excluded.topic RETURNING 1",
                {
                    "id": str(clock.new_id()), "topic": message.topic, "partition": message.partition,
                    "position": message.lsn, "reason": reason, "body": message.body, "most": OPEN_MAX,
                },
            )  # fmt: skip
            if cursor.fetchone() is None:
                raise ContractBrokenError(
                    f"{OPEN_MAX:,} messages of topic {message.topic} could not be stored and wait for somebody "
                    f"(countroom dead-letters list); loading stops before it sets more aside. The next one {reason}"
                )
        meters.dead_letters.labels(message.topic).inc()
        if self._publish is not None:
            self._publish(message, reason)


def listed(database_url: str, *, settled: bool, limit: int) -> list[Letter]:
    """Return the newest letters: those that wait for somebody, or with ``settled`` the others."""
    with _cursor(database_url) as cursor:
        cursor.execute(
            f"SELECT {_LETTER} FROM dead_letters WHERE (outcome IS NOT NULL) = %s ORDER BY created_at DESC LIMIT %s",
            (settled, limit),
        )
        return [_letter(row) for row in cursor.fetchall()]


def read(database_url: str, identity: UUID) -> Letter:
    """Return one letter.

    Raises:
        NoSuchLetter: there is none with this id.
    """
    with _cursor(database_url) as cursor:
        cursor.execute(f"SELECT {_LETTER} FROM dead_letters WHERE id = %s", (str(identity),))
        row = cursor.fetchone()
    if row is None:
        raise NoSuchLetter(f"There is no dead letter {identity}.")
    return _letter(row)


def settle(database_url: str, identity: UUID, outcome: Literal["stored", "discarded"], note: str | None = None) -> None:
    """Write down that a letter was stored after all, or why it was discarded.

    Raises:
        NoSuchLetter: there is none with this id that waits for somebody.
    """
    with _cursor(database_url) as cursor:
        cursor.execute(
            "UPDATE dead_letters SET outcome = %s, note = %s, settled_at = now() WHERE id = %s AND outcome IS NULL",
            (outcome, note, str(identity)),
        )
        if cursor.rowcount == 0:
            raise NoSuchLetter(f"There is no open dead letter {identity}.")


def _letter(row: Sequence[Any]) -> Letter:
    identity, topic, partition, position, reason, body, created_at, outcome, note = row
    return Letter(UUID(identity), topic, partition, position, reason, bytes(body), created_at, outcome, note)


@contextmanager
def _cursor(database_url: str) -> Iterator[Cursor]:
    with (
        closing(psycopg2.connect(database_url, connect_timeout=CONNECT_SECONDS)) as connection,
        connection,  # commits
        connection.cursor() as cursor,
    ):
        yield cursor
