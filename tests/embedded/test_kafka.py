"""Apache Kafka starts here, keeps what it acknowledged, and says what it needs where it cannot."""

import signal
from pathlib import Path

import pytest
from confluent_kafka import Message

from countroom import kafka as tap
from countroom.embedded import kafka as embedded
from countroom.embedded.kafka import Kafka
from countroom.embedded.process import StoreFailed


def read(broker: Kafka, topic: str, count: int) -> list[Message]:
    consumer = tap.consumer({"bootstrap.servers": broker.url}, f"reader-of-{topic}")
    try:
        consumer.subscribe([topic])
        found: list[Message] = []
        while len(found) < count:
            batch = consumer.consume(count, timeout=20)
            assert batch, f"only {len(found)} of {count} messages arrived"
            found += batch
        return found
    finally:
        consumer.close()


def test_what_kafka_has_acknowledged_survives_kill_9_once_and_in_order(kafka: Kafka) -> None:
    brokers = {"bootstrap.servers": kafka.url}
    tap.ensure_topics(brokers, ["survives"], copies_max=3)
    tap.ensure_topics(brokers, ["survives"], copies_max=3)  # again: nothing to do
    producer = tap.producer(brokers)
    for number in range(2_000):
        producer.produce("survives", str(number), "one-player")
        if number == 1_000:
            producer.flush()
            assert kafka.process is not None
            kafka.process.send_signal(signal.SIGKILL)
            kafka.process.wait()
            assert not kafka.is_running()
            kafka.start()  # on the same port
    producer.flush()

    assert [int(message.value() or b"") for message in read(kafka, "survives", 2_000)] == list(range(2_000))


def test_a_group_has_read_what_it_has_committed(kafka: Kafka) -> None:
    brokers = {"bootstrap.servers": kafka.url}
    tap.ensure_topics(brokers, ["committed"], copies_max=3)
    producer = tap.producer(brokers)
    producer.produce("committed", "fact", "player")
    producer.flush()
    consumer = tap.consumer(brokers, "group")
    consumer.subscribe(["committed"])
    [message] = consumer.consume(1, timeout=20)
    ends = tap.ends(brokers, "group", ["committed", "of-which-there-is-none"])

    assert sorted(ends.values()) == [0] * (tap.PARTITIONS - 1) + [1]
    assert not tap.wait_until_read(brokers, "group", ends, deadline=0)
    consumer.commit(message=message, asynchronous=False)
    assert tap.wait_until_read(brokers, "group", ends, deadline=0)
    consumer.close()


def test_a_machine_without_java_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreFailed, match=r"default-jre-headless maven.*requirements/install kafka"):
        Kafka(tmp_path / "data").start()


def test_an_environment_without_the_jars_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "JARS", tmp_path / "none")
    with pytest.raises(StoreFailed, match="requirements/install kafka"):
        Kafka(tmp_path / "data").start()


def test_the_java_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(StoreFailed, match="Java 17 or newer"):
        embedded.find_java()
