"""Adding a column while everything runs, in the order that docs/pipeline.md gives (Adding a column)."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from pipeline_rows import Books, books, running_pipeline, warehouse
from test_outages import pipeline_process

from countroom.events import catalog, contract
from countroom.settings import Settings
from countroom.warehouse import evolve, reconcile, schema
from patience import until

OURS = catalog.TABLES["transactions"]
NEWER = replace(OURS, columns=(*OURS.columns, "channel"), added=OURS.added | {"channel"})


class NewerTransaction(contract.TransactionChanged, frozen=True, gc=False, kw_only=True):
    """The message of the next version. The new field has a default: older messages are still on their way."""

    channel: str | None = None


ADDED = {
    "CREATE TABLE IF NOT EXISTS events_transactions ": ("external_id       String,", "channel String,"),
    "CREATE TABLE IF NOT EXISTS landing_transactions ": ("external_id       String,", "channel Nullable(String),"),
    "CREATE MATERIALIZED VIEW IF NOT EXISTS landing_transactions_to_events ": (
        "external_id,",
        "ifNull(channel, '') AS channel,",
    ),
}
"""What the next version's files in warehouse/tables have after which line."""


def newer_statements() -> list[str]:
    changed = schema.statements()
    for begin, (line, added) in ADDED.items():
        (index,) = [number for number, one in enumerate(changed) if one.startswith(begin)]
        changed[index] = changed[index].replace(line, f"{line}\n    {added}")
    return changed


@contextmanager
def under_load(settings: Settings) -> Iterator[list[str]]:
    """Bets that go on being committed while the block runs."""
    stop = threading.Event()
    ids: list[str] = []

    def play() -> None:
        with books(settings) as other:
            user = other.player()
            while not stop.wait(0.03):
                ids.extend(other.move_many(user, 20))

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield ids
    finally:
        stop.set()
        thread.join()


def publish_the_column(book: Books) -> None:
    """What the next version's migration does, in one transaction; it publishes another table, too."""
    lists = ", ".join(
        f"{table.name} ({', '.join(NEWER.columns if table is OURS else table.columns)})"
        for table in catalog.PUBLISHED.values()
    )
    book.ask(
        "BEGIN; CREATE TABLE newer (id uuid PRIMARY KEY); ALTER TABLE transactions ADD COLUMN channel text; "
        f"ALTER PUBLICATION countroom SET TABLE {lists}, newer; INSERT INTO newer VALUES (gen_random_uuid()); COMMIT"
    )


def test_a_column_is_added_under_load_and_an_older_program_goes_on_until_it_is_replaced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with books(settings) as book, warehouse(settings) as client:
        with pipeline_process(settings) as older, under_load(settings) as ids:
            book.wait_for_copy(settings)
            publish_the_column(book)
            seen = len(ids)
            until(lambda: len(ids) > seen)  # of after the change, and the older program carries it
            until(lambda: client.query("SELECT count() FROM events_transactions").result_rows[0][0] > seen, 40)
            older.send_signal(signal.SIGKILL)
            older.wait()
            with monkeypatch.context() as patch:
                patch.setitem(catalog.TABLES, "transactions", NEWER)
                patch.setitem(catalog.PUBLISHED, "transactions", NEWER)
                patch.setitem(contract.MESSAGES, "transactions", NewerTransaction)
                statements = newer_statements()
                patch.setattr(schema, "statements", lambda: statements)
                with running_pipeline(settings):
                    until(lambda: "channel" in evolve.columns_of(client)["events_transactions"])
                    book.ask("UPDATE transactions SET channel = 'web' WHERE id = %s", (ids[0],))
                    until(
                        lambda: (
                            client.query(
                                "SELECT toString(transaction_id) FROM events_transactions FINAL WHERE channel = 'web'"
                            ).result_rows
                            == [(ids[0],)]
                        )
                    )
        assert settings.clickhouse_url
        schema.migrate(settings.clickhouse_url)  # an older program that starts now takes nothing back
        assert "channel" in evolve.columns_of(client)["landing_transactions_to_events"]
        with running_pipeline(settings):
            proof = reconcile.compare(settings)
        assert book.ask("SELECT count(*) FROM dead_letters") == [(0,)]
    assert proof.violations == ()
    assert proof.compared == len(ids) + 1
