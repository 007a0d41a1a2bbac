"""Debezium in the relay's place: the same messages, and a way to it and back on which nothing is lost or doubled."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import jsonschema
import msgspec
import pytest
from pipeline_rows import NOON, Books, books, running_pipeline
from relaying import Read, everything, running_relay
from test_consume import running_loader

from countroom import kafka as tap
from countroom.embedded import connect as embedded_connect
from countroom.embedded import debezium as embedded_debezium
from countroom.embedded.connect import Connect
from countroom.events import catalog, debezium, slot
from countroom.kafka import Configuration
from countroom.settings import Settings
from countroom.warehouse import reconcile
from patience import until

CONTRACT: Final = Path(__file__).parents[2] / "docs" / "contract"
PREFIX: Final = "debezium."
"""Of Debezium's topics, so that the relay's lie beside them."""
SENT: Final = "SELECT coalesce(min(confirmed_flush_lsn) - '0/0', 0) FROM pg_replication_slots WHERE slot_name = ANY(%s)"

WHO_READS: Final = (
    "SELECT role, state FROM pipeline_processes WHERE role IN ('relay', 'debezium', 'pipeline') AND ended_at IS NULL"
)


@pytest.fixture
def connect(settings: Settings, brokers: Configuration) -> Iterator[Connect]:
    """Kafka Connect, for the database of this test."""
    assert settings.database_url
    variables = embedded_connect.environment(settings.database_url)
    worker = Connect(settings.data_dir, brokers["bootstrap.servers"], variables)
    worker.start()
    yield worker
    worker.stop()


def wait_until_sent(book: Books, *slots: str) -> None:
    """Wait until everything committed so far has been confirmed by the readers of these slots."""
    lsn = int(book.ask("SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0])
    book.ask("SELECT pg_logical_emit_message(true, 'countroom', 'test')")
    until(lambda: book.ask(SENT, (list(slots),))[0][0] >= lsn, 40)


def write_extremes(book: Books, number: int) -> None:
    """Rows with all that the columns can hold, and updates that leave most of it alone."""
    user = book.player(datetime(1, 1, 1, tzinfo=UTC) if number else NOON)
    large = {"note": "ж\u2028\U0001f3b0" * 450}  # 4,062 bytes of 4,096
    bet = book.move(user, "bet", "0.01", metadata=large, external_id=f'{number}a"b\\c/\t\x01\u007f ☃\U0001f3b0')
    moments = [
        NOON.replace(microsecond=100_000), NOON.replace(microsecond=1), NOON.replace(microsecond=123_456),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(1582, 10, 10, 12, tzinfo=UTC), datetime(1900, 2, 28, 23, 30, tzinfo=UTC),
    ]  # fmt: skip
    for moment in moments:
        book.move(user, "win", "9999999999999999.99", at=moment, processed=moment)
    book.move(user, "bonus", "-9999999999999999.99", wallet="bonus")
    book.move(user, "adjustment", "-0.01", currency="JPY", status="pending")
    book.move(user, "deposit", "100", currency="JPY", status="failed")
    numbers = {"a": [1.50, None, True, -0.0, 1e-7, 123456789012345678901234567890], "": {"x.y": {}}, "ключ": "\\u0000"}
    odd = book.move(user, "withdrawal", "0.00", metadata=numbers, status="pending")
    book.ask("UPDATE transactions SET provider = NULL, game_id = gen_random_uuid() WHERE id = %s", (str(odd),))
    book.round(user, "0.00", "9999999999999999.99", currency="JPY")
    closed = book.round(user, "10.50", "0.00")
    book.ask("UPDATE game_rounds SET status = 'settled', closed_at = now() WHERE id = %s", (str(closed),))
    book.ask("UPDATE users SET country = NULL, kyc_status = 'verified', status = 'closed' WHERE id = %s", (str(user),))
    book.cancel(bet)


def split(messages: list[Read]) -> tuple[list[Read], dict[tuple[str, int], list[tuple[str, dict[str, Any]]]]]:
    """The copied rows, and the changes of each partition in their order."""
    changes: dict[tuple[str, int], list[tuple[str, dict[str, Any]]]] = {}
    for one in messages:
        if one.body["__op"] != "r":
            changes.setdefault((one.topic.removeprefix(PREFIX), one.partition), []).append((one.key, one.body))
    return [one for one in messages if one.body["__op"] == "r"], changes


def canaries(brokers: Configuration, topic: str) -> dict[int, tuple[int, str, dict[str, Any]]]:
    """The canaries that a topic holds, by position. They are sent without end: one reader may have more of them."""
    return {one.body["__lsn"]: (one.partition, one.key, one.body) for one in everything(brokers, [topic])}


def copied(rows: list[Read]) -> list[tuple[str, int, str, dict[str, Any]]]:
    """Copied rows without when and where they were copied: the two copies are made one after the other."""
    bodies = [{name: value for name, value in one.body.items() if name not in {"__lsn", "__ts_us"}} for one in rows]
    found = [
        (one.topic.removeprefix(PREFIX), one.partition, one.key, body) for one, body in zip(rows, bodies, strict=True)
    ]
    return sorted(found, key=lambda row: (row[0], row[3]["id"]))


def test_debezium_and_the_relay_make_the_same_messages_of_the_same_log(
    settings: Settings, brokers: Configuration, connect: Connect
) -> None:
    tap.ensure_topics(brokers, [PREFIX + name for name in catalog.PUBLISHED], copies_max=1)
    connector = debezium.Connector(connect.url)
    with books(settings) as book:
        ours = slot.identify(book.connection).slot
        theirs = ours + "_debezium"
        write_extremes(book, 0)
        # Debezium's own copy of the tables is compared, too, though an installation has the relay's.
        changed = {"slot.name": theirs, "snapshot.mode": "initial", "transforms.route.replacement": PREFIX + "$1"}
        connector.begin(changed)
        wait_until_sent(book, theirs)
        with running_relay(settings, brokers):
            until(lambda: bool(book.ask("SELECT 1 FROM relay_copies WHERE topic = 'users'")))
            write_extremes(book, 1)
            wait_until_sent(book, ours, theirs)
        connector.remove()
        until(lambda: book.ask("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (theirs,)) == [(False,)])
        book.ask("SELECT pg_drop_replication_slot(%s)", (theirs,))
    relayed, its = everything(brokers), everything(brokers, [PREFIX + name for name in catalog.TABLES])
    our_canaries, their_canaries = canaries(brokers, "canaries"), canaries(brokers, PREFIX + "canaries")
    both = our_canaries.keys() & their_canaries.keys()
    assert {lsn: their_canaries[lsn] for lsn in both} == {lsn: our_canaries[lsn] for lsn in both}

    our_rows, our_changes = split(relayed)
    their_rows, their_changes = split(its)
    assert their_changes == our_changes
    assert copied(their_rows) == copied(our_rows)
    assert {one.body["__op"] for one in relayed} == {"r", "c", "u"}
    assert len(our_rows) > 12
    assert {name: sum(topic == name for topic, _ in our_changes) > 0 for name in catalog.TABLES} == dict.fromkeys(
        catalog.TABLES, True
    )
    schemas = {topic: json.loads((CONTRACT / f"{topic}.schema.json").read_text()) for topic in catalog.TABLES}
    for one in its:
        jsonschema.validate(one.body, schemas[one.topic.removeprefix(PREFIX)])
    amounts = {Decimal(one.body["amount"]) for one in its if one.topic.endswith("transactions")}
    assert {Decimal("-9999999999999999.99"), Decimal("9999999999999999.99"), Decimal(0)} < amounts


def test_the_connector_names_the_tables_and_columns_of_the_contract_and_no_others() -> None:
    config = json.loads(debezium.CONNECTOR.read_text())["config"]
    columns = ",".join(f"public.{one.name}.({'|'.join(one.columns)})" for one in catalog.PUBLISHED.values())

    assert config["table.include.list"] == ",".join(f"public.{name}" for name in catalog.PUBLISHED)
    assert config["column.include.list"] == columns
    assert config["message.key.columns"] == ";".join(
        f"public.{one.name}:{one.key}" for one in catalog.PUBLISHED.values()
    )
    assert config["publication.name"] == catalog.PUBLICATION


@contextmanager
def running_debezium(settings: Settings) -> Iterator[None]:
    """`countroom debezium` in a thread of this process."""
    stop = threading.Event()
    thread = threading.Thread(target=embedded_debezium.run, args=(settings, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def test_the_way_can_be_changed_to_debezium_and_back_while_facts_flow_and_something_is_killed(
    settings: Settings, brokers: Configuration
) -> None:
    through_kafka = msgspec.structs.replace(settings, kafka_servers=brokers["bootstrap.servers"])
    with books(settings) as book:
        user, other = book.player(), book.player()
        ids = book.move_many(user, 300)
        with running_pipeline(settings):  # directly
            book.wait_for_copy(settings)
            ids += book.move_many(other, 300)
        book.cancel(*ids[::7])  # while nobody reads
        with running_loader(settings, brokers):
            with running_debezium(through_kafka):
                ids += book.move_many(user, 300)
                proved(through_kafka)
                assert book.ask(WHO_READS) == [("debezium", "following")]
                ids += book.move_many(user, 300)
                book.cancel(*ids[2::7])
                os.kill(int((settings.data_dir / "connect" / "connect.pid").read_text()), signal.SIGKILL)
                ids += book.move_many(other, 300)
            with running_relay(settings, brokers):
                book.cancel(*ids[3::7])
                proved(through_kafka)
            ids += book.move_many(user, 300)
            with running_debezium(through_kafka):  # what Connect remembers is behind the slot by now
                proved(through_kafka)
        with running_pipeline(settings):
            book.cancel(*ids[4::7])
            ids += book.move_many(other, 300)
            assert proved(settings) == len(ids) + 2
        sent = [one for one in everything(brokers) if one.topic == "transactions"]
        assert {one.body["__op"] for one in sent} == {"r", "c", "u"}


def proved(settings: Settings) -> int:
    """Prove P6; return how many rows were compared."""
    proof = reconcile.compare(settings, deadline_seconds=60)
    assert proof.violations == ()
    return proof.compared
