"""The warehouse made anew while everything runs: exact, whatever lands meanwhile and whatever is killed."""

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Final

import pytest
from clickhouse_connect.driver.client import Client
from pipeline_rows import NOON, Books, books, running_pipeline, warehouse
from relaying import process

from countroom.settings import Settings
from countroom.warehouse import rebuild, reconcile
from countroom.warehouse.shadow import Shadow
from patience import until

BROKEN_OFF: Final = """
import os, time
from countroom.settings import load
from countroom.warehouse import rebuild
rebuild.CHUNK_ROWS = 400
rebuild.rebuild(load(os.environ), heard=lambda topic, rows, of: rows and time.sleep(60))
"""
EARLIER: Final = datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC)
DAY: Final = date(2026, 3, 10)


@contextmanager
def writing(settings: Settings, book: Books, ids: list[str]) -> Iterator[None]:
    """Rows of one player are inserted and changed all the time, in transactions that stay open for a while."""
    stop = threading.Event()
    user = book.player()

    def write() -> None:
        chance = random.Random(7)  # noqa: S311 - any will do
        with books(settings) as mine:
            while not stop.is_set():
                mine.connection.autocommit = False
                ids.extend(mine.move_many(user, 20))
                stop.wait(0.02)
                mine.cancel(*chance.sample(ids, 5))
                mine.round(user, "1.00", "0.37")
                mine.connection.commit()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def corrupt(client: Client, lost: str, changed: str) -> None:
    """Lose a row, change one, and add one that PostgreSQL does not have."""
    for change, identity in (("generateUUIDv4() AS transaction_id", lost), ("amount + 1 AS amount", changed)):
        row = f"SELECT * FROM events_transactions FINAL WHERE transaction_id = '{identity}'"
        client.command(f"INSERT INTO events_transactions SELECT * REPLACE ({change}) FROM ({row})")
    client.command(
        f"ALTER TABLE events_transactions DELETE WHERE transaction_id = '{lost}' SETTINGS mutations_sync = 1"
    )


def test_a_rebuild_under_load_killed_and_resumed_gives_exactly_what_postgresql_has(settings: Settings) -> None:
    with books(settings) as book, running_pipeline(settings), warehouse(settings) as client:
        user = book.player()
        ids = book.move_many(user, 1_000)
        odd = book.move(user, "bet", "0.01", metadata={"a\tb": "\\N\n☃\U0001f3b0", "c": {"d.e": [1.5, None]}})
        book.wait_for_copy(settings)
        with writing(settings, book, ids):
            corrupt(client, ids[3], ids[5])
            assert not reconcile.compare(settings).holds
            with process(BROKEN_OFF, settings, {"bootstrap.servers": ""}) as broken:
                until(lambda: bool(client.command("EXISTS TABLE rebuilds")), 40)
                until(lambda: bool(client.query("SELECT 1 FROM rebuilds WHERE rows > 0").result_rows), 40)
                broken.send_signal(signal.SIGKILL)
                broken.wait()
            assert not reconcile.compare(settings).holds  # nothing has changed for those who read
            with pytest.raises(rebuild.OtherRebuild, match="broken off"):
                rebuild.rebuild(settings, from_day=DAY)
            until(lambda: rebuilt(settings), 20)  # once PostgreSQL knows that the killed one has gone
            assert reconcile.compare(settings).violations == ()
        assert client.query("SELECT name FROM system.tables WHERE name LIKE '%_rebuild%'").result_rows == []
        stored = client.query(
            f"SELECT metadata FROM events_transactions FINAL WHERE transaction_id = '{odd}'"
        ).result_rows
        assert stored == [({"a\tb": "\\N\n☃\U0001f3b0", "c": {"d.e": [1.5, None]}},)]


def rebuilt(settings: Settings) -> bool:
    try:
        found = rebuild.rebuild(settings)
    except rebuild.RebuildRuns:
        return False
    assert [one.topic for one in found] == ["transactions", "game_rounds", "users"]
    assert found[0].rows > 1_000
    return True


def test_from_a_day_on_leaves_earlier_rows_and_an_exchange_is_never_made_twice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with books(settings) as book, running_pipeline(settings), warehouse(settings) as client:
        user = book.player(NOON)
        earlier = book.move_many(user, 10, at=EARLIER)
        later = book.move_many(user, 10)
        book.wait_for_copy(settings)
        assert reconcile.compare(settings).holds
        corrupt(client, earlier[0], earlier[1])
        corrupt(client, later[0], later[1])
        [of_days] = rebuild.rebuild(settings, ["transactions"], from_day=DAY)
        assert of_days.rows == 10
        found = " ".join(reconcile.compare(settings).violations)
        assert earlier[0] in found
        assert earlier[1] in found
        assert later[0] not in found
        assert later[1] not in found

        real = Shadow.exchange

        def killed(shadow: Shadow) -> None:
            real(shadow)
            raise KeyboardInterrupt

        monkeypatch.setattr(Shadow, "exchange", killed)
        with pytest.raises(KeyboardInterrupt):
            rebuild.rebuild(settings, ["transactions"])
        rebuild.rebuild(settings, ["transactions"])
        assert reconcile.compare(settings).violations == ()
