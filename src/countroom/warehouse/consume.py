"""`countroom load`: Kafka's topics into ClickHouse, by any number of loaders that share the partitions.

    consume → check → insert → commit the offsets

One batch is inserted by a thread of its own while the next one is read and checked. Offsets are committed only
after ClickHouse has acknowledged every message before them. Before a partition passes to another loader, what was
read of it is stored and committed; a loader that was killed, or thrown out of the group, commits nothing, and the
messages are read again by somebody else: rows that arrive twice carry the same identity and version, and count once.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec
import psycopg2
import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from urllib3.exceptions import HTTPError

from countroom import clickhouse, kafka
from countroom.events import catalog, meters, pulse, slot, wal
from countroom.events.stream import keep_trying
from countroom.settings import Settings
from countroom.warehouse import backwards, positions, schema
from countroom.warehouse.dead_letters import DeadLetters
from countroom.warehouse.load import Batch, Loader, WarehouseAwayError

GROUP: Final = "countroom-warehouse"
"""The loaders' group in Kafka: its committed offsets say what the warehouse holds."""
DEAD: Final = ".dead"
"""What a topic's name is followed by in that of the topic of its dead letters."""
COPIES_MAX: Final = 3
CONSUME_ROWS: Final = 5_000
"""Messages taken from the client at a time."""
CONSUME_SECONDS: Final = 0.05
"""How long the client waits until it has as many; a lone message waits so long."""
FLUSH_SECONDS: Final = 0.2
"""The least time between two inserts, unless a batch is full: each makes a part that ClickHouse must merge later."""
REPORT_SECONDS: Final = 5.0
"""How often a loader with nothing to do says that it has nothing to do."""
RETRY_SECONDS: Final = 5.0
DRAIN_LOOK_SECONDS: Final = 0.5

PASSING: Final = (
    psycopg2.Error,
    ClickHouseError,
    HTTPError,
    KafkaException,
    kafka.KafkaAwayError,
    WarehouseAwayError,
    schema.SchemaDiffersError,
)
"""What passes by itself or by somebody's hand."""

_log = structlog.get_logger("load")


class _Moment(msgspec.Struct):
    """The one thing of a message that progress is measured by."""

    ts_us: int = msgspec.field(name="__ts_us", default=0)


_moment = msgspec.json.Decoder(_Moment).decode


def run(settings: Settings, brokers: kafka.Configuration, stop: threading.Event, *, drain: bool = False) -> None:
    """Load messages until ``stop`` is set; with ``drain`` until all that the topics hold now has been loaded.

    Raises:
        ContractBrokenError: messages are refused wholesale.
        PositionsBackwards: the log ends before what the warehouse holds of it.
    """
    assert settings.database_url is not None
    assert settings.clickhouse_url is not None
    session = partial(_session, settings.database_url, settings.clickhouse_url, brokers, stop, drain)
    with pulse.beating(settings.database_url, "load"):
        keep_trying(session, PASSING, stop, RETRY_SECONDS)


def _session(
    database_url: str,
    clickhouse_url: str,
    brokers: kafka.Configuration,
    stop: threading.Event,
    drain: bool,  # noqa: FBT001 - private
) -> None:
    schema.migrate(clickhouse_url)
    topics = list(catalog.PUBLISHED)
    kafka.ensure_topics(brokers, [*topics, *(topic + DEAD for topic in topics)], COPIES_MAX)
    wanted = kafka.ends(brokers, GROUP, topics) if drain else None
    letters = DeadLetters(database_url, _Graveyard(brokers).publish)
    with (
        clickhouse.connect(clickhouse_url) as client,
        closing(kafka.consumer(brokers, GROUP)) as consumer,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="insert") as inserts,
    ):
        schema.verify(client)
        _refuse_backwards(database_url, client)
        member = _Member(consumer, Loader(client, letters.keep), client, inserts)
        member.subscribe(topics)
        pulse.say("following")
        looked_at = 0.0
        while not stop.is_set():
            member.step()
            if wanted is not None and time.monotonic() - looked_at > DRAIN_LOOK_SECONDS:
                if kafka.wait_until_read(brokers, GROUP, wanted, deadline=0):
                    stop.set()
                looked_at = time.monotonic()
        member.settle()


def _refuse_backwards(database_url: str, client: Client) -> None:
    """Ask PostgreSQL where its log ends; it may be away, and what Kafka holds is loaded all the same."""
    with (
        suppress(psycopg2.OperationalError),
        closing(psycopg2.connect(database_url, connect_timeout=wal.CONNECT_SECONDS)) as connection,
    ):
        backwards.refuse(connection, client, slot.identify(connection).slot)


class _Graveyard:
    """The topics of dead letters, for whoever watches topics and not tables."""

    def __init__(self, brokers: kafka.Configuration) -> None:
        self._producer = kafka.producer(brokers)

    def publish(self, message: wal.Message, reason: str) -> None:
        """Copy a message there, with where it was and why it could not be stored; return when Kafka has it."""
        self._producer.produce(
            message.topic + DEAD,
            message.body,
            message.key,
            headers={"partition": str(message.partition), "offset": str(message.lsn), "reason": reason},
        )
        if self._producer.flush(kafka.ANSWER_SECONDS) > 0:
            raise kafka.KafkaAwayError("Kafka takes no dead letter")


class _Member:
    """One loader in its group."""

    def __init__(self, consumer: Consumer, loader: Loader, client: Client, inserts: ThreadPoolExecutor) -> None:
        self._consumer = consumer
        self._loader = loader
        self._client = client
        self._inserts = inserts
        self._progress: dict[tuple[str, int], wal.Message] = {}
        """How far the messages go that the loader holds: the last of each partition."""
        self._stored: Future[list[TopicPartition]] | None = None
        """The batch that is just being inserted; its result are the offsets to commit."""
        self._sent_at = self._reported_at = time.monotonic()
        self._failed = False

    def subscribe(self, topics: Sequence[str]) -> None:
        """Ask for a share of the partitions."""
        meters.partitions.set(0)
        self._consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def step(self) -> None:
        """Read a little, and move on what is due."""
        try:
            self._take(self._consumer.consume(CONSUME_ROWS, CONSUME_SECONDS))
            if self._stored is not None and self._stored.done():
                self._commit()
            now = time.monotonic()
            is_due = now - self._sent_at >= FLUSH_SECONDS and self._stored is None
            if self._loader.rows and (is_due or self._loader.is_full):
                self._send()
            elif now - self._reported_at >= REPORT_SECONDS and self._stored is None:
                self._report_idle()
        except BaseException:
            # Nothing more is stored or committed by this member: close() hands its partitions on.
            self._failed = True
            raise

    def settle(self) -> None:
        """Store and commit everything that was read."""
        try:
            if self._loader.rows:
                self._send()
            self._commit()
        except BaseException:
            self._failed = True
            raise

    def _take(self, messages: Sequence[Message]) -> None:
        add, progress, made = self._loader.add, self._progress, wal.Message
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() in {KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET}:  # noqa: SLF001 - public names
                    continue
                raise KafkaException(error)
            topic, number, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None
            assert number is not None
            assert offset is not None
            progress[topic, number] = taken = made(topic, offset, message.value() or b"", "", number)
            add(taken)

    def _send(self) -> None:
        """Check what was read, and let the other thread insert it once it has done what it was given before."""
        batch = self._loader.take_checked()
        self._commit()
        progress, self._progress = self._progress, {}
        reports = []
        for (topic, number), last in progress.items():
            offset = last.lsn + 1
            _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, number, offset), cached=True)
            reports.append(positions.Loaded(topic, number, offset, max(end, offset), _committed_at(last.body)))
        self._stored = self._inserts.submit(self._store, batch, reports)
        self._sent_at = self._reported_at = time.monotonic()

    def _store(self, batch: Batch, reports: list[positions.Loaded]) -> list[TopicPartition]:
        """In the other thread: insert, and say how far it went."""
        begun = time.monotonic()
        self._loader.store(batch)
        meters.settled(
            sum(map(len, batch.values())),
            time.monotonic() - begun,
            max((int(one.committed_at.timestamp() * 1_000_000) for one in reports if one.committed_at), default=0),
        )
        positions.report(self._client, reports)
        return [TopicPartition(one.topic, one.partition, one.offset) for one in reports]

    def _commit(self) -> None:
        """Wait for the batch that is being inserted, and commit its offsets."""
        if self._stored is None:
            return
        offsets = self._stored.result()
        self._stored = None
        self._consumer.commit(offsets=offsets, asynchronous=False)

    def _report_idle(self) -> None:
        """Say that everything has been read, so that nobody takes silence for it."""
        self._reported_at = time.monotonic()
        reports = []
        for partition in self._consumer.position(self._consumer.assignment()):
            _, end = self._consumer.get_watermark_offsets(partition, cached=True)
            offset = max(partition.offset, 0)
            reports.append(positions.Loaded(partition.topic, partition.partition, offset, max(end, offset), None))
        positions.report(self._client, reports)

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        meters.rebalances.labels("assigned").inc()
        meters.partitions.inc(len(partitions))

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        meters.rebalances.labels("revoked").inc()
        meters.partitions.dec(len(partitions))
        if not self._failed:
            self.settle()

    def _lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Somebody else reads these partitions already: what was read is theirs to store and commit."""
        _log.warning("thrown out of the group; reading again", partitions=len(partitions))
        meters.rebalances.labels("lost").inc()
        meters.partitions.dec(len(partitions))
        self._failed = True
        raise kafka.KafkaAwayError("this loader was thrown out of its group")


def _committed_at(body: bytes) -> datetime | None:
    """Return when a message's transaction was committed; None when it does not say."""
    try:
        return catalog.utc(_moment(body).ts_us).astimezone(UTC)
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError):
        return None
