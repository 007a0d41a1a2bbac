"""`countroom debezium`: Kafka Connect with Debezium carries the log into Kafka's topics, in the relay's place.

The tables are copied to the topics as the relay copies them, and the relay's lock is held, so that one or the other
works. Then Connect is started here, with the connector that ``deploy/debezium/`` has for operators, and watched.
"""

import threading
from contextlib import suppress
from functools import partial
from typing import Final

import psycopg2
import structlog
from confluent_kafka import KafkaException

from countroom import kafka
from countroom.embedded import connect
from countroom.events import catalog, debezium, pulse, relay, slot, wal
from countroom.events.stream import keep_trying
from countroom.refusal import Refusal
from countroom.settings import Settings

RETRY_SECONDS: Final = 2.0
WATCH_SECONDS: Final = 1.0

PASSING: Final = (
    psycopg2.Error,
    KafkaException,
    kafka.KafkaAwayError,
    wal.SlotInUseError,
    catalog.ContractMismatchError,
    debezium.ConnectAwayError,
)

_log = structlog.get_logger("debezium")


class NotOurKafka(Refusal):
    """The embedded Kafka Connect cannot use the client's properties that the settings name."""

    kind = "conflict"
    code = "kafka_properties_are_not_for_java"


def run(settings: Settings, stop: threading.Event) -> None:
    """Move committed facts into Kafka's topics by Debezium, until ``stop`` is set.

    Raises:
        StoreFailed: Java or the jars are missing, or Connect does not start.
        NotOurKafka: Kafka is reached by properties of librdkafka.
        SlotLost: log was removed unread, and the settings say to stop then.
    """
    brokers = kafka.configuration(settings)
    if settings.kafka_properties is not None:
        raise NotOurKafka(
            "COUNTROOM_KAFKA_PROPERTIES has librdkafka's properties, which Java's clients do not know: run Kafka "
            "Connect yourself, with deploy/debezium/worker.properties and connector.json."
        )
    connect.find_java()
    assert settings.database_url is not None
    # Debezium says nothing of itself: its watcher does.
    with pulse.beating(settings.database_url, "debezium"), suppress(relay.Stopped):
        keep_trying(partial(_session, settings, brokers, stop), PASSING, stop, RETRY_SECONDS)


def _session(settings: Settings, brokers: kafka.Configuration, stop: threading.Event) -> None:
    assert settings.database_url is not None
    assert settings.kafka_servers is not None
    wish = relay.Wish("missing", settings.lost_slot)
    with relay.copied(settings.database_url, brokers, stop, wish) as (lock, name, _):
        worker = connect.Connect(settings.data_dir, settings.kafka_servers, connect.environment(settings.database_url))
        try:
            worker.start()
            connector = debezium.Connector(worker.url)
            connector.begin()
            pulse.say("following", f"by Debezium in Kafka Connect, {worker.url}")
            _log.info("Debezium follows the log", slot=name, connect=worker.url)
            while not stop.wait(WATCH_SECONDS):
                found = slot.find(lock, name)  # raises when PostgreSQL has gone, and the lock with it
                if found is None or found.is_lost:
                    return  # copy the tables again
                reason = connector.failure()
                if reason is not None:
                    pulse.say("retrying", reason)
                    _log.warning("Debezium stopped; starting it again", reason=reason)
                    connector.restart()
        finally:
            worker.stop()
