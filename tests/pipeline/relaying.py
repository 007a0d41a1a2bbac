"""Relays in threads and processes, and a stranger that reads the topics."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from countroom import kafka
from countroom.events import catalog, relay
from countroom.settings import Settings

RELAY = """
import os, threading
from countroom.events import relay
relay.run(os.environ["DATABASE_URL"], {"bootstrap.servers": os.environ["SERVERS"]}, threading.Event())
"""


@dataclass(frozen=True)
class Read:
    """One message as a stranger finds it."""

    topic: str
    partition: int
    key: str
    body: dict[str, Any]


@contextmanager
def running_relay(
    settings: Settings, brokers: kafka.Configuration, copy: relay.Copy = "missing"
) -> Iterator[threading.Thread]:
    """The relay in a thread of this process."""
    assert settings.database_url
    stop = threading.Event()
    thread = threading.Thread(target=relay.run, args=(settings.database_url, brokers, stop, copy), daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def process(program: str, settings: Settings, brokers: kafka.Configuration) -> Iterator[subprocess.Popen[bytes]]:
    """A program of its own; killed with -9 at the end."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DATABASE_URL": settings.database_url or "",
        "CLICKHOUSE_URL": settings.clickhouse_url or "",
        "SERVERS": brokers["bootstrap.servers"],
    }
    started = subprocess.Popen([sys.executable, "-c", program], env=environment)
    try:
        yield started
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()


def everything(brokers: kafka.Configuration, topics: Sequence[str] = tuple(catalog.TABLES)) -> list[Read]:
    """All that the topics hold now, each partition in its order."""
    ends = kafka.ends(brokers, "stranger", topics)
    with closing(Consumer({**brokers, "group.id": "stranger", "enable.auto.commit": False})) as consumer:
        consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in ends])
        left = sum(ends.values())
        found = []
        while left:
            batch = consumer.consume(min(left, 10_000), timeout=20)
            assert batch, f"{left} messages have not arrived"
            left -= len(batch)
            found += [
                Read(
                    one.topic() or "", one.partition() or 0, (one.key() or b"").decode(), json.loads(one.value() or b"")
                )
                for one in batch
            ]
        return found


def latest(messages: Sequence[Read], topic: str) -> dict[str, dict[str, Any]]:
    """What a reader of a topic ends up with: of each id, the message with the highest position."""
    rows: dict[str, dict[str, Any]] = {}
    for message in messages:
        if message.topic == topic:
            known = rows.get(message.body["id"])
            if known is None or message.body["__lsn"] >= known["__lsn"]:
                rows[message.body["id"]] = message.body
    return rows
