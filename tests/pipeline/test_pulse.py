"""What the pipeline says of itself: processes, canaries, metrics, and a slot that was lost."""

import json
import threading
import urllib.request

import pytest
from clickhouse_connect.driver.client import Client
from msgspec.structs import replace
from pipeline_rows import Books, books, running_pipeline, warehouse

from countroom.embedded.process import free_port
from countroom.events import meters, slot
from countroom.settings import Settings
from countroom.warehouse import pipeline, reconcile
from patience import until


def said(book: Books) -> list[tuple[str, str, bool]]:
    """Role, state, and whether it has said goodbye; the newest first."""
    return book.ask("SELECT role, state, ended_at IS NOT NULL FROM pipeline_processes ORDER BY started_at DESC")


def test_a_process_says_what_it_does_and_its_canaries_arrive(settings: Settings) -> None:
    with books(settings) as book, warehouse(settings) as client:
        user = book.player()
        with running_pipeline(settings):
            until(lambda: said(book) == [("pipeline", "following", False)])
            before = meters.total(meters.rows)
            book.move_many(user, 100)
            until(lambda: meters.total(meters.rows) >= before + 100)
            until(lambda: book.ask("SELECT bool_or((figures ->> 'rows')::float >= 100) FROM pipeline_processes")[0][0])
            until(lambda: canaries(client) > 1)
        assert {(role, state, ended) for role, state, ended in said(book)} == {("pipeline", "ended", True)}
        early = client.query("SELECT countIf(arrived_at < sent_at) FROM canaries").first_row
        assert early == (0,)
        # The proof compares facts, and canaries are none.
        assert book.ask("SELECT count(*) FROM canaries") == [(1,)]


def canaries(client: Client) -> int:
    return int(client.query("SELECT uniqExact(sent_at) FROM canaries").result_rows[0][0])


def test_prometheus_is_answered_and_a_port_in_use_is_said() -> None:
    port = free_port()
    with meters.serving("127.0.0.1", port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        with pytest.raises(meters.PortInUse, match="COUNTROOM_METRICS_PORT"), meters.serving("127.0.0.1", port):
            pass
    for name in ("visible_seconds_bucket", "batch_rows_bucket", "batch_seconds_bucket", "settlements_total"):
        assert f"countroom_pipeline_{name}" in text
    assert "process_resident_memory_bytes" in text


def test_statistics_of_a_producer_become_counts() -> None:
    heard = meters.Statistics()
    before = meters.rows.labels("elsewhere")._value.get()
    for sent in (3, 10):
        partitions = {"0": {"txmsgs": sent, "txbytes": 50}, "-1": {}}
        heard.hear(json.dumps({"msg_cnt": 4, "topics": {"elsewhere": {"partitions": partitions}}}))
    assert meters.rows.labels("elsewhere")._value.get() == before + 10
    assert meters.size.labels("elsewhere")._value.get() >= 50


def lose_slot(book: Books, name: str) -> None:
    """Let PostgreSQL remove log that the slot has not read, as it does when a disk would fill up."""
    try:
        book.ask("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        book.ask("SELECT pg_reload_conf()")
        for _ in range(3):
            book.ask("SELECT pg_logical_emit_message(false, 'countroom', 'test')")
            book.ask("SELECT pg_switch_wal()")
        until(lambda: _is_lost(book, name))
    finally:
        book.ask("ALTER SYSTEM RESET max_slot_wal_keep_size")
        book.ask("SELECT pg_reload_conf()")


def _is_lost(book: Books, name: str) -> bool:
    book.ask("CHECKPOINT")
    found = slot.find(book.connection, name)
    return found is not None and found.is_lost


def test_a_slot_whose_log_was_removed_stops_the_pipeline_or_is_made_again(settings: Settings) -> None:
    with books(settings) as book:
        user = book.player()
        ids = book.move_many(user, 50)
        with running_pipeline(settings):
            book.wait_for_copy(settings)
        name = slot.identify(book.connection).slot
        until(lambda: not _is_read(book, name))
        book.cancel(*ids[::2])
        lose_slot(book, name)
        with pytest.raises(slot.SlotLost, match="COUNTROOM_LOST_SLOT=copy"):
            pipeline.run(replace(settings, lost_slot="stop"), threading.Event())
        assert said(book)[0][1:] == ("ended", True)
        assert (
            "max_slot_wal_keep_size"
            in book.ask("SELECT sentence FROM pipeline_processes ORDER BY started_at DESC")[0][0]
        )
        # What is about to be copied anew is not compared: its rows would all seem to have moved.
        refused = reconcile.compare(settings, deadline_seconds=0.1)
        assert not refused.holds
        assert "have not been copied anew" in refused.violations[0]
        with running_pipeline(settings):
            proof = reconcile.compare(settings)
    assert proof.violations == ()
    assert proof.compared == 51


def _is_read(book: Books, name: str) -> bool:
    found = slot.find(book.connection, name)
    return found is not None and found.is_active
