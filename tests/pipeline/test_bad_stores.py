"""Stores in states in which nothing can be loaded: nothing is lost, the state is clear, and it goes on by itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import pytest
from clickhouse_connect.driver.client import Client
from msgspec.structs import replace
from pipeline_rows import Books, books, running_pipeline, warehouse
from test_load import message

from countroom.events import contract, slot
from countroom.events.backwards import PositionsBackwards
from countroom.events.wal import Message
from countroom.settings import Settings
from countroom.warehouse import evolve, pipeline, schema
from countroom.warehouse.load import ABOUT_DATA, Loader, WarehouseAwayError
from patience import until

TABLES_OF_LANDING = {f"landing_{topic}" for topic in contract.MESSAGES}


def sentence(book: Books) -> str:
    """What the process that started last says of itself."""
    found = book.ask("SELECT state || ': ' || sentence FROM pipeline_processes ORDER BY started_at DESC LIMIT 1")
    return str(found[0][0]) if found else ""


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[Client, Loader, list[Message]]]:
    assert settings.clickhouse_url
    schema.migrate(settings.clickhouse_url)
    kept: list[Message] = []
    with warehouse(settings) as client:
        yield client, Loader(client, lambda one, _: kept.append(one)), kept


@pytest.mark.parametrize(
    ("broken", "mended", "said"),
    [
        (
            "ALTER TABLE players MODIFY SETTING parts_to_throw_insert = 1",
            "ALTER TABLE players RESET SETTING parts_to_throw_insert",
            "Too many parts",
        ),
        ("RENAME TABLE players TO elsewhere", "RENAME TABLE elsewhere TO players", "players"),
    ],
    ids=["overloaded", "missing"],
)
def test_a_warehouse_that_cannot_store_sets_nothing_aside_and_stores_once_it_can(
    settings: Settings, broken: str, mended: str, said: str
) -> None:
    with opened(settings) as (client, loader, kept):
        client.command("INSERT INTO players (user_id) VALUES (generateUUIDv4())")
        client.command(broken)
        for number in range(3):
            loader.add(message(number))
        for _ in range(2):
            with pytest.raises(WarehouseAwayError, match=said):
                loader.flush()
        client.command(mended)
        loader.flush()
        assert client.query("SELECT count() FROM players FINAL").first_row == (4,)
    assert kept == []


def test_no_state_of_a_server_is_taken_for_a_fault_of_the_rows() -> None:
    """Codes of ClickHouse that no test can bring about cheaply: memory, a full disk, read-only, quotas, time."""
    assert ABOUT_DATA.isdisjoint({60, 74, 75, 159, 164, 201, 202, 210, 236, 241, 242, 243, 252, 319, 394, 516, 999})


def test_a_warehouse_that_may_only_be_read_sets_nothing_aside(settings: Settings) -> None:
    with opened(settings) as (client, loader, kept):
        client.set_client_setting("readonly", "1")
        loader.add(message())
        with pytest.raises(WarehouseAwayError, match="READONLY"):
            loader.flush()
        assert loader.rows == 1
    assert kept == []


def test_a_wrong_token_is_said_and_a_table_that_lost_a_column_gets_it_again(settings: Settings) -> None:
    assert settings.clickhouse_url
    server = urlsplit(settings.clickhouse_url)
    wrong = urlunsplit(server._replace(netloc=f"countroom:no@{server.hostname}:{server.port}"))
    schema.migrate(settings.clickhouse_url)
    with books(settings) as book, warehouse(settings) as client:
        bet = book.move(book.player(), "bet", "1.00")
        with running_pipeline(replace(settings, clickhouse_url=wrong)):
            until(lambda: sentence(book).startswith("retrying: "))
            assert "no@" not in sentence(book)
        client.command("ALTER TABLE events_transactions DROP COLUMN fee")
        with running_pipeline(settings):
            until(lambda: "fee" in evolve.columns_of(client)["events_transactions"])
            until(lambda: client.query("SELECT transaction_id, fee FROM events_transactions").result_rows == [(bet, 0)])


def test_landing_tables_of_an_older_version_lose_their_dictionaries_and_what_lands_arrives(settings: Settings) -> None:
    with opened(settings) as (client, loader, kept):
        kinds = evolve.columns_of(client)
        landing = {table: columns for table, columns in kinds.items() if table in TABLES_OF_LANDING}
        assert not any("LowCardinality" in kind for columns in landing.values() for kind in columns.values())
        client.command("ALTER TABLE landing_users MODIFY COLUMN status LowCardinality(String)")
        client.command("ALTER TABLE landing_users MODIFY COLUMN country LowCardinality(Nullable(String))")
        schema.migrate(settings.clickhouse_url or "")
        assert evolve.columns_of(client) == kinds
        loader.add(message(1))
        loader.add(message(2, country=None))
        loader.flush()
        arrived = client.query("SELECT country, status, toTypeName(status) FROM players FINAL ORDER BY country")
        assert arrived.result_rows == [
            ("", "active", "LowCardinality(String)"),
            ("MT", "active", "LowCardinality(String)"),
        ]
    assert kept == []


def test_one_insert_is_one_file_in_an_older_warehouse_too_unless_somebody_said_otherwise(settings: Settings) -> None:
    with opened(settings) as (client, _, _):
        made = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name LIKE 'events_game%'"
        client.command("ALTER TABLE events_game_rounds RESET SETTING min_bytes_for_wide_part")
        assert "wide" not in client.query(made).result_rows[0][0]
        for value, then in (("33554432", "7"), ("7", "7")):
            schema.migrate(settings.clickhouse_url or "")
            assert f"min_bytes_for_wide_part = {value}" in client.query(made).result_rows[0][0]
            client.command(f"ALTER TABLE events_game_rounds MODIFY SETTING min_bytes_for_wide_part = {then}")


def test_a_database_that_was_restored_from_a_backup_loads_nothing_and_says_why(settings: Settings) -> None:
    with books(settings) as book, warehouse(settings) as client:
        book.move(book.player(), "bet", "1.00")
        with running_pipeline(settings):
            book.wait_for_copy(settings)
        # What a restored backup looks like from here: the warehouse has seen more of the log than there is.
        client.command(
            "INSERT INTO pipeline_positions (slot, source, copied, lsn, committed_at, rows) "
            "SELECT slot, source, copied, lsn + 1000000000, committed_at, 0 FROM pipeline_positions FINAL"
        )
        before = slot.find(book.connection, slot.identify(book.connection).slot)
        with pytest.raises(PositionsBackwards, match="restored from a backup"):
            pipeline.run(settings, threading.Event())
        assert sentence(book).startswith("ended: The warehouse holds changes up to ")
        assert slot.find(book.connection, slot.identify(book.connection).slot) == before
