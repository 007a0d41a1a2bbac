"""Readers that nobody here wrote find in the topics what the published schemas say."""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.partitioner import DefaultPartitioner
from jsonschema import Draft202012Validator
from pipeline_rows import Books, books
from relaying import everything, running_relay

from countroom import kafka
from countroom.embedded import kafka as embedded_kafka
from countroom.events import catalog
from countroom.kafka import Configuration
from countroom.settings import Settings
from patience import until

CONTRACT = Path(__file__).parents[2] / "docs" / "contract"


class Found(NamedTuple):
    """A message as some reader shows it."""

    topic: str
    key: str
    value: str


def some_facts(book: Books) -> None:
    """Facts of every topic, a change among them, and text that is awkward to carry."""
    for _ in range(3):
        user = book.player()
        deposit = book.move(user, "deposit", "10.50")
        book.move(user, "bet", "9999999999999999.99")
        book.round(user, "1.00", "0.00")
        book.cancel(deposit)


def valid(found: Sequence[Found]) -> list[Found]:
    """Hold messages to the documents that are published for their readers, and return them in one order."""
    for message in found:
        schema = json.loads((CONTRACT / f"{message.topic}.schema.json").read_text())
        body: dict[str, Any] = json.loads(message.value)
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(body)
        assert message.key == body[catalog.TABLES[message.topic].key]
    return sorted(found)


def by_console_consumer(brokers: Configuration, topic: str, count: int) -> list[Found]:
    """Read so many messages of a topic by Kafka's own command-line tool."""
    command = embedded_kafka.command(embedded_kafka.find_java(), embedded_kafka.JARS, "-Xmx128m")
    done = subprocess.run(
        [
            *command, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server",
            brokers["bootstrap.servers"], "--topic", topic, "--from-beginning", "--max-messages", str(count),
            "--formatter-property", "print.key=true", "--formatter-property", "key.separator=|",
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert f"Processed a total of {count} messages" in done.stderr, done.stderr
    return [Found(topic, *line.split("|", 1)) for line in done.stdout.splitlines()]


async def by_aiokafka(brokers: Configuration, count: int) -> tuple[list[Found], dict[str, int]]:
    """Read so many messages by a client in pure Python; return them, and the partition of each key."""
    consumer = AIOKafkaConsumer(
        *catalog.TABLES, bootstrap_servers=brokers["bootstrap.servers"], auto_offset_reset="earliest"
    )
    found: list[Found] = []
    partitions: dict[str, int] = {}
    async with asyncio.timeout(30), consumer:
        async for record in consumer:
            found.append(Found(record.topic, record.key.decode(), record.value.decode()))
            partitions[record.key.decode()] = record.partition
            if len(found) == count:
                break
    return found, partitions


async def test_strangers_read_the_topics_and_find_the_contract(settings: Settings, brokers: Configuration) -> None:
    with books(settings) as book:
        some_facts(book)
        with running_relay(settings, brokers):
            until(lambda: bool(book.ask("SELECT 1 FROM pg_replication_slots WHERE active")), 40)
            some_facts(book)
            lsn = book.ask("SELECT pg_current_wal_insert_lsn()")[0][0]
            book.ask("SELECT pg_logical_emit_message(true, 'countroom', 'test')")
            confirmed = "SELECT 1 FROM pg_replication_slots WHERE confirmed_flush_lsn >= %s::pg_lsn"
            until(lambda: bool(book.ask(confirmed, (lsn,))), 40)
    ours = everything(brokers)

    read, partitions = await by_aiokafka(brokers, len(ours))
    told = valid(read)
    counts = Counter(message.topic for message in ours)
    assert counts.keys() == catalog.TABLES.keys()
    shown = await asyncio.gather(
        *(asyncio.to_thread(by_console_consumer, brokers, topic, count) for topic, count in counts.items())
    )
    assert told == valid([message for topic in shown for message in topic])
    assert sorted((one.topic, one.key, json.dumps(json.loads(one.value))) for one in told) == sorted(
        (one.topic, one.key, json.dumps(one.body)) for one in ours
    )
    every = list(range(kafka.PARTITIONS))
    assert partitions == {key: DefaultPartitioner()(key.encode(), every, every) for key in partitions}
