"""The Kafka tap: the client's settings, the topics, and how far a group has read them. confluent-kafka everywhere."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from countroom.refusal import Refusal
from countroom.settings import Settings

ANSWER_SECONDS: Final = 10.0
"""How long a broker may take to answer a question about topics or offsets."""
HEARING_SECONDS: Final = 0.1
"""How long what was heard meanwhile may take to be told."""
PARTITIONS: Final = 6
"""Of each topic: so many loaders can share the work, and one machine carries them easily."""

LEADERLESS: Final = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE}

_log: Final = logging.getLogger("countroom.kafka")
_log.addHandler(logging.NullHandler())  # the client repeats every lost connection; whoever waits says it once

Configuration = Mapping[str, str]
"""librdkafka's properties that say where the brokers are, and how to be let in."""


class NoKafka(Refusal):
    """This command moves facts through Kafka, and no Kafka is named."""

    kind = "unavailable"
    code = "no_kafka"


def configuration(settings: Settings) -> Configuration:
    """Return the client's properties by which Kafka is reached.

    Raises:
        NoKafka: none is named by the settings.
    """
    if settings.kafka_servers is None:
        raise NoKafka(
            "Set COUNTROOM_KAFKA_SERVERS to the brokers (host:port,…), or start `countroom up --kafka` on this folder."
        )
    properties = {}
    if settings.kafka_properties is not None:
        for line in settings.kafka_properties.read_text("utf-8").splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith("#"):
                properties[name.strip()] = value.strip()
    return {**properties, "bootstrap.servers": settings.kafka_servers}


class KafkaAwayError(Exception):
    """Kafka cannot be reached, or cannot do what it was asked at the moment."""


def producer(
    brokers: Configuration,
    failed: Callable[[KafkaError | None, Message], None] = lambda _error, _message: None,
    befallen: Callable[[KafkaError], None] = lambda _error: None,
    statistics: Callable[[str], None] | None = None,
) -> Producer:
    """Open a producer that neither loses nor doubles nor reorders what it is given.

    A key goes to the partition where the Java client puts it, Debezium's among them.

    Args:
        brokers: where they are.
        failed: hears of each message that was not stored, and of no other, while ``poll`` or ``flush`` runs.
        befallen: hears of errors of the producer as a whole.
        statistics: hears every second what it has done, as librdkafka's JSON.
    """
    return Producer(
        {
            **brokers,
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            # Batches that fill up cost the broker a third of those that are sent at once.
            "linger.ms": 10,
            # A broker that is away does not fail a message; whoever produces decides how long to wait.
            "message.timeout.ms": 0,
            "queue.buffering.max.messages": 50_000,
            "queue.buffering.max.kbytes": 65_536,
            "allow.auto.create.topics": False,
            "delivery.report.only.error": True,
            "on_delivery": failed,
            "error_cb": befallen,
            **({} if statistics is None else {"stats_cb": statistics, "statistics.interval.ms": 1_000}),
        },
        logger=_log,
    )


def consumer(brokers: Configuration, group: str) -> Consumer:
    """Open a member of a group that starts with the oldest message and commits only when told to."""
    return Consumer(
        {
            **brokers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            # A loader that was killed keeps its partitions from the others for so long.
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 1_500,
            # The longest that a warehouse may keep an insert.
            "max.poll.interval.ms": 600_000,
            "fetch.wait.max.ms": 100,
            # What is fetched but not yet read, and at once: compressed to a fifth of what it takes up here.
            "queued.max.messages.kbytes": 16_384,
            "fetch.max.bytes": 4_194_304,
            "fetch.message.max.bytes": 262_144,
            # A full queue stops the fetching for so long. By default it is a second, of which a loader that is behind
            # spent half with nothing to do.
            "fetch.queue.backoff.ms": 20,
            # A topic that appears later is found within this time.
            "topic.metadata.refresh.interval.ms": 5_000,
            "allow.auto.create.topics": False,
        },
        logger=_log,
    )


def ensure_topics(brokers: Configuration, topics: Iterable[str], copies_max: int) -> None:
    """Make the topics that are missing, each message kept on as many brokers as there are, ``copies_max`` at most.

    Raises:
        KafkaAwayError: they could not be made.
    """
    heard: list[str] = []
    options: dict[str, Any] = {**brokers, "error_cb": lambda error: heard.append(error.str())}
    administration = AdminClient(options, logger=_log)
    try:
        cluster = administration.list_topics(timeout=ANSWER_SECONDS)
        known = cluster.topics
        copies = min(copies_max, len(cluster.brokers))
        # With two copies or more, one of them may be away and writing goes on.
        settings = {"min.insync.replicas": str(max(1, copies - 1)), "compression.type": "producer"}
        missing = [
            NewTopic(topic, num_partitions=PARTITIONS, replication_factor=copies, config=settings)
            for topic in topics
            if topic not in known
        ]
        if not missing:
            return
        for made in administration.create_topics(missing, operation_timeout=ANSWER_SECONDS).values():
            try:
                made.result(ANSWER_SECONDS)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except (KafkaException, TimeoutError) as error:
        administration.poll(HEARING_SECONDS)
        raise KafkaAwayError(_reason(error, heard)) from error


def _reason(error: Exception, heard: list[str]) -> str:
    """Return why Kafka cannot be reached: that nobody answers says less than what was heard meanwhile."""
    telling = [sentence for sentence in heard if "SSL" in sentence or "uthenticat" in sentence]
    what = (telling or heard or [""])[-1]
    return f"{what} ({error})" if what else str(error)


def ends(brokers: Configuration, group: str, topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """Return where each partition of the topics ends now: its next message's offset.

    Raises:
        KafkaAwayError: nobody answers.
    """
    with _asking(brokers, group) as asking:
        return {
            (partition.topic, partition.partition): asking.get_watermark_offsets(partition, timeout=ANSWER_SECONDS)[1]
            for partition in _partitions(asking, topics)
        }


def last_messages(brokers: Configuration, group: str, topics: Iterable[str]) -> list[bytes]:
    """Return the last messages of each partition of the topics: one or two, the mark of a transaction may be the last.

    Raises:
        KafkaAwayError: nobody answers, or some of them do not come.
    """
    with _asking({**brokers, "enable.partition.eof": "true"}, group) as asking:
        deadline = time.monotonic() + ANSWER_SECONDS
        begun = []
        for partition in _partitions(asking, topics):
            low, end = _watermarks(asking, partition, deadline)
            if end > low:
                begun.append(TopicPartition(partition.topic, partition.partition, max(low, end - 2)))
        left = {(one.topic, one.partition) for one in begun}
        found = []
        asking.assign(begun)
        while left:
            if time.monotonic() > deadline:
                raise KafkaAwayError("Kafka does not give the last messages of its topics")
            for message in asking.consume(len(left), timeout=0.2):
                error = message.error()
                if error is None:
                    found.append(message.value() or b"")
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public name
                    left.discard((message.topic() or "", message.partition() or 0))
        return found


def _watermarks(asking: Consumer, partition: TopicPartition, deadline: float) -> tuple[int, int]:
    """Return where a partition begins and ends; one that was just made has no leader for a moment."""
    while True:
        try:
            low, end = asking.get_watermark_offsets(partition, timeout=ANSWER_SECONDS)
        except KafkaException as error:
            if error.args[0].code() not in LEADERLESS or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return low, end


def wait_until_read(
    brokers: Configuration,
    group: str,
    wanted: Mapping[tuple[str, int], int],
    deadline: float,
    look: Callable[[], None] = lambda: None,
) -> bool:
    """Wait until a group has committed all of these offsets, or the deadline of the monotonic clock; say which.

    Raises:
        KafkaAwayError: nobody answers.
    """
    partitions = [TopicPartition(topic, number) for (topic, number), offset in wanted.items() if offset > 0]
    with _asking(brokers, group) as asking:
        while partitions:
            read = asking.committed(partitions, timeout=ANSWER_SECONDS)
            partitions = [one for one in read if one.offset < wanted[one.topic, one.partition]]
            if partitions and time.monotonic() > deadline:
                return False
            look()
            if partitions:
                time.sleep(0.05)
    return True


class _asking:  # noqa: N801 - a context, read as a verb
    """A consumer that belongs to no group's work: it only asks about it."""

    def __init__(self, brokers: Configuration, group: str) -> None:
        self._consumer = Consumer({**brokers, "group.id": group, "enable.auto.commit": False}, logger=_log)

    def __enter__(self) -> Consumer:
        return self._consumer

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._consumer.close()
        if isinstance(error, KafkaException):
            raise KafkaAwayError(str(error)) from error


def _partitions(consumer: Consumer, topics: Iterable[str]) -> list[TopicPartition]:
    known = consumer.list_topics(timeout=ANSWER_SECONDS).topics
    return [TopicPartition(topic, number) for topic in topics if topic in known for number in known[topic].partitions]
