"""`countroom relay`: the log of PostgreSQL into Kafka's topics.

Messages are keyed by the player's id and written by an idempotent producer with ``acks=all``. A position is
confirmed to PostgreSQL only after Kafka has acknowledged every message before it: the producer's queue is
emptied first. Exactly one relay works at a time; others wait for its turn and take over within seconds.

Before it follows a slot it copies the tables to the topics, unless it has done so since the slot was made. A copy
that was broken off goes on with the first table that was not finished.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, Self

import msgspec
import psycopg2
import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from countroom import kafka
from countroom.events import backwards, catalog, meters, pulse, slot, wal
from countroom.events.stream import Stream, keep_trying
from countroom.settings import LostSlot

COPIES_MAX: Final = 3
"""On how many brokers a message is kept, where there are as many."""
RETRY_SECONDS: Final = 2.0
"""The longest pause before another attempt: a waiting relay takes over within it."""
SERVE_EVERY: Final = 1_024
"""Messages after which the producer's errors are looked at."""
BUSY_SECONDS: Final = 1.0
"""The least time between two positions that are confirmed while there is more to read: for each the producer's queue
runs empty."""
WAIT_SECONDS: Final = 0.5
"""How long to wait for Kafka at a time, before PostgreSQL hears that this process lives."""

Copy = Literal["missing", "always", "never"]
"""Which tables to copy before following the log: those that were not copied, all, or none."""

_log = structlog.get_logger("relay")


def run(
    database_url: str,
    brokers: kafka.Configuration,
    stop: threading.Event,
    copy: Copy = "missing",
    lost_slot: LostSlot = "copy",
    *,
    only_copy: bool = False,
) -> None:
    """Move committed facts until ``stop`` is set, or with ``only_copy`` until the tables are copied.

    Raises:
        SlotLost: log was removed unread, and ``lost_slot`` is to stop then.
        PositionsBackwards: the log ends before what the topics hold of it.
    """
    passing = (psycopg2.Error, KafkaException, kafka.KafkaAwayError, wal.SlotInUseError, catalog.ContractMismatchError)
    wish = Wish(copy, lost_slot)
    session = partial(_copy_alone if only_copy else _session, database_url, brokers, stop, wish)
    with pulse.beating(database_url, "relay"), suppress(Stopped):
        keep_trying(session, passing, stop, RETRY_SECONDS)


@dataclass(slots=True)
class Wish:
    """What to copy. To copy always means once: not again after every lost connection."""

    copy: Copy
    lost_slot: LostSlot

    def fulfilled(self) -> None:
        """Remember that the tables have been copied."""
        if self.copy == "always":
            self.copy = "missing"


def _session(database_url: str, brokers: kafka.Configuration, stop: threading.Event, wish: Wish) -> None:
    """Connect to both sides, copy what has to be copied, and follow the log."""
    with copied(database_url, brokers, stop, wish) as (_, name, topics), wal.Reader(database_url, name) as reader:
        topics.waiting = reader.keep_alive
        _log.info("following the log", slot=name)
        Stream(reader, topics, BUSY_SECONDS).follow(stop)


def _copy_alone(database_url: str, brokers: kafka.Configuration, stop: threading.Event, wish: Wish) -> None:
    with copied(database_url, brokers, stop, wish):
        stop.set()


@contextmanager
def copied(
    database_url: str, brokers: kafka.Configuration, stop: threading.Event, wish: Wish
) -> Iterator[tuple[Connection, str, "Topics"]]:
    """Be the one who carries facts into these topics, with the tables copied.

    Gives the connection by which it is the one, the slot's name, and the topics.

    Raises:
        SlotInUseError: another process is the one.
        KafkaAwayError: Kafka cannot be reached.
        SlotLost: log was removed unread, and the wish is to stop then.
        PositionsBackwards: the log ends before what the topics hold of it.
        Stopped: ``stop`` was set while the tables were copied.
    """
    with closing(psycopg2.connect(database_url, connect_timeout=wal.CONNECT_SECONDS)) as connection:
        connection.autocommit = True
        name = slot.identify(connection).slot
        slot.claim(connection, name)
        kafka.ensure_topics(brokers, catalog.PUBLISHED, COPIES_MAX)
        backwards.refuse(
            connection, _newest(brokers), "Kafka's topics hold", "sent. Delete the topics and copy the tables anew"
        )
        with Topics(brokers, stop) as topics:
            _copy(connection, database_url, topics, name, wish)
            wish.fulfilled()
            yield connection, name, topics


class _Position(msgspec.Struct):
    """The one thing of a message that says where in the log it was."""

    lsn: int = msgspec.field(name="__lsn", default=0)


_position = msgspec.json.Decoder(_Position).decode


def _newest(brokers: kafka.Configuration) -> int:
    """Return the newest position that any partition ends with; what is no message of ours says nothing."""
    newest = 0
    for body in kafka.last_messages(brokers, "countroom-relay", catalog.PUBLISHED):
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            newest = max(newest, _position(body).lsn)
    return newest


def _copy(connection: Connection, database_url: str, topics: "Topics", name: str, wish: Wish) -> None:
    """Make the slot if there is none, and copy the tables that have to be copied."""
    found = slot.find(connection, name)
    if found is not None and found.is_active:
        raise wal.SlotInUseError(f"another process reads slot {name}; this one waits for its turn")
    if found is not None and found.is_lost:
        slot.refuse_lost(found, name, wish.lost_slot)
        _log.warning("the server has removed log that was not read; the tables are copied again", slot=name)
        slot.drop(connection, name)
        found = None
    if found is None:
        if _copied(connection, name, topics.cluster):
            slot.refuse_lost(None, name, wish.lost_slot)
        with slot.created(database_url, name) as snapshot:
            _copy_tables(connection, snapshot, topics, name, list(catalog.TABLES.values()))
        return
    done = set() if wish.copy == "always" else _copied(connection, name, topics.cluster)
    tables = [table for table in catalog.TABLES.values() if table.name not in done]
    if tables and wish.copy != "never":
        with slot.existing(database_url, name) as snapshot:
            _copy_tables(connection, snapshot, topics, name, tables)


def _copy_tables(
    connection: Connection, snapshot: slot.Snapshot, topics: "Topics", name: str, tables: list[catalog.Table]
) -> None:
    pulse.say("copying")
    for table in tables:
        rows = 0
        for message in snapshot.messages([table]):
            topics.add(message)
            rows += 1
        topics.flush()
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO relay_copies (slot, cluster, topic, rows) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT (slot, cluster, topic) DO UPDATE SET rows = excluded.rows, copied_at = now()",
                (name, topics.cluster, table.name, rows),
            )
        _log.info("table copied", topic=table.name, rows=rows)


def _copied(connection: Connection, name: str, cluster: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT topic FROM relay_copies WHERE slot = %s AND cluster = %s", (name, cluster))
        return {topic for (topic,) in cursor.fetchall()}


class Stopped(Exception):  # noqa: N818 - no error: somebody asked
    """Somebody asked to stop while Kafka was waited for; nothing was confirmed that it does not have."""


class Topics:
    """The sink of the relay. What it has not acknowledged when the block ends is forgotten, and read again."""

    is_full = False
    """The producer's queue is bounded: what does not fit waits in ``add``."""
    is_busy = False
    """``settle`` returns when it is done."""

    def __init__(self, brokers: kafka.Configuration, stop: threading.Event) -> None:
        self._producer: Producer = kafka.producer(brokers, self._failed, self._error, meters.Statistics().hear)
        self._stop = stop
        self._failure: KafkaError | None = None
        self._safe: wal.Commit | None = None
        self.rows = 0
        self.waiting: Callable[[], None] = lambda: None
        """Called while Kafka keeps us waiting."""
        try:
            self.cluster: str = self._producer.cluster_id(kafka.ANSWER_SECONDS)
        except KafkaException as error:
            raise kafka.KafkaAwayError(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A message that is sent later than those which are read again would turn a key's order round.
        with suppress(KafkaException, SystemError):
            self._producer.purge()
            self._producer.flush(0)

    def add(self, message: wal.Message) -> None:
        """Hand a message to the producer, waiting while its queue is full."""
        self.rows += 1
        while True:
            try:
                self._producer.produce(message.topic, message.body, message.key)
            except BufferError:
                self._wait_for_room()
            else:
                break
        if self.rows % SERVE_EVERY == 0:
            self._producer.poll(0)
            self._check()

    def flush(self) -> None:
        """Return once Kafka has acknowledged everything that was added.

        Raises:
            KafkaAwayError: it has refused something, and the producer has to be made anew.
        """
        while self._flush() > 0:
            self._check()
            self._wait()
        self._check()
        self.rows = 0

    def settle(self, commit: wal.Commit | None) -> None:
        """Flush; Kafka itself remembers how far it has come."""
        rows, begun = self.rows, time.monotonic()
        self.flush()
        self._safe = commit
        meters.settled(rows, time.monotonic() - begun, commit.ts_us if commit is not None else 0)

    def settled(self, *, wait: bool) -> wal.Commit | None:
        """Return the last commit that was flushed; there is never one to wait for."""
        _ = wait
        commit, self._safe = self._safe, None
        return commit

    def _flush(self) -> int:
        try:
            return self._producer.flush(WAIT_SECONDS)
        except SystemError as error:  # confluent-kafka's own way to say that the producer is broken for good
            raise kafka.KafkaAwayError("the producer has failed for good") from error

    def _wait_for_room(self) -> None:
        self._producer.poll(WAIT_SECONDS)
        self._check()
        self._wait()

    def _wait(self) -> None:
        if self._stop.is_set():
            raise Stopped
        self.waiting()

    def _check(self) -> None:
        if self._failure is not None:
            raise kafka.KafkaAwayError(f"Kafka refused a message: {self._failure.str()}")

    def _failed(self, error: KafkaError | None, _message: Message) -> None:
        """Hear of a message that was not stored."""
        self._failure = self._failure or error

    def _error(self, error: KafkaError) -> None:
        """Hear of what befalls the producer as a whole; it tries again by itself unless that is fatal."""
        if error.fatal():
            self._failure = error
